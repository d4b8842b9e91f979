"""Adapter: the hooks by which the suite drives an adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ..._call import Stage
from ..._guard import Guard
from ._script import Script

__all__ = ["Adapter", "Mode"]


@dataclass(frozen=True)
class Mode:
    """One way to call what an adapter guards."""

    name: str
    streamed: bool = False
    is_async: bool = False

    def __str__(self) -> str:
        return self.name


class Adapter:
    """Base of what an adapter's author writes: four hooks, and what the adapter reaches.

    Attributes:
        name: for people.
        modes: the ways to call what it guards.
        stages: those that it reaches. A guardrail of any other must be refused.
        composite: whether a call of the subject makes guarded calls below it (an engine's retrieval, an agent's model
            calls), each with a span of its own; else one call must be one span.
        cannot: patterns (as of `fnmatch`) of scenario ids, with the reason: the adapter must refuse these guards when
            they are attached, by a `ConfigurationError`. None of its scenarios is skipped.
        gaps: likewise, of scenarios that do not hold yet and are not refused either: they are run and must fail, so
            that a gap which was closed is noticed.
    """

    name: str = "adapter"
    modes: Sequence[Mode] = ()
    stages: Sequence[Stage] = ("input", "output")
    composite: bool = False
    cannot: Mapping[str, str] = MappingProxyType({})
    gaps: Mapping[str, str] = MappingProxyType({})

    def build(self, guard: Guard, script: Script) -> Any:
        """A new subject under `guard`: what this adapter guards, with a fake model that does what `script` says.

        Raises:
            ConfigurationError: if the adapter cannot enforce a rule of the guard.
        """
        raise NotImplementedError

    def again(self, subject: Any, guard: Guard) -> Any:
        """The subject with one more guard around it."""
        raise NotImplementedError

    def call(self, subject: Any, mode: Mode, text: str) -> Any:
        """Ask the subject; what its framework returns: a reply, an iterator of chunks, or an awaitable of either."""
        raise NotImplementedError

    def text(self, reply: Any) -> str:
        """The text of a reply, or what one chunk adds to the text of a stream."""
        return str(reply)

    def so_far(self, chunk: Any) -> str | None:
        """The text up to and including this chunk, for frameworks whose chunks say that; else None."""
        return None
