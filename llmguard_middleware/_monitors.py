"""Monitors in the background: the caller hands a call over and goes on."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import random
import threading
import weakref
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context as Variables
from functools import partial
from time import monotonic, time_ns

from opentelemetry.context import Context

from ._call import Call
from ._drive import inside_scorer
from ._edits import texts_in
from ._rules import Monitor
from ._score import as_score
from ._workers import Workers
from .errors import ScorerError, ScorerTimeoutError
from .telemetry._emitter import Emitter

__all__ = ["Monitors"]

_log = logging.getLogger("llmguard.monitors")
_AT_EXIT = 2.0  # seconds that pending scores get when the interpreter ends


class Monitors:
    """Runs the monitors of one guard; keeps at most `limit` scores waiting and counts what it drops."""

    def __init__(
        self, monitors: Sequence[Monitor], emitter: Emitter, prepare: Callable[[Call], Call], limit: int = 1000
    ) -> None:
        self._monitors = tuple(monitors)
        self._emitter = emitter
        self._prepare = prepare
        self._limit = limit
        self._workers = Workers(2, "llmguard-monitor")
        self._starter = Workers(1, "llmguard-monitor-start")
        self._open = True
        self._reset()
        _ALL.add(self)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._pending = 0
        self._at_exit = False
        self.dropped = 0

    def swap(self, monitors: Sequence[Monitor]) -> None:
        """From now on, these."""
        self._monitors = tuple(monitors)

    def observe(self, call: Call, context: Context | None) -> None:
        """Queue an answered call for every monitor that samples it. Never waits, never raises."""
        if not self._monitors or not self._open or inside_scorer.get():
            return
        trace_id = call.trace_id or random.getrandbits(64)
        for monitor in self._monitors:
            if monitor.takes(trace_id):
                self._submit(monitor, call, context)

    def _submit(self, monitor: Monitor, call: Call, context: Context | None) -> None:
        with self._changed:
            if self._pending >= self._limit:
                self.dropped += 1
                return
            self._pending += 1
        if not self._at_exit:
            # Registered at the first score, so that it runs before the exit hooks of an SDK that was set up earlier.
            self._at_exit = True
            atexit.register(_flush_at_exit, weakref.ref(self))
        try:
            self._hand_over(monitor, call, context)
        except Exception as error:  # noqa: BLE001 - no thread to be had, say: a monitor never disturbs the call
            self._settled(dropped=1)
            _log.warning('monitor "%s" could not be queued: %s', monitor.name, type(error).__name__)

    def _hand_over(self, monitor: Monitor, call: Call, context: Context | None) -> None:
        run, workers = (self._start, self._starter) if monitor.bound.is_async else (self._run, self._workers)
        workers.post(partial(run, monitor, call, context))

    def _start(self, monitor: Monitor, call: Call, context: Context | None) -> None:
        # On a thread of its own: waking an event loop costs the caller more than waking a thread, and a thread of the
        # pool may be held up by a sync scorer.
        variables = Variables()
        variables.run(inside_scorer.set, True)
        self._workers.submit_async(variables, partial(self._arun, monitor, call, context))

    def _run(self, monitor: Monitor, call: Call, context: Context | None) -> None:
        started = time_ns()
        raw: object = None
        error: BaseException | None = None
        inside_scorer.set(True)  # for good: these threads run nothing else
        try:
            raw = monitor.bound(self._available(call))
        except BaseException as raised:  # noqa: BLE001 - a scorer is foreign code, and this thread has nobody to tell
            error = raised
        self._done(monitor, call, context, started, raw, error)
        error = None  # it holds this frame, and the two would keep the call's texts alive

    async def _arun(self, monitor: Monitor, call: Call, context: Context | None) -> None:
        started = time_ns()
        raw: object = None
        error: BaseException | None = None
        try:
            # Not wait_for: it waits on for a scorer that refuses to be cancelled.
            scoring = asyncio.ensure_future(_outcome(monitor.bound(self._available(call))))
            if (await asyncio.wait((scoring,), timeout=monitor.timeout))[0]:
                raw, error = scoring.result()
            else:
                scoring.cancel()
                error = ScorerTimeoutError(f'scorer "{monitor.bound.name}" took longer than {monitor.timeout:g} s')
        except BaseException as raised:  # noqa: BLE001 - a scorer is foreign code, and this loop has nobody to tell
            error = raised
        self._done(monitor, call, context, started, raw, error)
        error = None  # it holds this frame, and the two would keep the call's texts alive

    def _available(self, call: Call) -> dict[str, object]:
        names = self._prepare(call).available()
        return {"text": "\n".join(texts_in(names.get("output"))), **names}

    def _done(
        self,
        monitor: Monitor,
        call: Call,
        context: Context | None,
        started: int,
        raw: object,
        error: BaseException | None,
    ) -> None:
        try:
            score = None
            if error is None:
                try:
                    score = as_score(raw, monitor.bound.name)
                except ScorerError as raised:
                    error = raised
            if error is not None:
                # Only our own sentences: a foreign exception's text may quote the call.
                why = str(error) if isinstance(error, ScorerError) else type(error).__name__
                _log.warning('monitor "%s" could not score: %s', monitor.name, why)
            self._emitter.monitored(call, context, monitor.name, score, error, started)
        finally:
            self._settled()

    def _settled(self, dropped: int = 0) -> None:
        with self._changed:
            self._pending -= 1
            self.dropped += dropped
            self._changed.notify_all()

    def flush(self, timeout: float) -> int:
        """Wait until all is scored, at most `timeout` seconds; return how many scores are still pending."""
        deadline = monotonic() + timeout
        with self._changed:
            while self._pending and (left := deadline - monotonic()) > 0:
                self._changed.wait(min(left, threading.TIMEOUT_MAX))
            return self._pending

    def shutdown(self, timeout: float) -> int:
        """Take no more calls, then flush."""
        self._open = False
        return self.flush(timeout)


async def _outcome(scoring: Awaitable[object]) -> tuple[object, BaseException | None]:
    # Raises nothing: a SystemExit that leaves a task ends the loop, and with it every async monitor.
    try:
        return await scoring, None
    except BaseException as error:  # noqa: BLE001 - handed to whoever asked for the score
        return None, error


def _flush_at_exit(monitors: weakref.ref[Monitors]) -> None:
    if (alive := monitors()) is not None:
        alive.flush(_AT_EXIT)


_ALL: weakref.WeakSet[Monitors] = weakref.WeakSet()


def _after_fork() -> None:
    for monitors in list(_ALL):
        monitors._reset()  # noqa: SLF001 - pending scores stay with the parent; same module, one noun


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
