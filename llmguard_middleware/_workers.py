"""Threads for scorers: a pool and an event loop that start when first needed, never keep a process alive, survive fork.

`concurrent.futures.ThreadPoolExecutor` joins its threads at interpreter exit, so a single scorer that hangs would keep
the process from ever ending; these threads are daemons.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from contextvars import Context
from typing import Any

__all__ = ["Workers"]


class _Pool(Executor):
    """At most `size` daemon threads that run what is submitted, in order."""

    def __init__(self, size: int, name: str) -> None:
        self._size, self._name = size, name
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._jobs.put((future, lambda: fn(*args, **kwargs)))
        if not self._idle.acquire(blocking=False):
            with self._lock:
                if self._threads < self._size:
                    self._threads += 1
                    threading.Thread(target=self._work, name=f"{self._name}-{self._threads}", daemon=True).start()
        return future

    def _work(self) -> None:
        while True:
            future, job = self._jobs.get()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(job())
                except BaseException as error:  # noqa: BLE001 - handed to whoever waits for the future
                    future.set_exception(error)
            del future, job  # or the last call's texts live on until the next one
            self._idle.release()


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

    def submit_async(self, context: Context, make: Callable[[], Coroutine[Any, Any, Any]]) -> Future[Any]:
        """Run the coroutine that `make` gives on the loop, in `context`; cancelling the future cancels it."""
        future: Future[Any] = Future()
        loop = self._running_loop()

        def start() -> None:
            task = loop.create_task(make())
            task.add_done_callback(lambda done: _copy(done, future))
            future.add_done_callback(lambda done: loop.call_soon_threadsafe(task.cancel) if done.cancelled() else None)

        loop.call_soon_threadsafe(start, context=context)
        return future

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name=f"{self._name}-loop", daemon=True).start()
            return self._loop


def _copy(task: asyncio.Task[Any], future: Future[Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    if task.cancelled():
        future.set_exception(asyncio.CancelledError())
    elif error := task.exception():
        future.set_exception(error)
    else:
        future.set_result(task.result())


_ALL: weakref.WeakSet[Workers] = weakref.WeakSet()


def _after_fork() -> None:
    # A child has none of its parent's threads: what was pending stays with the parent, the child starts fresh.
    for workers in list(_ALL):
        workers._reset()  # noqa: SLF001 - same module, one noun


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
