"""A function as a judge's model: of a prompt or of messages, sync or async."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from ..._parameters import is_async
from ...errors import ScorerError
from ._model import Form, Question, Reply

__all__ = ["FunctionModel"]


class FunctionModel:
    """Calls the function with the prompt; with OpenAI's messages, if that is how its first parameter is called."""

    provider = ""
    forms: tuple[Form, ...] = ("text",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.name = getattr(function, "__name__", type(function).__name__)
        self.is_async = is_async(function)
        self._by_messages = _first_parameter(function) == "messages"

    def ask(self, question: Question) -> Reply:
        """Ask, and wait for the reply."""
        said = self._function(self._given(question))
        if inspect.isawaitable(said):
            if inspect.iscoroutine(said):
                said.close()  # it will never be awaited
            msg = 'the model of a judge returned an awaitable; declare it with "async def"'
            raise ScorerError(msg)
        return _reply(said)

    async def aask(self, question: Question) -> Reply:
        """The same on the event loop."""
        if not self.is_async:
            return await asyncio.to_thread(self.ask, question)
        return _reply(await self._function(self._given(question)))

    def _given(self, question: Question) -> Any:
        if self._by_messages:
            return [{"role": "system", "content": question.system}, {"role": "user", "content": question.prompt}]
        return f"{question.system}\n\n{question.prompt}"


def _reply(said: Any) -> Reply:
    return said if isinstance(said, Reply) else Reply(said)


def _first_parameter(function: Callable[..., Any]) -> str:
    try:
        return next(iter(inspect.signature(function).parameters), "")
    except (TypeError, ValueError):
        return ""
