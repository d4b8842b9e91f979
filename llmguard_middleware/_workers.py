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

_CLEAN_UP = 1.0  # seconds


class _Pool(Executor):
    """At most `size` daemon threads that run what is submitted, in order; they end with the pool."""

    def __init__(self, size: int, name: str) -> None:
        self._size, self._name = size, name
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[tuple[Future[Any] | None, Callable[[], Any]] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._jobs.put((future, lambda: fn(*args, **kwargs)))
        self._wake()
        return future

    def post(self, job: Callable[[], None]) -> None:
        """Run `job` with nobody waiting for it, which costs a tenth of `submit`; it must not raise."""
        self._jobs.put((None, job))
        self._wake()

    def _wake(self) -> None:
        if not self._idle.acquire(blocking=False):
            with self._lock:
                if self._threads < self._size:
                    name = f"{self._name}-{self._threads + 1}"
                    threading.Thread(target=_work, args=(self._jobs, self._idle), name=name, daemon=True).start()
                    self._threads += 1

    def __del__(self) -> None:
        for _ in range(self._threads):
            self._jobs.put(None)


def _work(jobs: queue.SimpleQueue[Any], idle: threading.Semaphore) -> None:
    # Holds no reference to the pool, so that a guard which nobody uses any more takes its threads with it.
    while (task := jobs.get()) is not None:
        future, job = task
        if future is None:
            job()
        elif future.set_running_or_notify_cancel():
            try:
                future.set_result(job())
            except StopIteration as error:  # which a future cannot hand to a coroutine; turned into what PEP 479 says
                future.set_exception(RuntimeError(f"the scorer raised {type(error).__name__}"))
            except BaseException as error:  # noqa: BLE001 - handed to whoever waits for the future
                future.set_exception(error)
        del future, job, task  # or the last call's texts live on until the next one
        idle.release()


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
