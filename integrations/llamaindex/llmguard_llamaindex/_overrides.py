"""Methods of an LLM that ask its provider by themselves, as some do for structured answers: none gets past the guard.

LlamaIndex's own `structured_predict` and its like end in `chat` or `complete`, which are guarded. A provider's may not.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from types import CodeType
from typing import Any

from llmguard_middleware._drive import inside_scorer
from llmguard_middleware._steps import END

from ._seal import guards_of

__all__ = ["asked", "route"]

_ASKED = {prefix + name for name in ("chat", "complete") for prefix in ("", "a", "stream_", "astream_")}
_TEMPLATED = {
    *(f"{prefix}chat_with_tools" for prefix in ("", "a", "stream_", "astream_")),
    *("predict", "apredict", "stream", "astream", "structured_predict", "astructured_predict"),
    *("stream_structured_predict", "astream_structured_predict"),
}
_THROUGH = {*_ASKED, *_TEMPLATED, "super", "predict_and_call", "apredict_and_call"}
_CORE = "llama_index.core."
_ROUTED = "__llmguard_routed__"
_INSTEAD = "it asks its provider by itself; call chat, complete or one of their kind"


class _Call:
    """One call of such a method, and whether anything guarded was asked in it."""

    guarded = False


_calls: ContextVar[tuple[_Call, ...]] = ContextVar("llmguard_llamaindex_overrides", default=())


def asked() -> None:
    """A guarded method is called."""
    for call in _calls.get():
        call.guarded = True


def route(kind: type) -> None:
    """Have the methods of a guarded class, which is nobody else's, go through those that are guarded.

    One that talks to its provider's client is replaced by LlamaIndex's own, which goes through `chat`. Of the others an
    answer leaves only if something guarded was asked for it.
    """
    if _ROUTED in vars(kind):
        return
    type.__setattr__(kind, _ROUTED, True)
    for name in _TEMPLATED:
        owners = [base for base in kind.__mro__ if name in vars(base)]
        if not owners or owners[0].__module__.startswith(_CORE):
            continue
        core = next((vars(base)[name] for base in owners if base.__module__.startswith(_CORE)), None)
        own = vars(owners[0])[name]
        method = core if core is not None and _direct(own) else own
        type.__setattr__(kind, name, _checked(method, name))


def _direct(method: Any) -> bool:
    code = getattr(inspect.unwrap(method), "__code__", None)
    names = set(_names(code)) if code is not None else _THROUGH
    return any("client" in name.lower() for name in names) or not names & _THROUGH


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _names(one)


def _checked(method: Any, name: str) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(inspect.unwrap(method)):

        @wraps(method)
        async def awaited(self: Any, *args: Any, **kwargs: Any) -> Any:
            call = _Call()
            with _watched(call):
                given = await method.__get__(self)(*args, **kwargs)
            return _expected(self, name, call, given)

        return awaited

    @wraps(method)
    def whole(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = _Call()
        with _watched(call):
            given = method.__get__(self)(*args, **kwargs)
        return _expected(self, name, call, given)

    return whole


@contextmanager
def _watched(call: _Call) -> Iterator[None]:
    before = _calls.get()
    _calls.set((*before, call))
    try:
        yield
    finally:
        _calls.set(before)


def _expected(llm: Any, name: str, call: _Call, given: Any) -> Any:
    """What the method gave, if it may leave; of a stream that is known with its first piece.

    Raises:
        UnenforceableError: if nothing guarded was asked, and a guardrail acts.
    """
    if isinstance(given, Generator):
        return _pieces(llm, name, call, given)
    if isinstance(given, AsyncGenerator):
        return _apieces(llm, name, call, given)
    if not call.guarded and not inside_scorer.get():
        for guard in guards_of(llm):
            rules = [rule for policy in guard.policies for rule in policy.guardrails]
            guard.refuse(rules, f"protect({type(llm).__name__}).{name}", _INSTEAD)
    return given


def _pieces(llm: Any, name: str, call: _Call, made: Generator[Any, None, None]) -> Generator[Any, None, None]:
    try:
        while True:
            with _watched(call):
                piece = next(made, END)
            if piece is END:
                return
            yield _expected(llm, name, call, piece)
    finally:
        made.close()


async def _apieces(llm: Any, name: str, call: _Call, made: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    try:
        while True:
            with _watched(call):
                piece = await anext(made, END)
            if piece is END:
                return
            yield _expected(llm, name, call, piece)
    finally:
        await made.aclose()
