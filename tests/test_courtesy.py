"""A background thread never queues for a lock that its callers take too."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from llmguard_middleware._courtesy import Courtesy


class Busy:
    """A lock that others hold for the first so many looks at it."""

    def __init__(self, looks: int) -> None:
        self.looks = looks
        self.queued = 0
        self.lock = threading.Lock()

    def acquire(self, blocking: bool = True) -> bool:
        """As `threading.Lock` does it."""
        if blocking:
            self.queued += 1
            return self.lock.acquire()
        self.looks -= 1
        return self.looks < 0 and self.lock.acquire(blocking=False)

    def release(self) -> None:
        """As `threading.Lock` does it."""
        self.lock.release()


def test_a_background_thread_looks_again_in_place_of_queueing() -> None:
    """While callers hold the lock it is tried now and then, and had as soon as it is free."""
    busy: Any = Busy(looks=20)
    with Courtesy(busy):
        assert busy.lock.locked()
    assert (busy.queued, busy.lock.locked()) == (0, False)


def test_a_lock_that_is_never_free_is_queued_for() -> None:
    """Callers without end do not keep the background thread out for ever."""
    busy: Any = Busy(looks=10_000)
    with Courtesy(busy):
        assert busy.queued == 1
    assert not busy.lock.locked()


def test_a_lock_held_by_a_failure_is_free_again() -> None:
    """Whatever happens below `with`, the lock is released."""
    lock = threading.Lock()
    with pytest.raises(ZeroDivisionError), Courtesy(lock):
        1 / 0  # noqa: B018 - any failure
    assert not lock.locked()
