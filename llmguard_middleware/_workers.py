"""Threads for scorers: a pool and an event loop that start when first needed, never keep a process alive, survive fork.

`concurrent.futures.ThreadPoolExecutor` joins its threads at interpreter exit, so a single scorer that hangs would keep
the process from ever ending; these threads are daemons.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextvars import Context
from typing import Any

__all__ = ["Workers"]

_CLEAN_UP = 1.0  # seconds


_MOST_LOST = 32  # threads of one pool that may be given up on at a time


class _Pool:
    """At most `size` daemon threads that run what is submitted, in order; they end with the pool.

    A thread whose task was abandoned is lost: it no longer counts, another may take its place, and once its task
    returns after all it ends, or goes back to work if its place is still free.
    """

    def __init__(self, size: int, name: str, make_thread: Callable[..., threading.Thread] = threading.Thread) -> None:
        self._crew = _Crew(size, name, make_thread)

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

    def __init__(self, size: int, name: str, make_thread: Callable[..., threading.Thread]) -> None:
        self._size, self._name, self._make_thread = size, name, make_thread
        self.jobs: queue.SimpleQueue[tuple[Future[Any] | None, Callable[[], Any]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0  # threads that wait for a job, or are about to
        self._count = 0  # threads that are not lost
        self._names = 0
        self._seats: set[_Seat] = set()
        self.lost = 0

    def put(self, task: tuple[Future[Any] | None, Callable[[], Any]]) -> None:
        with self._lock:
            self._grow(1)
            self.jobs.put(task)

    def _grow(self, more: int = 0) -> None:
        # Jobs that are taken stay counted as their thread's until `taken`, so no job ever waits for a thread that is
        # not there.
        while self.jobs.qsize() + more > self._idle and self._count < self._size:
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
        with self._lock:
            seat.task = task
            self._idle -= 1
            with contextlib.suppress(RuntimeError):
                self._grow()

    def finished(self, seat: _Seat) -> bool:
        """Whether this thread is to go on."""
        with self._lock:
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
    while (item := crew.jobs.get()) is not None:
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


class Workers:
    """A thread pool for sync scorers and an event loop in a thread for async ones."""

    def __init__(self, size: int, name: str) -> None:
        self._size, self._name = size, name
        self._reset()
        _ALL.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._pool = _Pool(self._size, self._name)
        self._loop: asyncio.AbstractEventLoop | None = None

    def submit(self, context: Context, fn: Callable[[], Any]) -> Future[Any]:
        """Run `fn` in the pool, in `context`."""
        return self._pool.submit(context.run, fn)

    def post(self, job: Callable[[], None]) -> None:
        """Run `job` in the pool with nobody waiting for it; it must not raise."""
        self._pool.post(job)

    def abandon(self, task: object) -> None:
        """Nobody waits any more for `task`: a future of this pool, or a job that was posted.

        What has not started yet is cancelled. The thread of what runs is lost to it, and another takes its place
        as soon as there is work; at most 32 are lost at a time, beyond which jobs wait for those that are left.
        """
        if not (isinstance(task, Future) and task.cancel()):
            self._pool.abandon(task)

    @property
    def lost(self) -> int:
        """How many threads of the pool are with something that was abandoned."""
        return self._pool.lost

    def submit_async(self, context: Context, make: Callable[[], Coroutine[Any, Any, Any]]) -> Future[Any]:
        """Run the coroutine that `make` gives on the loop, in `context`; cancelling the future cancels it."""
        future: Future[Any] = Future()
        loop = self._running_loop()

        def start() -> None:
            if not future.cancelled():
                task = loop.create_task(_settle(make(), future))
                future.add_done_callback(lambda done: _cancel(task, loop) if done.cancelled() else None)

        loop.call_soon_threadsafe(start, context=context)
        return future

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_serve, args=(self._loop,), name=f"{self._name}-loop", daemon=True).start()
            return self._loop

    def __del__(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
        # Its guard is gone: scorers still under way are told so, and get a moment to clean up after themselves.
        if left := asyncio.all_tasks(loop):
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.wait(left, timeout=_CLEAN_UP))
    finally:
        loop.close()


async def _settle(coroutine: Coroutine[Any, Any, Any], future: Future[Any]) -> None:
    # Here and not in a callback of the task: a SystemExit that leaves a task ends the loop, and with it every scorer.
    if future.cancelled():  # while the task waited for its turn
        coroutine.close()
        return
    try:
        result = await coroutine
    except BaseException as error:  # noqa: BLE001 - handed to whoever waits for the future
        if future.set_running_or_notify_cancel():
            future.set_exception(error)
    else:
        if future.set_running_or_notify_cancel():
            future.set_result(result)
    finally:
        del future  # its exception holds this frame, and the two would keep each other and the texts alive


def _cancel(task: asyncio.Task[Any], loop: asyncio.AbstractEventLoop) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(task.cancel)


_ALL: weakref.WeakSet[Workers] = weakref.WeakSet()


def _after_fork() -> None:
    # A child has none of its parent's threads: what was pending stays with the parent, the child starts fresh.
    for workers in list(_ALL):
        workers._reset()  # noqa: SLF001 - same module, one noun


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
