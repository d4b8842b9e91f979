"""What is not the same in every release of LlamaIndex that this adapter supports."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import lru_cache, partial
from typing import Any, TypeVar

from llama_index.core import async_utils
from llama_index.core.base.llms import types
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.tools import ToolOutput, function_tool

from ._seal import STEP_CONFIGS, subclass

__all__ = [
    "as_called",
    "become",
    "carried",
    "carrying",
    "events_before",
    "forget_events",
    "is_thinking",
    "keeps_events",
    "off_the_loop",
    "step_config",
    "steps_of",
    "stop_workers",
    "thinking",
    "thoughts",
]

T = TypeVar("T")
_THINKING: Any = getattr(types, "ThinkingBlock", None)  # since 0.14.3
_THOUGHT = "thinking"  # of additional_kwargs, where providers put it before
_TELLS_ERRORS = hasattr(ToolOutput, "exception")  # since 0.14.8; before, it is a text like any other
_LOOPS_CARRY = hasattr(async_utils, "contextvars")  # since 0.14.10, likewise loops that it starts in a loop
_CARRIES = hasattr(function_tool, "contextvars")  # since 0.14.22; before, threads of tools know of nothing


# Thinking


def is_thinking(block: Any) -> bool:
    """Whether a content block is one of thinking."""
    return _THINKING is not None and isinstance(block, _THINKING)


def thoughts(message: ChatMessage) -> list[str]:
    """What a message says of thinking."""
    if _THINKING is None:
        thought = message.additional_kwargs.get(_THOUGHT)
        return [thought] if isinstance(thought, str) else []
    return [block.content or "" for block in message.blocks if isinstance(block, _THINKING)]


def thinking(thought: str) -> tuple[list[Any], dict[str, Any]]:
    """The blocks of a message, and its additional_kwargs, that say this thinking."""
    return ([], {_THOUGHT: thought}) if _THINKING is None else ([_THINKING(content=thought)], {})


# Workflows


def step_config(step: Any) -> Any:
    """What the decorator of a step noted on it."""
    return next(vars(step)[name] for name in STEP_CONFIGS if name in vars(step))


def steps_of(workflow: Any) -> Mapping[str, Any]:
    """The steps of a class of workflows, by name, except LlamaIndex's own last one, which sets the result."""
    if hasattr(workflow, "_get_steps_from_class"):
        steps: Mapping[str, Any] = workflow._get_steps_from_class()
    else:
        from workflows.utils import get_steps_from_class  # noqa: PLC0415 - where there is no such method

        steps = {**get_steps_from_class(workflow), **workflow._step_functions}
    return {name: step for name, step in steps.items() if name != "_done"}


# Tools


def carried(tool: Any) -> dict[str, Any]:
    """What to replace of a tool that is a sync function, so that its thread knows on whose behalf it runs."""
    name = getattr(getattr(tool, "_async_fn", None), "__qualname__", "")
    if _CARRIES or not name.startswith("sync_to_async."):
        return {}
    return {"_async_fn": partial(asyncio.to_thread, tool._fn)}


def as_called(tool: Any, tell: Callable[[Exception], None]) -> Any:
    """The tool, or one like it that does what newer ones do: carries the context over, and tells its errors."""
    replaced = carried(tool)
    if _TELLS_ERRORS and not replaced:
        return tool
    kind: type = type(tool)
    twin = copy.copy(tool)
    if replaced:
        vars(twin).update(replaced)
    else:
        object.__setattr__(twin, "__dict__", vars(tool))  # what a tool notes on itself is noted on it
    if not _TELLS_ERRORS:
        object.__setattr__(twin, "__class__", _telling(kind, tell))
    return twin


@lru_cache(maxsize=256)
def _telling(kind: type, tell: Callable[[Exception], None]) -> type:
    base: Any = kind

    async def acall(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return await base.acall(self, *args, **kwargs)
        except Exception as error:
            tell(error)
            raise

    made = subclass(base)
    made.acall = acall  # type: ignore[attr-defined]  # set afterwards, see _seal
    return made


def carrying(tools: Any) -> Any:
    """The tools, likewise."""
    made = [(tool, carried(tool)) for tool in tools or ()]
    if not any(replaced for _, replaced in made):
        return tools
    twins = []
    for tool, replaced in made:
        twins.append(copy.copy(tool) if replaced else tool)
        vars(twins[-1]).update(replaced)
    return twins


# Threads


def off_the_loop(method: Callable[..., T]) -> Callable[..., T]:
    """A method that is no coroutine; where a loop runs, on a thread where none does.

    There, LlamaIndex would start a thread by itself for what is, and that thread would know nothing of the call.
    """
    if _LOOPS_CARRY:
        return method

    def called(*args: Any, **kwargs: Any) -> T:
        if not _in_loop():
            return method(*args, **kwargs)
        with ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(partial(copy_context().run, method, *args, **kwargs)).result()

    return called


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


# Contexts


def become(event: Any, other: Any) -> None:
    """Where a context keeps the events of its run, let this one say what `other` does."""
    vars(event).update(vars(other))
    object.__setattr__(event, "__pydantic_private__", other.__pydantic_private__)


def keeps_events(ctx: Any) -> bool:
    """Whether the events that start a run stay in its context, as they are, and are stored with it."""
    return hasattr(ctx, "_broker_log")


def events_before(ctx: Any, start: Any) -> int:
    """How many events a context keeps from before the one that starts a run."""
    kept = ctx._broker_log if keeps_events(ctx) else []
    return next((place for place, event in enumerate(kept) if event is start), len(kept))


def forget_events(ctx: Any, since: int | None) -> None:
    """Take the events after the first `since` out of a context."""
    if since is None or not keeps_events(ctx):
        return
    ids = {id(event) for event in ctx._broker_log[since:]}
    del ctx._broker_log[since:]
    for step, events in ctx._in_progress.items():
        ctx._in_progress[step] = [event for event in events if id(event) not in ids]
    for queue in ctx._queues.values():
        kept = [event for event in queue._queue if id(event) not in ids]
        queue._queue.clear()
        queue._queue.extend(kept)


def stop_workers(ctx: Any, run: asyncio.Future[Any]) -> None:
    """End the tasks of a run that its caller cancelled, which older workflows leave behind."""
    if run.cancelled() and ctx is not None and keeps_events(ctx):
        for worker in list(ctx._tasks):
            worker.cancel()
