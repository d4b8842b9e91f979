"""One description of a guarded call, four ways to run it: sync or async, whole or streamed.

What happens to a call is written once, as a generator of steps that does no I/O itself. `run`, `arun`, `stream` and
`astream` carry the steps out and send back what came of each.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from ._drive import adrive, drive
from ._guard import Guard
from ._judge import Plan

__all__ = ["END", "Ask", "Emit", "Judge", "Pull", "Steps", "aopened", "arun", "astream", "opened", "run", "stream"]

T = TypeVar("T")

END: Final = object()  # what a Pull replies when its source is exhausted


@dataclass(frozen=True, slots=True)
class Judge:
    """Have `guard` decide; the reply is what the plan returns."""

    guard: Guard
    plan: Plan[Any]

    def now(self) -> Any:
        return drive(self.plan, self.guard.workers)

    async def later(self) -> Any:
        return await adrive(self.plan, self.guard.workers)


@dataclass(frozen=True, slots=True)
class Ask:
    """Call the framework inside `around`; `call` returns the reply, or an awaitable of it for async runners."""

    around: Callable[[], AbstractContextManager[Any]]
    call: Callable[[], Any]

    def now(self) -> Any:
        with self.around():
            return self.call()

    async def later(self) -> Any:
        with self.around():
            return await self.call()


@dataclass(frozen=True, slots=True)
class Pull:
    """Take the next item of `source` inside `around`; the reply is the item or `END`."""

    around: Callable[[], AbstractContextManager[Any]]
    source: Any

    def now(self) -> Any:
        with self.around():
            return next(self.source, END)

    async def later(self) -> Any:
        with self.around():
            return await anext(self.source, END)


@dataclass(frozen=True, slots=True)
class Emit:
    """Give `item` to the reader of a stream."""

    item: Any


Step = Judge | Ask | Pull | Emit
Steps = Generator[Step, Any, T]


class _Turns(Generic[T]):
    """Sends the outcome of each step back into the steps, errors and a reader's departure included."""

    def __init__(self, steps: Steps[T]) -> None:
        self._steps = steps
        self._reply: Any = None
        self._error: BaseException | None = None
        self.source: Any = None
        self.result: Any = None

    def advance(self) -> Step | None:
        """The next step, or None when `result` is there."""
        error, self._error = self._error, None
        reply, self._reply = self._reply, None
        try:
            step = self._steps.send(reply) if error is None else self._steps.throw(error)
        except StopIteration as stop:
            self.result = stop.value
            return None
        finally:
            del error  # or its traceback and this frame keep each other alive
        if isinstance(step, Pull):
            self.source = step.source
        return step

    def perform(self, step: Judge | Ask | Pull) -> None:
        try:
            self._reply = step.now()
        except BaseException as error:  # noqa: BLE001 - thrown into the steps, which end the call's span and raise it again
            self._error = error

    async def aperform(self, step: Judge | Ask | Pull) -> None:
        try:
            self._reply = await step.later()
        except BaseException as error:  # noqa: BLE001 - as above
            self._error = error

    def left(self, error: BaseException) -> None:
        self._error = error


def run(steps: Steps[T]) -> T:
    """Carry out steps without `Emit` and return what they return."""
    turns = _Turns(steps)
    while (step := turns.advance()) is not None:
        assert not isinstance(step, Emit)
        turns.perform(step)
    return turns.result  # type: ignore[no-any-return]  # a generator's return


async def arun(steps: Steps[T]) -> T:
    """`run`, for async callers."""
    turns = _Turns(steps)
    while (step := turns.advance()) is not None:
        assert not isinstance(step, Emit)
        await turns.aperform(step)
    return turns.result  # type: ignore[no-any-return]  # a generator's return


def stream(steps: Steps[Any]) -> Generator[Any, None, None]:
    """What the steps emit."""
    turns = _Turns(steps)
    try:
        while (step := turns.advance()) is not None:
            if not isinstance(step, Emit):
                turns.perform(step)
                continue
            try:
                yield step.item
            except BaseException as error:  # noqa: BLE001 - GeneratorExit: the reader went away
                turns.left(error)
    finally:
        if (close := getattr(turns.source, "close", None)) is not None:
            close()


async def astream(steps: Steps[Any]) -> AsyncGenerator[Any, None]:
    """`stream`, for async callers."""
    turns = _Turns(steps)
    try:
        while (step := turns.advance()) is not None:
            if not isinstance(step, Emit):
                await turns.aperform(step)
                continue
            try:
                yield step.item
            except BaseException as error:  # noqa: BLE001 - GeneratorExit: the reader went away
                turns.left(error)
    finally:
        if (close := getattr(turns.source, "aclose", None)) is not None:
            await close()


def opened(steps: Steps[Any]) -> Generator[Any, None, None]:
    """A stream of what the steps emit, already run up to their first `Emit`, whose item is dropped.

    So the input is judged when the stream is asked for, and a stream that is dropped unread still ends its span: only
    a generator that has started is told that its reader is gone.
    """
    items = stream(steps)
    next(items, None)
    return items


async def aopened(steps: Steps[Any]) -> AsyncGenerator[Any, None]:
    """`opened`, for async callers."""
    items = astream(steps)
    await anext(items, None)
    return items
