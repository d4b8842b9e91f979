"""Threads that wait for what may never end, such as an export to a backend that does not answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from queue import SimpleQueue

from ..._forks import renewed_in_children

__all__ = ["Helper", "in_time"]

_Job = tuple[Callable[[], object], "Future[object]"]


class Helper:
    """A thread that does one job after the other.

    It waits from the start: Python 3.12 lets nobody start a thread while the interpreter ends.
    """

    def __init__(self) -> None:
        self.begin_anew()
        renewed_in_children(self)

    def begin_anew(self) -> None:
        """Start the thread, as in a forked child, which has none."""
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        threading.Thread(target=_work, args=(self._jobs,), name="llmguard-telemetry", daemon=True).start()

    def do(self, job: Callable[[], object]) -> Future[object]:
        """Have this done, after what was asked for before."""
        done: Future[object] = Future()
        self._jobs.put((job, done))
        return done

    def stop(self) -> None:
        """End the thread once all is done."""
        self._jobs.put(None)


def in_time(jobs: Iterable[Future[object]], timeout: float) -> bool:
    """Whether all of these were done within `timeout` seconds, without an error, and none said False."""
    done, late = wait(jobs, timeout)
    return not late and all(job.exception() is None and job.result() is not False for job in done)


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    while (asked := jobs.get()) is not None:
        job, done = asked
        try:
            done.set_result(job())
        except Exception as error:  # noqa: BLE001 - told by the future
            done.set_exception(error)
