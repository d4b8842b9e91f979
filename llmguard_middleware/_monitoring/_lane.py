"""The line of one monitor: which calls it takes, what its scorer is given, and what becomes of each score."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Protocol

from opentelemetry.context import Context

from .._call import Call
from .._clock import Clock
from .._leaves import texts_in
from .._rules import Monitor
from .._score import as_score
from .._workers import Workers
from ..errors import ScorerError, ScorerTimeoutError
from ..telemetry._emitter import Emitter
from ._backlog import Backlog, How, Job, Line

__all__ = ["Lane", "Means"]

_log = logging.getLogger("llmguard.monitors")


@dataclass(frozen=True)
class Means:
    """What the lanes of one guard share. `workers` run sync scorers and the event loop."""

    emitter: Emitter
    prepare: Callable[[Call], Call]
    backlog: Backlog
    clock: Clock
    workers: Workers
    executor: Executor | None


class Run(Protocol):
    """What a ticket is: called by the thread that it is handed to, it takes jobs from its lane and scores them."""

    def __call__(self) -> None: ...


class Lane(Line):
    """The line of one monitor, and how its scores are run."""

    def __init__(self, monitor: Monitor, means: Means, workers: Workers, run: Callable[[Lane], Run]) -> None:
        super().__init__(1 if monitor.batch is None else monitor.batch_size)
        self.monitor, self.means = monitor, means
        self.bound = monitor.batch or monitor.bound
        self._workers, self._run = workers, run
        self._warned: set[str] = set()

    def takes(self, call: Call, trace_id: int, outermost: bool) -> bool:
        """Whether the monitor is for this call."""
        monitor = self.monitor
        if not (outermost or monitor.on == "every") or not monitor.takes(trace_id):
            return False
        try:
            return monitor.matches is None or monitor.matches(call)
        except Exception as error:  # noqa: BLE001 - foreign code, and a monitor never disturbs the caller
            why = type(error).__name__
            self.warn_once("where", f"did not take a call, since its where raised {why}; this is said once")
            return False

    def put(self, call: Call, context: Context | None, until: float | None) -> None:
        """Queue a call; if there is no room, the caller is held until then at most."""
        due = self.means.backlog.put(self, call, context, until)
        if due == "ticket":
            self.post()
        elif due == "timer":
            self.ripen()

    def post(self) -> None:
        """Hand out a ticket that was made."""
        try:
            self._workers.post(self._run(self))
        except Exception as error:  # noqa: BLE001 - no thread to be had, say: a monitor never disturbs the call
            self._shed(error)

    def _shed(self, error: Exception) -> None:
        if jobs := self.means.backlog.take(self):
            self.means.backlog.settle("dropped", len(jobs))
        _log.warning('monitor "%s" could not be queued: %s', self.monitor.name, type(error).__name__)

    def ripen(self) -> None:
        """Run what waits for its batch to be complete, if it has waited long enough; else see to it later."""
        when = self.means.backlog.overdue(self, self.monitor.batch_wait)
        if when == 0:
            self.post()
        elif when is not None:
            try:
                self.means.clock.at(self, when, self.ripen)
            except RuntimeError:  # no thread to be had: then batches are as large as they happen to be
                self.means.backlog.ticket(self)
                self.post()

    def arguments(self, jobs: Sequence[Job]) -> tuple[dict[str, Any] | None, list[BaseException | None]]:
        """What to call the scorer with (None if nothing is to be scored), and for each job why it cannot be scored."""
        errors: list[BaseException | None] = []
        offered: list[dict[str, Any]] = []
        for job in jobs:
            error: BaseException | None = None
            try:
                available = self._available(job.call)
                arguments = self.bound.arguments(available)
            except BaseException as raised:  # noqa: BLE001 - a guardrail is foreign code, and there is nobody to tell
                error = raised.with_traceback(None)  # whose frames would keep the call's texts alive
            else:
                offered.append(available)
            errors.append(error)
        if not offered:
            return None, errors
        if self.monitor.batch is not None:
            names = {name for available in offered for name in available}
            arguments = self.bound.arguments({n: [available.get(n) for available in offered] for n in names})
        return arguments, errors

    def _available(self, call: Call) -> dict[str, object]:
        names = self.means.prepare(call).available()
        return {**names, "text": "\n".join(texts_in(names.get("output")))}

    def results(
        self, raw: Any, error: BaseException | None, count: int
    ) -> Sequence[tuple[object, BaseException | None]]:
        """What the scorer returned for each of `count` jobs that it was given, or why it did not."""
        if error is not None or self.monitor.batch is None or not count:
            return [(raw, error)] * count
        if inspect.iscoroutine(raw):
            raw.close()  # it will never be awaited
        name, given = self.bound.name, f"a {type(raw).__name__}"
        if (
            isinstance(raw, Sized)
            and isinstance(raw, Iterable)
            and not isinstance(raw, (str, bytes, Mapping, AbstractSet))
        ):
            if len(raw) == count:
                return [(result, None) for result in raw]
            given = f"{len(raw)} scores"
        msg = (
            f'score_batch of scorer "{name}" returned {given} for {count} calls; return a sequence, one score for each'
        )
        return [(None, ScorerError(msg))] * count

    def report(self, job: Job, started: int, raw: object, error: BaseException | None, *, quiet: bool) -> None:
        """One job is done."""
        name, score = self.monitor.name, None
        try:
            if error is None:
                try:
                    score = as_score(raw, self.bound.name)
                except ScorerError as raised:
                    error = raised.with_traceback(None)
            if error is not None and not quiet:
                # Only our own sentences: a foreign exception's text may quote the call.
                why = str(error) if isinstance(error, ScorerError) else type(error).__name__
                _log.warning('monitor "%s" could not score: %s', name, why)
            self.means.emitter.monitored(job.call, job.context, name, score, error, started)
        finally:
            self.means.backlog.settle(_how(error))

    def warn_once(self, about: str, sentence: str) -> None:
        """Warn, unless it was warned of the same before."""
        if about not in self._warned:
            self._warned.add(about)
            _log.warning('monitor "%s" %s', self.monitor.name, sentence)


def _how(error: BaseException | None) -> How:
    if error is None:
        return "scored"
    return "timed_out" if isinstance(error, ScorerTimeoutError) else "failed"
