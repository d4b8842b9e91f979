"""Two thin drivers for one decision: `drive` for sync callers, `adrive` for async ones.

Scorers that declare themselves cheap run on the calling thread; all others run in the pool or on an event loop, each
with the time limit of its rule. `KeyboardInterrupt`, `SystemExit` and cancellation pass untouched.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextvars import ContextVar, copy_context
from functools import partial
from time import perf_counter
from typing import Any, TypeVar

from ._judge import Completion, Launch, Plan
from ._rules import Guardrail
from ._workers import Workers
from .errors import ScorerError, ScorerTimeoutError

__all__ = ["adrive", "drive", "inside_scorer", "run_inline"]

T = TypeVar("T")

_CANCELLED = (asyncio.CancelledError, CancelledError)

# Set while a scorer runs, so that a model it calls (a judge, say) is not judged and scored by the same guard again.
inside_scorer: ContextVar[bool] = ContextVar("llmguard_inside_scorer", default=False)


def drive(plan: Plan[T], workers: Workers) -> T:
    """Run a plan to its end on this thread and return what it returns."""
    running: _Scoring | None = None
    try:
        step = next(plan)
        while True:
            if step is not None:
                running = _Scoring(step, workers)
            assert running is not None
            step = plan.send(running.next_inline() or running.wait())
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # StopIteration.value is Any
    finally:
        if running is not None:
            running.cancel()


async def adrive(plan: Plan[T], workers: Workers) -> T:
    """Run a plan to its end on this event loop and return what it returns."""
    running: _AsyncScoring | None = None
    try:
        step = next(plan)
        while True:
            if step is not None:
                running = _AsyncScoring(step, workers)
            assert running is not None
            step = plan.send(running.next_inline() or await running.wait())
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # StopIteration.value is Any
    finally:
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
    finally:
        inside_scorer.reset(token)


class _Launched:
    """The rules of one Launch: cheap ones wait for their turn here, the others are under way."""

    def __init__(self, launch: Launch, workers: Workers) -> None:
        self._available = launch.available
        self._workers = workers
        self._inline = [
            (i, rule) for i, rule in enumerate(launch.rules) if rule.bound.cheap and not rule.bound.is_async
        ]
        self._inline.reverse()  # popped from the end, so the earliest rule comes first
        self._started = perf_counter()
        slow = [(i, rule) for i, rule in enumerate(launch.rules) if not rule.bound.cheap or rule.bound.is_async]
        self._pending: dict[Any, tuple[int, Guardrail]] = {self._start(rule, workers): (i, rule) for i, rule in slow}

    def _start(self, rule: Guardrail, workers: Workers) -> Any:
        raise NotImplementedError

    def next_inline(self) -> Completion | None:
        if not self._inline:
            return None
        index, rule = self._inline.pop()
        return run_inline(index, rule, self._available)

    def _time_left(self) -> float:
        limit = min(threading.TIMEOUT_MAX, *(rule.timeout for _, rule in self._pending.values()))
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
                error = ScorerError(f'scorer "{rule.bound.name}" was cancelled')
            if error is not None and not isinstance(error, Exception):
                raise error
            return Completion(index, None if error is not None else future.result(), error, elapsed)
        future = min(
            (f for f, (_, rule) in self._pending.items() if rule.timeout <= elapsed), key=lambda f: self._pending[f][0]
        )
        index, rule = self._pending.pop(future)
        self._give_up(future)
        return Completion(
            index, None, ScorerTimeoutError(f'scorer "{rule.bound.name}" took longer than {rule.timeout:g} s'), elapsed
        )

    def cancel(self) -> None:
        for future in self._pending:
            self._give_up(future)

    def _give_up(self, future: Any) -> None:
        self._workers.abandon(future)


class _Scoring(_Launched):
    _pending: dict[Future[Any], tuple[int, Guardrail]]

    def _start(self, rule: Guardrail, workers: Workers) -> Future[Any]:
        context = copy_context()
        context.run(inside_scorer.set, True)
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
        future.cancel()
        if (job := self._jobs.get(future)) is not None:
            self._workers.abandon(job)

    def _start(self, rule: Guardrail, workers: Workers) -> asyncio.Future[Any]:
        context = copy_context()
        context.run(inside_scorer.set, True)
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
    raw = rule.bound(available)
    return await raw if inspect.isawaitable(raw) else raw
