"""How scores are run: in the pool or on the event loop, one by one or in batches.

Each run is first a ticket: whatever thread it is handed to calls it, and it takes the jobs that are then next in line.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Sequence
from contextvars import Context as Variables
from time import monotonic, time_ns
from typing import Any

from opentelemetry import trace

from .._drive import inside_scorer
from ..errors import ScorerTimeoutError
from ._backlog import Claim, Job
from ._lane import Lane

__all__ = ["LoopRun", "PoolRun", "Run"]


class Run(Claim):
    """One take from a line."""

    __slots__ = ("errors", "jobs", "lane", "quiet", "started")

    jobs: Sequence[Job]
    errors: Sequence[BaseException | None]  # for each job why it cannot even be given to the scorer
    started: int

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.claimed = self.quiet = False

    def __call__(self) -> None:
        self.jobs = self.lane.means.backlog.take(self.lane)
        self.errors = [None] * len(self.jobs)
        if self.jobs:
            self.started = time_ns()
            self._go()

    def _go(self) -> None:
        """Score the jobs, or see to it that they are scored."""
        raise NotImplementedError

    def _beneath(self) -> Any:
        """What a scorer does beneath the call that it scores: a judge's question is in that trace, as is the score."""
        above = self.jobs[0].context if len(self.jobs) == 1 else None
        span = None if above is None else trace.get_current_span(above)
        return contextlib.nullcontext() if span is None else trace.use_span(span, False, False, False)

    def _arguments(self) -> dict[str, Any] | None:
        arguments, self.errors = self.lane.arguments(self.jobs)
        return arguments

    def _watch(self) -> None:
        with contextlib.suppress(RuntimeError):  # no thread to be had: then it takes as long as it takes
            self.lane.means.clock.at(self, monotonic() + self.lane.monitor.timeout, self._expire)

    def _expire(self) -> None:
        if self.lane.means.backlog.claim(self, giving_up=True):
            self._give_up()
            self._report(None, self._too_late())

    def _give_up(self) -> None:
        """Nobody waits any more."""
        raise NotImplementedError

    def _too_late(self) -> ScorerTimeoutError:
        name, timeout = self.lane.bound.name, self.lane.monitor.timeout
        return ScorerTimeoutError(f'scorer "{name}" took longer than {timeout:g} s')

    def _finish(self, raw: object, error: BaseException | None) -> None:
        """The scorer came back; too late, perhaps."""
        self.lane.means.clock.forget(self)
        if self.lane.means.backlog.claim(self):
            self._report(raw, error)

    def _report(self, raw: object, error: BaseException | None) -> None:
        errors = self.errors
        results = iter(self.lane.results(raw, error, errors.count(None)))
        for job, why in zip(self.jobs, errors, strict=True):
            self.lane.report(job, self.started, *(next(results) if why is None else (None, why)), quiet=self.quiet)


class PoolRun(Run):
    """Scores in the pool."""

    __slots__ = ()

    def _go(self) -> None:
        inside_scorer.set(True)  # for good: these threads run nothing else
        self._watch()
        raw: object = None
        error: BaseException | None = None
        try:
            if (arguments := self._arguments()) is not None:
                with self._beneath():
                    raw = self.lane.bound.run(arguments)
        except BaseException as raised:  # noqa: BLE001 - a scorer is foreign code, and this thread has nobody to tell
            error = raised.with_traceback(None)
        self._finish(raw, error)

    def _give_up(self) -> None:
        self.lane.means.workers.abandon(self)


class LoopRun(Run):
    """Scores on the event loop."""

    __slots__ = ()

    def _go(self) -> None:
        variables = Variables()
        variables.run(inside_scorer.set, True)
        try:
            self.lane.means.workers.submit_async(variables, self._score)
        except RuntimeError as error:  # no thread to be had
            self._finish(None, error.with_traceback(None))

    async def _score(self) -> None:
        raw: object = None
        error: BaseException | None = None
        try:
            if (arguments := self._arguments()) is not None:
                # Not wait_for: it waits on for a scorer that refuses to be cancelled.
                with self._beneath():  # a task goes on in the context that it was made in
                    scoring = asyncio.ensure_future(_outcome(self.lane.bound.run(arguments)))
                if (await asyncio.wait((scoring,), timeout=self.lane.monitor.timeout))[0]:
                    raw, error = scoring.result()
                else:
                    scoring.cancel()
                    error = self._too_late()
        except BaseException as raised:  # noqa: BLE001 - a scorer is foreign code, and this loop has nobody to tell
            error = raised.with_traceback(None)
        self._finish(raw, error)


async def _outcome(scoring: Awaitable[object]) -> tuple[object, BaseException | None]:
    # Raises nothing: a SystemExit that leaves a task ends the loop, and with it every async monitor.
    try:
        return await scoring, None
    except BaseException as error:  # noqa: BLE001 - handed to whoever asked for the score
        return None, error.with_traceback(None)
