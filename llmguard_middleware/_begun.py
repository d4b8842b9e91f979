"""Methods whose call begins later than it is made: generators, when they are first read; coroutines, when awaited.

What was said about the call where it was made (`with guard.attributes(...)`) holds for all of it, wherever it is read.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from types import MethodType
from typing import Any, TypeVar, cast

from ._scope import Captured, captured

__all__ = ["held", "looks_like", "said_when_made"]

M = TypeVar("M", bound=Callable[..., Any])

_LIKE = "__llmguard_like__"


def said_when_made(method: M) -> M:
    """The method, for whose calls holds what was said where they were made. It looks as it did, async ones included."""
    return cast("M", method if isinstance(method, _Method) else _Method(method))


def looks_like(other: Callable[..., Any]) -> Callable[[M], M]:
    """Let a function that gives another one's generator or coroutine look like it, once it is `said_when_made`."""

    def decorate(function: M) -> M:
        functools.update_wrapper(function, other)
        vars(function)[_LIKE] = other
        return function

    return decorate


def held(made: Any, said: Captured | None) -> Any:
    """A generator or coroutine for which holds what was said, if anything was; anything else as it is."""
    if said is None:
        return made
    if isinstance(made, Generator):
        return _Held(made, said)
    if isinstance(made, AsyncGenerator):
        return _AsyncHeld(made, said)
    return _awaited(made, said) if isinstance(made, Coroutine) else made


class _Method:
    """A method that looks like the function that it is made of: frameworks ask whether one is async, or a generator.

    `inspect` takes for a function what has a function's attributes.
    """

    def __init__(self, method: Callable[..., Any]) -> None:
        functools.update_wrapper(self, method)
        like = vars(method).get(_LIKE, method)
        for name in ("__code__", "__defaults__", "__kwdefaults__"):
            setattr(self, name, getattr(like, name, None))
        self._method, self._awaited = method, inspect.iscoroutinefunction(method)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        said = captured()
        if said is None:
            return self._method(*args, **kwargs)
        return _later(self._method, args, kwargs, said) if self._awaited else held(self._method(*args, **kwargs), said)


async def _later(method: Callable[..., Any], args: Any, kwargs: Any, said: Captured) -> Any:
    # Made only now, since a coroutine that nobody awaits complains.
    with said:
        made = await method(*args, **kwargs)
    return _stream(made, said)


async def _awaited(made: Coroutine[Any, Any, Any], said: Captured) -> Any:
    with said:
        given = await made
    return _stream(given, said)


def _stream(given: Any, said: Captured) -> Any:
    """What a coroutine gave, which may be a stream that begins when it is read."""
    return held(given, said) if isinstance(given, (Generator, AsyncGenerator)) else given


class _Held(Generator[Any, Any, Any]):
    def __init__(self, made: Generator[Any, Any, Any], said: Captured) -> None:
        self._made, self._said = made, said

    def send(self, value: Any) -> Any:
        with self._said:
            return self._made.send(value)

    def throw(self, *error: Any) -> Any:
        with self._said:
            return self._made.throw(*error)

    def close(self) -> None:
        with self._said:
            self._made.close()


class _AsyncHeld(AsyncGenerator[Any, Any]):
    def __init__(self, made: AsyncGenerator[Any, Any], said: Captured) -> None:
        self._made, self._said = made, said

    async def asend(self, value: Any) -> Any:
        with self._said:
            return await self._made.asend(value)

    async def athrow(self, *error: Any) -> Any:
        with self._said:
            return await self._made.athrow(*error)

    async def aclose(self) -> None:
        with self._said:
            await self._made.aclose()
