"""How a background thread leaves to its callers what they want too: a lock, and the interpreter itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from time import sleep
from typing import TypeVar

__all__ = ["Courtesy", "Unhurried"]

T = TypeVar("T")

_MOMENT = 0.0001  # seconds
_TRIES = 100
_AT_ONCE = 4  # items


class Courtesy:
    """`with` it, a background thread holds `lock` and never queued for it, or a caller would pay.

    A thread that queues is handed the lock while it still has to wait for the interpreter (the GIL), which the thread
    that released it holds on to. That one finds the lock taken at its next turn, queues in its turn, and so on: a lock
    convoy, in which each call costs the caller a whole job of the background thread, 100 to 300 us in place of 2. So
    this side looks again a moment later, and queues only after ten milliseconds without luck.
    """

    __slots__ = ("_lock",)

    def __init__(self, lock: threading.Lock | threading.RLock | threading.Condition) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        for _ in range(_TRIES):
            if self._lock.acquire(blocking=False):
                return
            sleep(_MOMENT)
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class Unhurried(list[T]):
    """A list whose reader lets go of the interpreter (the GIL) every few items.

    A thread that is busy in Python keeps the interpreter for five milliseconds when another one wants it
    (`sys.getswitchinterval`), and again each time that one has waited for something. A batch of 512 spans takes the
    SDK's encoder 25 ms or more: calls made meanwhile would be late by 5 or 10. To let go without sleeping would not
    do: this thread would have the interpreter back before another one is awake.
    """

    def __iter__(self) -> Iterator[T]:
        for number, item in enumerate(list.__iter__(self)):
            if number and not number % _AT_ONCE:
                sleep(_MOMENT)
            yield item
