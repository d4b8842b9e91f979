"""One thread that calls back at set times: time-outs and incomplete batches of monitors."""

from __future__ import annotations

import logging
import math
import queue
import threading
from collections.abc import Callable
from time import monotonic

__all__ = ["Clock"]

_log = logging.getLogger("llmguard.monitors")


class Clock:
    """Calls back at set times, from one thread that starts when first needed, sleeps in between, and ends with it."""

    def __init__(self, name: str) -> None:
        self._times = _Times(name)

    def at(self, key: object, when: float, call: Callable[[], None]) -> None:
        """Call `call` at `when` (seconds of `monotonic()`, inf for never), unless `key` is forgotten by then.

        Raises:
            RuntimeError: if no thread can be had.
        """
        if when < math.inf:
            self._times.add(key, when, call)

    def forget(self, key: object) -> None:
        """Do not call back for `key`."""
        self._times.forget(key)

    def __del__(self) -> None:
        self._times.bell.put(False)  # without its lock, which the thread that collects this garbage may hold


class _Times:
    """What the clock and its thread share; holds no reference to the clock."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.RLock()  # what is collected while it is held may lead back here
        self._calls: dict[object, tuple[float, Callable[[], None]]] = {}
        self._next = math.inf  # when the thread wakes by itself
        self._started = False
        self.bell: queue.SimpleQueue[bool] = queue.SimpleQueue()  # True wakes the thread, False ends it

    def add(self, key: object, when: float, call: Callable[[], None]) -> None:
        with self._lock:
            if not self._started:
                threading.Thread(target=_ring, args=(self,), name=self._name, daemon=True).start()
                self._started = True
            self._calls[key] = (when, call)
            sooner = when < self._next
            if sooner:
                self._next = when
        if sooner:
            self.bell.put(True)

    def forget(self, key: object) -> None:
        with self._lock:
            # What was set for this key is only forgotten: it is cheaper to wake once for nothing than each time anew.
            self._calls.pop(key, None)

    def due(self) -> list[Callable[[], None]]:
        with self._lock:
            now = monotonic()
            keys = [key for key, (when, _) in self._calls.items() if when <= now]
            calls = [self._calls.pop(key)[1] for key in keys]
            self._next = min((when for when, _ in self._calls.values()), default=math.inf)
            return calls

    def sleep(self) -> bool:
        """Whether to go on."""
        left = min(self._next - monotonic(), threading.TIMEOUT_MAX)
        try:
            return self.bell.get(timeout=max(0.0, left))
        except queue.Empty:
            return True


def _ring(times: _Times) -> None:
    while times.sleep():
        for call in times.due():
            try:
                call()
            except Exception as error:  # noqa: BLE001 - one callback never stops the others
                _log.warning("a time-out could not be handled: %s", type(error).__name__)
            del call  # it holds what was timed
