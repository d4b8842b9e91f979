"""What a config says of a model's call: LangChain tells it to callbacks, and of the model only those that are asked.

So it is kept where the call begins, for where the model's own method is called.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from langchain_core.runnables import RunnableConfig, ensure_config
from langchain_core.runnables.config import var_child_runnable_config

from llmguard_middleware._begun import looks_like

from ..._session import KEYS, Said, said
from .._copies import guarded

__all__ = ["session_members", "session_of", "session_with", "sessions_of"]

_said: ContextVar[tuple[object, Sequence[Said | None]] | None] = ContextVar("llmguard_langchain_said", default=None)


def session_of(model: Any) -> Said | None:
    """What was said of this call of the model."""
    kept = _said.get()
    # All guards around one model share its state.
    return kept[1][0] if kept is not None and kept[0] is vars(model) else None


def sessions_of(model: Any, prompts: int) -> Sequence[Said | None]:
    """What was said of each prompt of this call of the model."""
    kept = _said.get()
    if kept is None or kept[0] is not vars(model):
        return [None] * prompts
    return kept[1] if len(kept[1]) == prompts else [kept[1][0]] * prompts


def session_with(run_manager: Any) -> Said | None:
    """What was said of the call whose run this is: event streams of version 3 begin when they are read."""
    return None if run_manager is None else said(None, run_manager.metadata, run_manager.tags)


@contextmanager
def _kept(model: Any, told: Sequence[Said | None]) -> Iterator[None]:
    token = _said.set((vars(model), told))
    try:
        yield
    finally:
        with suppress(ValueError):  # thrown away, a coroutine unwinds in another context
            _said.reset(token)


def session_members(base: type[Any]) -> dict[str, Callable[..., Any]]:
    """The members of a guarded model's class that keep what is said of a call; those of the innermost guard do."""
    if guarded(base):
        return {}

    @looks_like(base.generate)
    def generate(self: Any, requests: Any, stop: Any = None, callbacks: Any = None, **kwargs: Any) -> Any:
        if _silent(self, callbacks, kwargs) or (of_call := _each(self, len(requests), callbacks, **kwargs)) is None:
            return base.generate(self, requests, stop, callbacks, **kwargs)
        with _kept(self, of_call):
            return base.generate(self, requests, stop, callbacks, **kwargs)

    @looks_like(base.agenerate)
    def agenerate(self: Any, requests: Any, stop: Any = None, callbacks: Any = None, **kwargs: Any) -> Any:
        made = base.agenerate(self, requests, stop, callbacks, **kwargs)
        of_call = None if _silent(self, callbacks, kwargs) else _each(self, len(requests), callbacks, **kwargs)
        return made if of_call is None else _awaited(self, made, of_call)

    @looks_like(base.stream)
    def stream(self: Any, given: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        made = base.stream(self, given, config, **kwargs)
        return made if (one := _one(self, config)) is None else _first(self, made, one)

    @looks_like(base.astream)
    def astream(self: Any, given: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        made = base.astream(self, given, config, **kwargs)
        return made if (one := _one(self, config)) is None else _afirst(self, made, one)

    return {"generate": generate, "agenerate": agenerate, "stream": stream, "astream": astream}


def _one(model: Any, config: RunnableConfig | None) -> Said | None:
    """What the config of a stream says."""
    if config is None and var_child_runnable_config.get() is None:
        return said(None, None, None, model)
    config = ensure_config(config)
    return said(config.get("callbacks"), config.get("metadata"), config.get("tags"), model, config.get("run_name"))


def _silent(model: Any, callbacks: Any, how: dict[str, Any]) -> bool:
    """Whether plainly nothing is said, as in most calls that are made outside of a chain."""
    if callbacks is not None or how.get("metadata") or how.get("tags") or how.get("run_name") or model.tags:
        return False
    return not model.metadata or KEYS.isdisjoint(model.metadata)


def _each(
    model: Any, many: int, callbacks: Any, metadata: Any = None, tags: Any = None, run_name: Any = None, **_: Any
) -> Sequence[Said | None] | None:
    """What is said of each request of `generate`, which takes one for all of them or a list; None if nothing is."""
    if not (isinstance(metadata, list) or isinstance(run_name, list) or (tags and not isinstance(tags[0], str))):
        one = said(callbacks, metadata, tags, model, run_name)
        return None if one is None else [one] * many

    def of(given: Any, at: int) -> Any:
        return given[at] if isinstance(given, (list, tuple)) and len(given) == many else None

    return [said(of(callbacks, at), of(metadata, at), of(tags, at), model, of(run_name, at)) for at in range(many)]


async def _awaited(model: Any, made: Any, of_call: Sequence[Said | None]) -> Any:
    with _kept(model, of_call):
        return await made


_END = object()


def _first(model: Any, made: Any, one: Said) -> Iterator[Any]:
    """The stream, of whose first piece the model is asked: there it is to know what was said."""
    try:
        with _kept(model, [one]):
            item = next(made, _END)
        if item is not _END:
            yield item
            yield from made
    finally:
        made.close()


async def _afirst(model: Any, made: Any, one: Said) -> AsyncIterator[Any]:
    async with aclosing(made):
        with _kept(model, [one]):
            item = await anext(made, _END)
        if item is not _END:
            yield item
            async for item in made:
                yield item
