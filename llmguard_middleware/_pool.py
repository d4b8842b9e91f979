"""Daemon threads that run what is submitted, in order: they start when first needed and never keep a process alive.

`concurrent.futures.ThreadPoolExecutor` joins its threads at interpreter exit, so a single scorer that hangs would keep
the process from ever ending.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from time import sleep
from typing import Any

from ._courtesy import Courtesy

__all__ = ["Pool"]

_Task = tuple[Future[Any] | None, Callable[[], Any]]  # for a future, or a job that nobody waits for
_MOST_LOST = 32  # threads of one pool that may be given up on at a time


class Pool:
    """At most `size` daemon threads that run what is submitted, in order; they end with the pool.

    A thread whose task was abandoned is lost: it no longer counts, another may take its place, and once its task
    returns after all it ends, or goes back to work if its place is still free.

    To wake a sleeping thread costs whoever submits 5 to 15 us, several times all the rest. For work that may wait,
    `nap` is how many seconds a thread that ran out of work looks away before it sleeps until it is woken: what is
    submitted meanwhile wakes nobody.
    """

    def __init__(
        self,
        size: int,
        name: str,
        nap: float = 0.0,
        make_thread: Callable[..., threading.Thread] = threading.Thread,
    ) -> None:
        self._crew = _Crew(size, name, nap, make_thread)

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._crew.put((future, lambda: fn(*args)))
        return future

    def post(self, job: Callable[[], None]) -> None:
        """Run `job` with nobody waiting for it, which costs a tenth of `submit`; it must not raise."""
        self._crew.put((None, job))

    def abandon(self, task: object) -> None:
        """Count the thread that runs `task` (a future, or a job that was posted) as lost, if one does."""
        self._crew.abandon(task)

    @property
    def lost(self) -> int:
        return self._crew.lost

    def __del__(self) -> None:
        self._crew.jobs.put(None)  # without its lock, which the thread that collects this garbage may hold


class _Seat:
    """What one thread of a crew is at."""

    __slots__ = ("abandoned", "lost", "task")

    def __init__(self) -> None:
        self.task: object = None
        self.abandoned = False  # nobody waits for its task any more
        self.lost = False  # and it no longer counts


class _Crew:
    """What a pool and its threads share; holds no reference to the pool, which takes its threads along when it goes."""

    def __init__(self, size: int, name: str, nap: float, make_thread: Callable[..., threading.Thread]) -> None:
        self._size, self._name, self._nap, self._make_thread = size, name, nap, make_thread
        self._later: deque[_Task] = deque()  # for whoever wakes from a nap next
        self.jobs: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._lock = threading.RLock()  # what is collected while it is held may end a call, and its monitors come here
        self._behind = Courtesy(self._lock)  # how the crew's own threads take it
        self._idle = 0  # threads that wait for a job, nap, or are about to
        self._napping = 0
        self._count = 0  # threads that are not lost
        self._names = 0
        self._seats: set[_Seat] = set()
        self.lost = 0

    def put(self, task: _Task) -> None:
        with self._lock:
            self._grow(1)
            if self._napping:
                self._later.append(task)
            else:
                self.jobs.put(task)

    def next(self) -> _Task | None:
        """Wait for a job; none if the pool is gone."""
        if not self._nap or not self.jobs.empty():
            return self.jobs.get()
        with self._behind:
            self._napping += 1
        sleep(self._nap)
        with self._behind:
            self._napping -= 1
            task = self._later.popleft() if self._later else None
            if not self._napping:
                while self._later:
                    self.jobs.put(self._later.popleft())
        return task or self.jobs.get()

    def _grow(self, more: int = 0) -> None:
        # Jobs that are taken stay counted as their thread's until `taken`, so no job ever waits for a thread that is
        # not there.
        while self.jobs.qsize() + len(self._later) + more > self._idle and self._count < self._size:
            seat = _Seat()
            name = f"{self._name}-{self._names + 1}"
            try:
                self._make_thread(target=_work, args=(self, seat), name=name, daemon=True).start()
            except RuntimeError:
                if self._count:
                    return  # those that are there will do it
                raise
            self._names += 1
            self._count += 1
            self._idle += 1
            self._seats.add(seat)

    def taken(self, seat: _Seat, task: object) -> None:
        with self._behind:
            seat.task = task
            self._idle -= 1
            with contextlib.suppress(RuntimeError):
                self._grow()

    def finished(self, seat: _Seat) -> bool:
        """Whether this thread is to go on."""
        with self._behind:
            seat.task = None
            seat.abandoned = False
            if seat.lost:
                self.lost -= 1
                seat.lost = False
                if self._count >= self._size:
                    self._seats.discard(seat)
                    self._write_off()
                    return False
                self._count += 1
            self._idle += 1
            self._write_off()
            return True

    def abandon(self, task: object) -> None:
        with self._lock:
            for seat in self._seats:
                if seat.task is task:
                    seat.abandoned = True
            self._write_off()

    def _write_off(self) -> None:
        for seat in self._seats:
            if seat.abandoned and not seat.lost and self.lost < _MOST_LOST:
                seat.lost = True
                self.lost += 1
                self._count -= 1
        with contextlib.suppress(RuntimeError):
            self._grow()


def _work(crew: _Crew, seat: _Seat) -> None:
    while (item := crew.next()) is not None:
        future, job = item
        crew.taken(seat, job if future is None else future)
        if future is None:
            job()
        elif future.set_running_or_notify_cancel():
            try:
                future.set_result(job())
            except StopIteration as error:  # which a future cannot hand to a coroutine; turned into what PEP 479 says
                future.set_exception(RuntimeError(f"the scorer raised {type(error).__name__}"))
            except BaseException as error:  # noqa: BLE001 - handed to whoever waits for the future
                future.set_exception(error)
        del future, job, item  # or the last call's texts live on until the next one
        if not crew.finished(seat):
            return
    crew.jobs.put(None)  # the pool is gone: for the next thread
