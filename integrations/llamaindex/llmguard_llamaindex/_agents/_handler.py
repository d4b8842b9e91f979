"""The handler of a guarded run: the reader of its events is told of a violation, as who awaits it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from functools import lru_cache
from typing import Any, TypeVar

from llama_index.core.workflow import StopEvent

from llmguard_middleware import GuardrailViolation

__all__ = ["guarded_handler", "task_of"]

H = TypeVar("H")


def task_of(handler: Any) -> asyncio.Future[Any]:
    """What is done when the run is over."""
    task: asyncio.Future[Any] = getattr(handler, "_result_task", handler)
    return task


def guarded_handler(handler: H) -> H:
    """The handler, whose stream of events ends by the violation, if there was one."""
    kind: type = type(handler)
    handler.__class__ = _guarded_class(kind)
    return handler


@lru_cache(maxsize=16)
def _guarded_class(base: type) -> Any:
    above: Any = base

    async def stream_events(self: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        events = above.stream_events(self, *args, **kwargs)
        try:
            async for event in events:
                if isinstance(event, StopEvent):
                    await asyncio.wait([task_of(self)])
                    _raise(task_of(self))
                yield event
        finally:
            await events.aclose()

    stream_events.__doc__ = above.stream_events.__doc__
    names = {"__module__": base.__module__, "__qualname__": base.__qualname__, "__doc__": base.__doc__}
    return type(base.__name__, (base,), {**names, "stream_events": stream_events})


def _raise(task: asyncio.Future[Any]) -> None:
    if task.cancelled():
        return
    error = task.exception()
    if isinstance(error, GuardrailViolation):
        raise error
