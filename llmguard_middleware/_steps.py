"""One description of a guarded call, four ways to run it: sync or async, whole or streamed.

What happens to a call is written once, as a generator of steps that does no I/O itself. `run`, `arun`, `stream` and
`astream` carry the steps out and send back what came of each.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager
from contextvars import Context, copy_context
from functools import partial
from time import perf_counter
from typing import Any, Final, TypeVar

from ._drive import adrive, drive
from ._guard import Guard
from ._judge import Plan

__all__ = [
    "END",
    "Ask",
    "Emit",
    "Judge",
    "Pull",
    "Relay",
    "Steps",
    "aopened",
    "arun",
    "astream",
    "opened",
    "run",
    "stream",
]

T = TypeVar("T")

Around = Callable[[], AbstractContextManager[Any]]

END: Final = object()  # what a Pull replies when its source is exhausted


class Judge:
    """Have `guard` decide; the reply is what the plan returns."""

    __slots__ = ("guard", "plan")

    def __init__(self, guard: Guard, plan: Plan[Any]) -> None:
        self.guard, self.plan = guard, plan

    def now(self) -> Any:
        return drive(self.plan, self.guard.workers)

    async def later(self) -> Any:
        return await adrive(self.plan, self.guard.workers)


class Ask:
    """Call the framework inside `around`; `call` returns the reply, or an awaitable of it for async runners."""

    __slots__ = ("around", "call")

    def __init__(self, around: Around, call: Callable[[], Any]) -> None:
        self.around, self.call = around, call

    def now(self) -> Any:
        with self.around():
            return self.call()

    async def later(self) -> Any:
        with self.around():
            return await self.call()


class Pull:
    """Take the next item of `source` inside `around`; the reply is the item or `END`. One may be yielded many times.

    If it is `apart`, a sync source runs in a context of its own, a copy of that of its first item, where `around` is
    entered once: a stream of many small pieces would pay for it at each of them. `times` is told when each item came.
    """

    __slots__ = ("_context", "apart", "around", "source", "times")

    def __init__(self, around: Around, source: Any, *, apart: bool = False, times: list[float] | None = None) -> None:
        self.around, self.source, self.apart, self.times = around, source, apart, times
        self._context: Context | None = None

    def now(self) -> Any:
        if not self.apart:
            with self.around():
                return next(self.source, END)
        if self._context is None:
            self._context = copy_context()
            self._context.run(self.around().__enter__)  # never left: the context ends with the source
        item = self._context.run(next, self.source, END)
        if self.times is not None and item is not END:
            self.times.append(perf_counter())
        return item

    def close(self) -> None:
        """Nobody wants the rest of a sync source."""
        if (close := getattr(self.source, "close", None)) is not None:
            close() if self._context is None else self._context.run(close)

    async def later(self) -> Any:
        with self.around():
            item = await anext(self.source, END)
        if self.times is not None and item is not END:
            self.times.append(perf_counter())
        return item


class Relay:
    """Give the reader of a stream all that `pull` takes, each noted first."""

    __slots__ = ("note", "pull")

    def __init__(self, pull: Pull, note: Callable[[Any], object]) -> None:
        self.pull, self.note = pull, note


class Emit:
    """Give `item` to the reader of a stream."""

    __slots__ = ("item",)

    def __init__(self, item: Any) -> None:
        self.item = item


Step = Judge | Ask | Pull | Relay | Emit
Steps = Generator[Step, Any, T]


# Each runner sends the outcome of a step back into the steps: its reply or its error, and a reader's departure. They
# are written out, since a stream runs through one for every piece; errors are forgotten at once, or their traceback and
# the runner's frame would keep each other and the texts alive.


def run(steps: Steps[T], *, late: bool = False) -> T:
    """Carry out steps without `Emit` and return what they return.

    If the framework's call gives an awaitable, and `late` says so, the rest is returned to be awaited.
    """
    reply: Any = None
    error: BaseException | None = None
    try:
        while True:
            step: Any = steps.send(reply) if error is None else steps.throw(error)
            reply, error = None, None
            try:
                reply = step.now()
            except BaseException as raised:  # noqa: BLE001 - thrown into the steps, which end the call's span and raise it again
                error = raised
            if late and type(step) is Ask and inspect.isawaitable(reply):
                return arun(steps, Ask(step.around, partial(_itself, reply)))  # type: ignore[return-value]  # of T
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # StopIteration.value is Any
    finally:
        del error


def _itself(awaitable: Any) -> Any:
    return awaitable


async def arun(steps: Steps[T], begun: Ask | None = None) -> T:
    """`run`, for async callers; `begun` is what the steps wait for, if they have begun."""
    reply: Any = None
    error: BaseException | None = None
    step: Any
    try:
        while True:
            if begun is not None:
                step, begun = begun, None
            else:
                step = steps.send(reply) if error is None else steps.throw(error)
            reply, error = None, None
            try:
                reply = await step.later()
            except BaseException as raised:  # noqa: BLE001 - as above
                error = raised
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # as above
    finally:
        del error


def stream(steps: Steps[Any]) -> Generator[Any, None, None]:
    """What the steps emit."""
    reply: Any = None
    error: BaseException | None = None
    pull: Pull | None = None
    try:
        while True:
            try:
                step: Any = steps.send(reply) if error is None else steps.throw(error)
            except StopIteration:
                return
            reply, error = None, None
            try:
                if type(step) is Emit:
                    yield step.item
                elif type(step) is Relay:
                    pull, note = step.pull, step.note
                    while (item := pull.now()) is not END:
                        note(item)
                        yield item
                else:
                    if type(step) is Pull:
                        pull = step
                    reply = step.now()
            except BaseException as raised:  # noqa: BLE001 - as above, and GeneratorExit: the reader went away
                error = raised
    finally:
        del error
        if pull is not None:
            pull.close()


async def astream(steps: Steps[Any]) -> AsyncGenerator[Any, None]:
    """`stream`, for async callers."""
    reply: Any = None
    error: BaseException | None = None
    source: Any = None
    try:
        while True:
            try:
                step: Any = steps.send(reply) if error is None else steps.throw(error)
            except StopIteration:
                return
            reply, error = None, None
            try:
                if type(step) is Emit:
                    yield step.item
                elif type(step) is Relay:
                    source, note = step.pull.source, step.note
                    while (item := await step.pull.later()) is not END:
                        note(item)
                        yield item
                else:
                    if type(step) is Pull:
                        source = step.source
                    reply = await step.later()
            except BaseException as raised:  # noqa: BLE001 - as above
                error = raised
    finally:
        del error
        if (close := getattr(source, "aclose", None)) is not None:
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
