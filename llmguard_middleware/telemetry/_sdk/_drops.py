"""Counts of telemetry that was lost, exact, by signal and reason; and one line a minute that says so."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

from ..._forks import renewed_in_children

__all__ = ["Drops"]

_log = logging.getLogger("llmguard.telemetry")
_MINUTE = 60.0
_NOUNS = {
    "traces": ("span", "spans"),
    "logs": ("log record", "log records"),
    "metrics": ("export of metrics", "exports of metrics"),
    "journal": ("journal line", "journal lines"),
    "content": ("call's content", "calls' contents"),
}


class Drops:
    """What was lost so far: spans, log records, exports of metrics, lines of the journal, uploads of content."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.begin_anew()
        renewed_in_children(self)

    def begin_anew(self) -> None:
        """After a fork: what the parent lost is the parent's."""
        self._lock = threading.RLock()  # what is collected, or a signal, may lead back here
        self._counts: Counter[tuple[str, str]] = Counter()
        self._untold: Counter[tuple[str, str]] = Counter()
        self._next = float("-inf")

    def count(self, signal: str, reason: str, number: int = 1) -> None:
        """Count `number` lost items, and say so unless something was said less than a minute ago."""
        if not number:
            return
        with self._lock:
            self._counts[signal, reason] += number
            self._untold[signal, reason] += number
        self.report()

    @property
    def counts(self) -> dict[tuple[str, str], int]:
        """Lost items so far by (signal, reason)."""
        with self._lock:
            return dict(self._counts)

    def report(self, *, now: bool = False) -> None:
        """Log what was lost since the last line, at most once a minute unless `now`."""
        with self._lock:
            moment = self._clock()
            if not self._untold or (moment < self._next and not now):
                return
            first = self._next == float("-inf")
            lost, self._untold, self._next = self._untold, Counter(), moment + _MINUTE
        # Outside the lock: a log handler may lead back here.
        _log.warning("%s", _sentence(lost, "" if first else " since the last such line"))


def _sentence(lost: Counter[tuple[str, str]], when: str) -> str:
    parts = []
    for signal in dict.fromkeys(signal for signal, _ in lost):
        reasons = {reason: number for (of, reason), number in lost.items() if of == signal}
        total = sum(reasons.values())
        noun = _NOUNS[signal][total != 1]
        told = ", ".join(f"{reason}: {number}" for reason, number in sorted(reasons.items()))
        parts.append(f"{total} {noun} {'were' if total != 1 else 'was'} dropped{when} ({told})")
    return "; ".join(parts)
