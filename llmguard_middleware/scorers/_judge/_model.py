"""What a judge asks and gets: the protocol that models of any framework are put behind.

An adapter registers, in the entry point group `llmguard_middleware.judges`, a function under the name of the top-level
package that the models' classes come from (`langchain_core = "llmguard_langchain._judge:judge_model"`). It is given the
model and returns a `JudgeModel`. It is loaded when such a model is given, and never before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from ..._call import Usage

__all__ = ["Form", "JudgeModel", "Question", "Reply"]

Form = Literal["schema", "json", "text"]
"""How a reply is asked for: by a JSON schema, as any JSON object, or in words alone."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a model is asked: `schema` is the JSON schema of the answer, to be used as far as `form` says."""

    system: str = field(repr=False)
    prompt: str = field(repr=False)
    schema: Mapping[str, Any] = field(repr=False)
    form: Form


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model says: a text, or the object that its provider made of it. `usage` and `usd` are None if unknown."""

    said: Any = field(repr=False)
    usage: Usage | None = None
    model: str = ""
    refused: bool = False  # by the provider, which says so apart from the text
    usd: float | None = None


class JudgeModel(Protocol):
    """A model that can be asked.

    Attributes:
        provider: the value of `gen_ai.provider.name`, for prices; empty if unknown.
        name: of the model, likewise.
        forms: how it can be asked for a reply, best first; a judge goes on to the next if the provider refuses one.
        is_async: whether it can be asked by `aask` only.
    """

    @property
    def provider(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def forms(self) -> tuple[Form, ...]: ...
    @property
    def is_async(self) -> bool: ...

    def ask(self, question: Question) -> Reply:
        """Ask, and wait for the reply."""
        ...

    async def aask(self, question: Question) -> Reply:
        """The same on the event loop."""
        ...
