"""The one bounded queue that a guard's monitors share, and its books: what came in, and what became of it."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Literal, NamedTuple, get_args

from opentelemetry.context import Context

from .._call import Call
from .._courtesy import Courtesy
from ._queue import MonitorQueue, MonitorStats

__all__ = ["Backlog", "Claim", "How", "Job", "Line"]

_log = logging.getLogger("llmguard.monitors")
_QUIET = 60.0  # seconds between two warnings about drops

How = Literal["scored", "failed", "timed_out", "dropped"]


class Job(NamedTuple):
    """One answered call that one monitor is to score; `arrived` is in seconds of `monotonic()`."""

    call: Call
    context: Context | None
    arrived: float


class Claim:
    """What is settled once: by the scorer that comes back, or by somebody who gives up on it."""

    __slots__ = ("claimed",)

    def __init__(self) -> None:
        self.claimed = False


class Line:
    """The jobs that wait for one monitor, which takes up to `batch` of them at a time.

    A ticket stands for one take to come, so that jobs can be dropped from the line while somebody is on the way.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.waiting: deque[Job] = deque()
        self.tickets = 0
        self.timed = False  # somebody will look whether an incomplete batch has waited long enough

    def left(self) -> int:
        """Jobs that no ticket stands for yet."""
        return len(self.waiting) - self.tickets * self.batch


class Backlog:
    """Admits jobs by the policy of the queue, and counts each of them exactly once."""

    def __init__(self, queue: MonitorQueue, now: Callable[[], float] = monotonic) -> None:
        self._queue, self._now = queue, now
        self._changed = threading.Condition()
        self._behind = Courtesy(self._changed)  # how the threads that score take it
        self._pending = self._running = self._abandoned = 0
        self.settled: dict[How, int] = dict.fromkeys(get_args(How), 0)
        self._told, self._told_at = 0, -math.inf
        self._hurries = 0
        self.lines: Sequence[Line] = ()
        self.open = True

    def patience(self) -> float | None:
        """Until when a caller that comes now may be held, over all of its jobs; None if not at all."""
        return self._now() + self._queue.wait if self._queue.drop == "block" else None

    def put(
        self, line: Line, call: Call, context: Context | None, until: float | None = None
    ) -> Literal["", "ticket", "timer"]:
        """Add a job if there is room or room is made by then; what has to be done now that it is there."""
        due: Literal["", "ticket", "timer"] = ""
        with self._changed:
            before = self.settled["dropped"]
            if self._pending < self._queue.size or self._make_room(until):
                self._pending += 1
                line.waiting.append(Job(call, context, self._now()))
                left = line.left()
                if left >= line.batch or (left > 0 and self._hurries):
                    line.tickets += 1
                    due = "ticket"
                elif left > 0 and not line.timed:
                    line.timed = True
                    due = "timer"
            else:
                self.settled["dropped"] += 1
            warning = self._warning() if self.settled["dropped"] > before else ""
        if warning:
            _log.warning("%s", warning)
        return due

    def _make_room(self, until: float | None) -> bool:
        if self._queue.drop == "oldest":
            lines = [line for line in self.lines if line.waiting]
            if not lines:
                return False
            min(lines, key=lambda line: line.waiting[0].arrived).waiting.popleft()
            self._pending -= 1
            self.settled["dropped"] += 1
            return True
        if until is None or _on_an_event_loop():
            return False
        left = min(until - self._now(), threading.TIMEOUT_MAX)
        self._changed.wait_for(lambda: self._pending < self._queue.size or not self.open, left)
        return self._pending < self._queue.size and self.open

    def _warning(self) -> str:
        now, dropped = self._now(), self.settled["dropped"]
        if now - self._told_at < _QUIET:
            return ""
        new, size = dropped - self._told, self._queue.size
        self._told, self._told_at = dropped, now
        return (
            f"monitors cannot keep up: {new} more scores dropped, {dropped} in all (limit: {size} pending); "
            "score a smaller sample, or give the guard a larger queue=MonitorQueue(size=...)"
        )

    def take(self, line: Line) -> list[Job]:
        """Use a ticket up: the next jobs of the line, which are under way from now on; none if they were dropped."""
        with self._behind:
            line.tickets -= 1
            jobs = [line.waiting.popleft() for _ in range(min(line.batch, len(line.waiting)))]
            self._running += len(jobs)
            return jobs

    def settle(self, how: How, jobs: int = 1) -> None:
        """So many jobs that were under way are done."""
        with self._behind:
            self._pending -= jobs
            self._running -= jobs
            self.settled[how] += jobs
            self._changed.notify_all()

    def overdue(self, line: Line, wait: float) -> float | None:
        """When to look at the line's incomplete batch again: now (0, with a ticket), at a time, or not (None)."""
        with self._changed:
            if line.left() <= 0:
                line.timed = False
                return None
            due = line.waiting[line.tickets * line.batch].arrived + wait
            if due > self._now():
                return due
            line.tickets += 1
            line.timed = False
            return 0.0

    def ticket(self, line: Line) -> None:
        """Make a ticket for an incomplete batch."""
        with self._changed:
            line.tickets += 1
            line.timed = False

    def hurry(self) -> list[Line]:
        """Until `calm`, no batch waits to be complete; returns the lines with a new ticket, once for each ticket."""
        with self._changed:
            self._hurries += 1
            lines: list[Line] = []
            for line in self.lines:
                while line.left() > 0:
                    line.tickets += 1
                    lines.append(line)
            return lines

    def calm(self) -> None:
        """Batches may wait again."""
        with self._changed:
            self._hurries -= 1

    def claim(self, run: Claim, *, giving_up: bool = False) -> bool:
        """Whether the one who asks is the first, and so has to settle the run's jobs."""
        with self._behind:
            first, run.claimed = not run.claimed, True
            if giving_up and first:
                self._abandoned += 1
            elif not giving_up and not first:
                self._abandoned -= 1
            return first

    def close(self) -> None:
        """Nobody is held any longer for room."""
        with self._changed:
            self.open = False
            self._changed.notify_all()

    def wait(self, timeout: float) -> int:
        """Wait until nothing is pending, at most `timeout` seconds; return how much still is."""
        deadline = monotonic() + timeout
        with self._changed:
            while self._pending and (left := deadline - monotonic()) > 0:
                self._changed.wait(min(left, threading.TIMEOUT_MAX))
            return self._pending

    @property
    def stats(self) -> MonitorStats:
        """The books at this moment."""
        with self._changed:
            return MonitorStats(self._pending - self._running, self._running, **self.settled, abandoned=self._abandoned)


def _on_an_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
