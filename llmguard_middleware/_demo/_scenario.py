"""The demo's scenario: what an adapter builds its application from, and what is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from .._guard import Guard

__all__ = ["App", "Scenario"]


@dataclass(frozen=True)
class Scenario:
    """What a framework's demo application is built from.

    `reply` is the in-process model: it takes the whole prompt as the model receives it and gives the answer. With
    `base_url`, an OpenAI-compatible server and its `model` are used instead. `guard` goes around the application in
    every way the framework needs (spans for the whole application, redaction on its model, streams).
    """

    guard: Guard
    documents: Sequence[str]
    reply: Callable[[str], str]
    model: str = "in-process"
    base_url: str | None = None
    api_key: str = "none"


class App(Protocol):
    """A guarded question-answering application over the scenario's documents."""

    def ask(self, question: str) -> str:
        """The whole answer."""
        ...

    def stream(self, question: str) -> Iterator[str]:
        """The answer in pieces, as they arrive."""
        ...
