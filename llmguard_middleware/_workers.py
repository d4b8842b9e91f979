"""Where scorers run that do not run in their caller: a thread pool and an event loop, which survive a fork."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextvars import Context
from typing import Any

from ._forks import renewed_in_children
from ._pool import Pool

__all__ = ["Workers"]

_CLEAN_UP = 1.0  # seconds


class Workers:
    """A thread pool for sync scorers and an event loop in a thread for async ones; for `nap` see `Pool`."""

    def __init__(self, size: int, name: str, nap: float = 0.0) -> None:
        self._size, self._name, self._nap = size, name, nap
        self.begin_anew()
        renewed_in_children(self)

    def begin_anew(self) -> None:
        """After a fork: what was pending stays with the parent, and so do the threads."""
        self._lock = threading.Lock()
        self._pool = Pool(self._size, self._name, self._nap)
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
