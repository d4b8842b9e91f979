"""Streamed answers that are read after their method is over: read where the method was, until they end."""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Generator, Iterator
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._run import Run

__all__ = ["follow"]

_END = object()


def follow(run: Run, source: Any) -> Any:
    """The same stream, read in the context of `run`, which ends with it."""
    inside = copy_context()
    is_async = hasattr(source, "__anext__")
    stream: Any = _aread(run, source, inside) if is_async else _read(run, iter(source), inside)
    # A generator that is dropped unread never runs, so nothing in it could end the span.
    run.unread = weakref.ref(stream, partial(_gone, run))
    return stream


def _gone(run: Run, _: Any) -> None:
    if not run.over:
        run.calls.end(run, abandoned=True)


def _text(piece: Any) -> str:
    return piece if isinstance(piece, str) else getattr(piece, "delta", None) or ""


def _read(run: Run, source: Iterator[Any], inside: Context) -> Generator[Any, None, None]:
    said: list[str] | None = None if run.flow is None else []
    step = inside.run
    try:
        while (piece := step(next, source, _END)) is not _END:
            run.heard = True
            if said is not None:
                said.append(_text(piece))
            yield piece
    except BaseException as error:
        run.calls.end(run, error=error)
        raise
    finally:
        if (close := getattr(source, "close", None)) is not None:
            step(close)
    run.calls.end(run, "".join(said or ()))


async def _aread(run: Run, source: AsyncIterator[Any], inside: Context) -> AsyncGenerator[Any, None]:
    said: list[str] | None = None if run.flow is None else []
    try:
        while True:
            try:
                piece = await _Within(inside, source.__anext__())
            except StopAsyncIteration:
                break
            run.heard = True
            if said is not None:
                said.append(_text(piece))
            yield piece
    except BaseException as error:
        run.calls.end(run, error=error)
        raise
    finally:
        if (aclose := getattr(source, "aclose", None)) is not None:
            await _Within(inside, aclose())
    run.calls.end(run, "".join(said or ()))


class _Within:
    """An awaitable that goes on in another context, step by step."""

    def __init__(self, inside: Context, waited_for: Awaitable[Any]) -> None:
        self._inside, self._waited_for = inside, waited_for

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._waited_for.__await__()
        run, go_on, thrown = self._inside.run, steps.__next__, None
        while True:
            try:
                wanted = run(go_on) if thrown is None else run(steps.throw, thrown)
            except StopIteration as stop:
                return stop.value
            try:
                yield wanted
                thrown = None
            except BaseException as error:  # noqa: BLE001 - for what is waited for, as `await` does
                thrown = error
