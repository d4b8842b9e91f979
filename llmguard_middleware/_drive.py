"""Two thin drivers for one decision: `drive` for sync callers, `adrive` for async ones.

Scorers that declare themselves cheap run on the calling thread; all others run in the pool or on an event loop, each
with the time limit of its rule. `KeyboardInterrupt`, `SystemExit` and cancellation pass untouched.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from time import perf_counter
from typing import Any, TypeVar

from opentelemetry import context as otel
from opentelemetry import trace

from ._asking import inside_scorer, scoring
from ._judge import BREATHE, Completion, Launch, Plan
from ._pieces import PIECE, in_pieces
from ._rules import Guardrail
from ._workers import Workers
from .errors import ScorerError, ScorerTimeoutError

__all__ = ["adrive", "drive", "inside_scorer", "run_inline"]

T = TypeVar("T")

_CANCELLED = (asyncio.CancelledError, CancelledError)


def drive(plan: Plan[T], workers: Workers) -> T:
    """Run a plan to its end on this thread and return what it returns."""
    running: _Scoring | None = None
    detached = False
    try:
        step = next(plan)
        while True:
            if step is BREATHE:
                step = plan.send(None)
                continue
            if isinstance(step, Launch):
                running = _Scoring(step, workers)
                detached = step.detached
            elif step is not None:
                assert isinstance(step, _Scoring)
                running = step
            assert running is not None
            if detached:
                detached, reply, running = False, running, None
                step = plan.send(reply)
                continue
            while (done := running.next_inline()) is _MORE:
                pass
            step = plan.send(done or running.wait())
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # StopIteration.value is Any
    finally:
        plan.close()
        if running is not None:
            running.cancel()


async def adrive(plan: Plan[T], workers: Workers) -> T:
    """Run a plan to its end on this event loop and return what it returns."""
    running: _AsyncScoring | None = None
    detached = False
    try:
        step = next(plan)
        while True:
            if step is BREATHE:
                await asyncio.sleep(0)
                step = plan.send(None)
                continue
            if isinstance(step, Launch):
                running = _AsyncScoring(step, workers)
                detached = step.detached
            elif step is not None:
                assert isinstance(step, _AsyncScoring)
                running = step
            assert running is not None
            if detached:
                detached, reply, running = False, running, None
                step = plan.send(reply)
                continue
            done = running.next_inline()
            while done is _MORE or running.overdue():
                await asyncio.sleep(0)
                done = running.next_inline() if done is _MORE else done
            step = plan.send(done or await running.wait())
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # StopIteration.value is Any
    finally:
        plan.close()
        if running is not None:
            running.cancel()


def run_inline(index: int, rule: Guardrail, available: Mapping[str, Any]) -> Completion:
    """Score with one rule on this thread."""
    started = perf_counter()
    token = inside_scorer.set(True)
    try:
        return Completion(index, rule.bound(available), None, perf_counter() - started)
    except Exception as error:  # noqa: BLE001 - a scorer is foreign code; what its failure means is `on_error`'s business
        return Completion(index, None, error, perf_counter() - started)
    except asyncio.CancelledError:  # its own: what runs here cannot be cancelled from outside
        return Completion(index, None, _cancelled(rule), perf_counter() - started)
    finally:
        inside_scorer.reset(token)


def _cancelled(rule: Guardrail) -> ScorerError:
    return ScorerError(f'scorer "{rule.bound.name}" was cancelled')


_MORE: Any = object()
_TURN = 0.004  # seconds that inline scorers may take on an event loop before others get a turn


class _Launched:
    """The rules of one Launch: inline ones wait for their turn here, the others are under way."""

    def __init__(self, launch: Launch, workers: Workers) -> None:
        self._available = launch.available
        self._workers = workers
        self._text: str = launch.available["text"]
        short = len(self._text) <= PIECE
        self._inline: list[tuple[int, Guardrail]] = []
        self._pieces: tuple[int, Guardrail, Generator[None, None, Any], float] | None = None
        self._beneath = launch.beneath
        self._started = self._turn = perf_counter()
        self._deadline = launch.deadline
        self._pending: dict[Any, tuple[int, Guardrail]] = {}
        for index, rule in launch.rules:
            if rule.inline and (short or _divisible(rule)):
                self._inline.append((index, rule))
            else:
                self._pending[self._start(rule, workers)] = (index, rule)
        self._inline.reverse()  # popped from the end, so the earliest rule comes first

    def _start(self, rule: Guardrail, workers: Workers) -> Any:
        raise NotImplementedError

    def _context(self) -> Context:
        """What a scorer runs in that does not run inline."""
        context = copy_context()
        context.run(inside_scorer.set, True)
        if self._beneath is not None:
            span = self._beneath.span
            if span.get_span_context().is_valid:
                context.run(lambda: otel.attach(trace.set_span_in_context(span)))
        return context

    def next_inline(self) -> Any:
        """The next completion of an inline rule, `_MORE` if it takes longer, or None if there is none."""
        if self._pieces is not None:
            return self._next_piece()
        if not self._inline:
            return None
        index, rule = self._inline.pop()
        if len(self._text) <= PIECE:
            return run_inline(index, rule, self._available)
        extent = rule.bound.extent
        assert extent is not None
        scoring = in_pieces(self._scoring(rule), self._text, extent, rule.bound.scorer, rule.bound.name)
        self._pieces = index, rule, scoring, perf_counter()
        return self._next_piece()

    def _scoring(self, rule: Guardrail) -> Callable[[str], Any]:
        again = {name: None for name in ("text", "output") if name in self._available}
        return lambda piece: rule.bound({**self._available, **dict.fromkeys(again, piece)})

    def _next_piece(self) -> Any:
        assert self._pieces is not None
        index, rule, scoring, started = self._pieces
        token = inside_scorer.set(True)
        try:
            next(scoring)
        except StopIteration as stop:
            self._pieces = None
            return Completion(index, stop.value, None, perf_counter() - started)
        except Exception as error:  # noqa: BLE001 - as in run_inline
            self._pieces = None
            return Completion(index, None, error, perf_counter() - started)
        except asyncio.CancelledError:
            self._pieces = None
            return Completion(index, None, _cancelled(rule), perf_counter() - started)
        finally:
            inside_scorer.reset(token)
        return _MORE

    def overdue(self) -> bool:
        """Whether inline scorers have had the event loop for long enough; the next turn starts now."""
        now = perf_counter()
        late = now - self._turn > _TURN
        if late:
            self._turn = now
        return late

    def _limit(self, rule: Guardrail) -> float:
        return rule.timeout if self._deadline is None else min(rule.timeout, self._deadline - self._started)

    def _time_left(self) -> float:
        limit = min(threading.TIMEOUT_MAX, *(self._limit(rule) for _, rule in self._pending.values()))
        return max(0.0, limit - (perf_counter() - self._started))

    def _settle(self, done: set[Any]) -> Completion:
        """The completion of the earliest rule among the `done`, or else of the earliest that is out of time."""
        elapsed = perf_counter() - self._started
        if done:
            future = min(done, key=lambda f: self._pending[f][0])
            index, rule = self._pending.pop(future)
            # Nobody cancelled it from here, so the scorer did it itself, which is a way to fail like another.
            error = None if future.cancelled() else future.exception()
            if future.cancelled() or isinstance(error, _CANCELLED):
                error = _cancelled(rule)
            if error is not None and not isinstance(error, Exception):
                raise error
            return Completion(index, None if error is not None else future.result(), error, elapsed)
        future = min(
            (f for f, (_, rule) in self._pending.items() if self._limit(rule) <= elapsed),
            key=lambda f: self._pending[f][0],
        )
        index, rule = self._pending.pop(future)
        self._give_up(future)
        if self._limit(rule) < rule.timeout:
            why = f'scorer "{rule.bound.name}" was not done when the deadline of the call came'
        else:
            why = f'scorer "{rule.bound.name}" took longer than {rule.timeout:g} s'
        return Completion(index, None, ScorerTimeoutError(why), elapsed)

    def cancel(self) -> None:
        """Stop what can be stopped."""
        for future in self._pending:
            self._give_up(future)

    def _give_up(self, future: Any) -> None:
        self._workers.abandon(future)


def _divisible(rule: Guardrail) -> bool:
    """Whether pieces of a text give the score of the whole: the spans do, a value only if the scorer can join them."""
    return rule.bound.extent is not None and (not rule.condition or hasattr(rule.bound.scorer, "joined"))


class _Scoring(_Launched):
    _pending: dict[Future[Any], tuple[int, Guardrail]]

    def _start(self, rule: Guardrail, workers: Workers) -> Future[Any]:
        context = self._context()
        if rule.bound.is_async:
            return workers.submit_async(context, partial(_awaited, rule, self._available))
        return workers.submit(context, partial(rule.bound, self._available))

    def wait(self) -> Completion:
        done: set[Any] = set()
        while not done:
            left = self._time_left()
            done = wait(self._pending, timeout=left, return_when=FIRST_COMPLETED).done
            if not done and self._time_left() <= 0:
                break
        return self._settle(done)


class _AsyncScoring(_Launched):
    _pending: dict[asyncio.Future[Any], tuple[int, Guardrail]]

    def __init__(self, launch: Launch, workers: Workers) -> None:
        self._jobs: dict[asyncio.Future[Any], Future[Any]] = {}
        super().__init__(launch, workers)

    def _give_up(self, future: asyncio.Future[Any]) -> None:
        # A coroutine that its loop left behind is closed by the garbage collector, when that loop may be closed, too:
        # the future is cancelled then, and has nobody to tell.
        with suppress(RuntimeError):
            future.cancel()
        if (job := self._jobs.get(future)) is not None:
            self._workers.abandon(job)

    def _start(self, rule: Guardrail, workers: Workers) -> asyncio.Future[Any]:
        context = self._context()
        future: asyncio.Future[Any]
        if rule.bound.is_async:
            future = context.run(asyncio.ensure_future, _awaited(rule, self._available))
        else:
            job = workers.submit(context, partial(rule.bound, self._available))
            future = asyncio.wrap_future(job)
            self._jobs[future] = job
        future.add_done_callback(_seen)
        return future

    async def wait(self) -> Completion:
        done: set[Any] = set()
        while not done:
            done, _ = await asyncio.wait(self._pending, timeout=self._time_left(), return_when=asyncio.FIRST_COMPLETED)
            if not done and self._time_left() <= 0:
                break
        return self._settle(done)


def _seen(future: asyncio.Future[Any]) -> None:
    # Or asyncio logs the exceptions that nobody waits for any more, and an exception's text may quote the prompt.
    if not future.cancelled():
        future.exception()


async def _awaited(rule: Guardrail, available: Any) -> Any:
    with scoring():
        raw = rule.bound(available)
        return await raw if inspect.isawaitable(raw) else raw
