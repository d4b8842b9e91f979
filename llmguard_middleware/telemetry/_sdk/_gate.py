"""The gate before an exporter's queue: it bounds the queue and knows, exactly, what became of every item."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..._forks import renewed_in_children
from ._drops import Drops

__all__ = ["Gate"]


_BEARABLE = 2  # failures in a row
_PAUSES = (5.0, 10.0, 20.0, 30.0)  # seconds


class Gate:
    """Lets at most `limit` items of one signal wait, and counts each that is not sent as one drop with one reason.

    The SDK's queue drops its oldest item when it is full, and counts that only roughly; behind a gate it never is.

    A sink that failed again and again is let alone for a while. What waits then is kept for it, and what comes on top
    is turned away at once, where a batch after the other was encoded and kept in memory for nothing.

    Args:
        signal: what it is of: traces, logs.
        limit: how many may wait.
        drops: what counts the others.
        pauses: how long to let the sink alone, in seconds, after each further failure; the last one is repeated. Empty
            for a sink that is written to by the threads that make the items.
    """

    def __init__(self, signal: str, limit: int, drops: Drops, pauses: Sequence[float] = _PAUSES) -> None:
        self._signal, self._limit, self._drops, self._pauses = signal, limit, drops, pauses
        self._closed = self._abandoned = False
        self.begin_anew()
        renewed_in_children(self)

    def begin_anew(self) -> None:
        """After a fork: the SDK empties the child's queues too."""
        self._lock = threading.RLock()  # what is collected, or a signal, may lead back here
        self._waiting = self._sending = 0
        self._failures = 0  # in a row
        self._hurrying = self._hurries = 0  # how many want all of it to be sent now, and have wanted it
        self._hurry = threading.Condition(self._lock)

    def enter(self) -> bool:
        """Whether one more item may wait; if not, it is counted."""
        with self._lock:
            if not self._closed and self._waiting < self._limit:
                self._waiting += 1
                return True
            reason = "shutdown" if self._closed else "queue_full"
        self._drops.count(self._signal, reason)
        return False

    @property
    def crowded(self) -> bool:
        """Whether it is time to hurry: somebody waits for all of it, or much waits for a sink that takes it."""
        return self._hurrying > 0 or (not self._failures and self._waiting * 2 > self._limit)

    def rest(self) -> None:
        """Wait, before waiting items are taken, if the sink is to be let alone; not if somebody is in a hurry."""
        if self._failures < _BEARABLE or not self._pauses:  # only the thread that exports changes it
            return
        pause = self._pauses[min(self._failures - _BEARABLE, len(self._pauses) - 1)]
        with self._lock:
            before = self._hurries  # one may be over before this thread is awake
            self._hurry.wait_for(lambda: self._hurrying or self._closed or self._hurries != before, pause)

    @contextmanager
    def hurried(self) -> Iterator[None]:
        """Let nobody rest inside: all is to be sent now, or known not to be."""
        with self._lock:
            self._hurrying += 1
            self._hurries += 1
            self._hurry.notify_all()
        try:
            yield
        finally:
            with self._lock:
                self._hurrying -= 1

    def take(self, number: int) -> bool:
        """Whether so many waiting items may be sent now: not once they have been given up."""
        with self._lock:
            if self._abandoned:
                return False
            self._waiting -= number
            self._sending += number
            return True

    def settle(self, number: int, *, sent: bool) -> None:
        """Say what became of items that were taken."""
        with self._lock:
            if self._abandoned:  # and counted then
                return
            self._sending -= number
            self._failures = 0 if sent else self._failures + 1
        if not sent:
            self._drops.count(self._signal, "export_failed", number)

    def close(self) -> None:
        """Let nothing in from now on."""
        with self._lock:
            self._closed = True
            self._hurry.notify_all()

    def abandon(self) -> None:
        """Give up and count what is waiting or being sent."""
        with self._lock:
            left, self._abandoned = self._waiting + self._sending, True
            self._waiting = self._sending = 0
        self._drops.count(self._signal, "shutdown", left)
