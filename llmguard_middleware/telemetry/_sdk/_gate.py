"""The gate before an exporter's queue: it bounds the queue and knows, exactly, what became of every item."""

from __future__ import annotations

import threading

from ..._forks import renewed_in_children
from ._drops import Drops

__all__ = ["Gate"]


class Gate:
    """Lets at most `limit` items of one signal wait, and counts each that is not sent as one drop with one reason.

    The SDK's queue drops its oldest item when it is full, and counts that only roughly; behind a gate it never is.
    """

    def __init__(self, signal: str, limit: int, drops: Drops) -> None:
        self._signal, self._limit, self._drops = signal, limit, drops
        self._closed = self._abandoned = False
        self.begin_anew()
        renewed_in_children(self)

    def begin_anew(self) -> None:
        """After a fork: the SDK empties the child's queues too."""
        self._lock = threading.RLock()  # what is collected, or a signal, may lead back here
        self._waiting = self._sending = 0

    def enter(self) -> bool:
        """Whether one more item may wait; if not, it is counted."""
        with self._lock:
            if not self._closed and self._waiting < self._limit:
                self._waiting += 1
                return True
            reason = "shutdown" if self._closed else "queue_full"
        self._drops.count(self._signal, reason)
        return False

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
        if not sent:
            self._drops.count(self._signal, "export_failed", number)

    def close(self) -> None:
        """Let nothing in from now on."""
        self._closed = True

    def abandon(self) -> None:
        """Give up and count what is waiting or being sent."""
        with self._lock:
            left, self._abandoned = self._waiting + self._sending, True
            self._waiting = self._sending = 0
        self._drops.count(self._signal, "shutdown", left)
