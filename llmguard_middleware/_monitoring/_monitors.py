"""Monitors in the background: the caller hands a call over and goes on."""

from __future__ import annotations

import atexit
import random
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor

from opentelemetry.context import Context

from .._call import Call
from .._clock import Clock
from .._drive import inside_scorer
from .._forks import renewed_in_children
from .._rules import Monitor
from .._workers import Workers
from ..errors import ConfigurationError
from ..telemetry._emitter import Emitter
from ._backlog import Backlog, How
from ._lane import Lane, Means
from ._queue import MonitorQueue, MonitorStats
from ._remote import ExecutorRun
from ._runs import LoopRun, PoolRun

__all__ = ["Monitors"]

_AT_EXIT = 2.0  # seconds that pending scores get when the interpreter ends
_NAP = 0.001  # seconds: busy callers wake a thread that scores at most once in so long


class Monitors:
    """Runs the monitors of one guard: queues what they take, within the limits of `queue`."""

    def __init__(
        self,
        monitors: Sequence[Monitor],
        emitter: Emitter,
        prepare: Callable[[Call], Call],
        queue: MonitorQueue | None = None,
        executor: Executor | None = None,
        workers: Workers | None = None,
    ) -> None:
        if queue is not None and not isinstance(queue, MonitorQueue):
            msg = f"queue= takes a MonitorQueue and was given {type(queue).__name__}; write MonitorQueue(size=1000)"
            raise ConfigurationError(msg)
        if executor is not None and not isinstance(executor, Executor):
            given = type(executor).__name__
            msg = f"executor= takes a concurrent.futures.Executor and was given {given}; say ProcessPoolExecutor()"
            raise ConfigurationError(msg)
        self._monitors = tuple(monitors)
        self._emitter, self._prepare, self._executor = emitter, prepare, executor
        self._queue = queue or MonitorQueue()
        self._workers = workers or Workers(2, "llmguard-monitor", _NAP)
        self._starter = Workers(1, "llmguard-monitor-start", _NAP)
        self._sender = Workers(1, "llmguard-monitor-send", _NAP)
        self._open = True
        self.begin_anew()
        renewed_in_children(self)

    def begin_anew(self) -> None:
        """After a fork: pending scores stay with the parent."""
        self._backlog = Backlog(self._queue)
        clock = Clock("llmguard-monitor-clock")
        self._means = Means(self._emitter, self._prepare, self._backlog, clock, self._workers, self._executor)
        self._lanes: tuple[Lane, ...] = ()
        self._at_exit = False
        self.swap(self._monitors)

    def swap(self, monitors: Sequence[Monitor]) -> None:
        """From now on, these; what waits for others is scored all the same."""
        before = self._lanes
        known = {id(lane.monitor): lane for lane in before}
        self._monitors = tuple(monitors)
        self._lanes = tuple(
            known.get(id(monitor)) or self._lane(monitor, self._means) for monitor in monitors if monitor.active
        )
        self._backlog.lines = (*self._lanes, *(lane for lane in before if lane not in self._lanes and lane.waiting))

    def _lane(self, monitor: Monitor, means: Means) -> Lane:
        # The loop and an executor are reached from threads of their own: waking an event loop, not to speak of another
        # process, costs the caller more than waking a thread, and those of the pool may be held up by sync scorers.
        if (monitor.batch or monitor.bound).is_async:
            return Lane(monitor, means, self._starter, LoopRun)
        if self._executor is not None:
            return Lane(monitor, means, self._sender, ExecutorRun)
        return Lane(monitor, means, self._workers, PoolRun)

    def observe(
        self,
        call: Call,
        context: Context | None,
        *,
        outermost: bool = True,
        only: Collection[Monitor] | None = None,
    ) -> None:
        """Queue an answered call for every monitor (of `only` these) that takes it.

        Waits as long as the queue says, never raises.
        """
        if not self._lanes or not self._open or inside_scorer.get():
            return
        trace_id = call.trace_id or random.getrandbits(64)
        until = self._backlog.patience()
        for lane in self._lanes:
            if (only is None or lane.monitor in only) and lane.takes(call, trace_id, outermost):
                if not self._at_exit:
                    # Registered at the first score, so that it runs before the exit hooks of an SDK set up earlier.
                    self._at_exit = True
                    atexit.register(_flush_at_exit, weakref.ref(self))
                lane.put(call, context, until)

    @property
    def stats(self) -> MonitorStats:
        """What became of all scores so far."""
        return self._backlog.stats

    @property
    def settled(self) -> Mapping[How, int]:
        """How many scores came to which end: the books themselves, which go on."""
        return self._backlog.settled

    def flush(self, timeout: float) -> int:
        """Wait until all is scored, at most `timeout` seconds; return how many scores are still pending."""
        backlog = self._backlog
        try:
            for line in backlog.hurry():
                assert isinstance(line, Lane)
                line.post()
            return backlog.wait(timeout)
        finally:
            backlog.calm()

    def shutdown(self, timeout: float) -> int:
        """Take no more calls, then flush."""
        self._open = False
        self._backlog.close()
        return self.flush(timeout)


def _flush_at_exit(monitors: weakref.ref[Monitors]) -> None:
    if (alive := monitors()) is not None:
        alive.flush(_AT_EXIT)
