"""Streams below a chat engine, which LlamaIndex reads in a thread or task of its own to write the history.

What is raised there is printed, too. So an error ends such a stream and is noted; it is raised to the reader.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, closing
from functools import lru_cache
from typing import Any, TypeVar

from llama_index.core.base.response.schema import AsyncStreamingResponse, StreamingResponse

from llmguard_middleware._begun import held
from llmguard_middleware._scope import captured

from .._seal import put_on, subclass
from ._turn import Relayed, Turn, turns

__all__ = ["heard_engine", "heard_llm"]

T = TypeVar("T")
_IS = "__llmguard_heard__"
_STREAMS = ("stream_chat", "stream_complete")


def heard_llm(llm: T) -> T:
    """The guarded LLM, in place, whose streams end quietly where a chat engine's history is written."""
    return _on(llm, _llm_kind)


def heard_engine(engine: T) -> T:
    """The guarded query engine, in place, likewise."""
    return _on(engine, _engine_kind)


def _on(thing: T, kind: Callable[[type], type]) -> T:
    if _IS not in vars(type(thing)):
        object.__setattr__(thing, "__class__", kind(type(thing)))
    return thing


@lru_cache(maxsize=256)
def _llm_kind(base: type) -> type:
    kind = subclass(base)
    type.__setattr__(kind, _IS, True)
    for name in _STREAMS:
        if hasattr(base, name):
            put_on(kind, name, _sync(kind, name))
            put_on(kind, f"a{name}", _async(kind, f"a{name}"))
    return kind


@lru_cache(maxsize=256)
def _engine_kind(base: type) -> type:
    kind = subclass(base)
    type.__setattr__(kind, _IS, True)
    put_on(kind, "query", _sync(kind, "query"))
    put_on(kind, "aquery", _async(kind, "aquery"))
    return kind


def _sync(kind: type, name: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        turn = next(iter(turns()[-1:]), None)
        if turn is None:
            return getattr(super(kind, self), name)(*args, **kwargs)
        with turn.said():
            return _heard(turn, getattr(super(kind, self), name)(*args, **kwargs))

    method.__name__ = name
    return method


def _async(kind: type, name: str) -> Callable[..., Any]:
    async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        turn = next(iter(turns()[-1:]), None)
        if turn is None:
            return await getattr(super(kind, self), name)(*args, **kwargs)
        with turn.said():
            return _heard(turn, await getattr(super(kind, self), name)(*args, **kwargs))

    method.__name__ = name
    return method


def _heard(turn: Turn, made: Any) -> Any:
    if isinstance(made, Generator):
        return held(_pieces(turn, made), captured())
    if isinstance(made, AsyncGenerator):
        return held(_apieces(turn, made), captured())
    if isinstance(made, (StreamingResponse, AsyncStreamingResponse)) and made.response_gen is not None:
        made.response_gen = _heard(turn, made.response_gen)
    return made


def _begun(turn: Turn) -> Relayed:
    relayed = Relayed()
    turn.streams.append(relayed)
    return relayed


def _pieces(turn: Turn, source: Generator[Any, None, None]) -> Generator[Any, None, None]:
    relayed = _begun(turn)
    with closing(source):
        try:
            for piece in source:
                relayed.said += _text(piece)
                yield piece
        except Exception as error:  # noqa: BLE001 - raised to the reader
            turn.stopped(error)


async def _apieces(turn: Turn, source: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    relayed = _begun(turn)
    async with aclosing(source):
        try:
            async for piece in source:
                relayed.said += _text(piece)
                yield piece
        except Exception as error:  # noqa: BLE001 - raised to the reader
            turn.stopped(error)


def _text(piece: Any) -> str:
    return piece if isinstance(piece, str) else piece.delta or ""
