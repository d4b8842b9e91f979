"""A scorer's `setup()`: run once per scorer object, before its first score, however many threads and loops ask for it.

Who comes first starts an attempt and everybody waits for that one. Where it can, an attempt belongs to nobody's score:
one that is out of time or cancelled leaves it running, so that a model which loads slowly is there for a later score.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import ContextVar, copy_context
from typing import Any

from ._forks import renewed_in_children
from ._parameters import is_async
from .errors import ConfigurationError, LLMGuardError, ScorerError

__all__ = ["Setup"]


class _Attempt(Future["BaseException | None"]):
    """One run of a `setup()`; its result is how it failed, None if it did not."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        super().__init__()
        self.loop = loop  # whose task runs it
        self.task: asyncio.Future[None] | None = None  # a loop holds its tasks weakly
        self.set_running_or_notify_cancel()  # so that who stops waiting does not cancel it for the others


class _Once:
    """Whether one scorer object is set up; all that bind this object share it."""

    def __init__(self) -> None:
        self.done = False
        self.reset()

    def reset(self) -> None:
        self._lock = threading.Lock()
        self._attempt: _Attempt | None = None

    def join(self, loop: asyncio.AbstractEventLoop | None) -> tuple[_Attempt | None, bool]:
        """The attempt under way and whether the caller has to make it, on `loop`; None if all is done."""
        with self._lock:
            if self.done:
                return None, False
            attempt = self._attempt
            if attempt is not None and not (attempt.loop is not None and attempt.loop.is_closed()):
                return attempt, False
            self._attempt = _Attempt(loop)
            if attempt is not None:  # its loop was closed under it, so that it will never end
                attempt.set_result(asyncio.CancelledError())
            return self._attempt, True

    def settle(self, attempt: _Attempt, error: BaseException | None) -> None:
        with self._lock:
            if not attempt.done():
                self.done = self.done or error is None
                self._attempt = None
                attempt.set_result(error)


class Setup:
    """The `setup()` of a scorer; `on_loop` says that the scorer is async, so that an async set-up shares its loop.

    Raises:
        ConfigurationError: if it cannot be called without arguments.
    """

    def __init__(self, scorer: object, setup: Callable[[], Any], name: str, *, on_loop: bool) -> None:
        try:
            inspect.signature(setup).bind()
        except (TypeError, ValueError):
            msg = f'setup of scorer "{name}" asks for arguments; write "def setup(self)" and give them to the scorer'
            raise ConfigurationError(msg) from None
        self._setup, self._name = setup, name
        self._is_async = is_async(setup)
        self._on_loop = on_loop and self._is_async
        self.once = _REGISTRY.once(scorer)

    @property
    def done(self) -> bool:
        """Whether the scorer is set up."""
        return self.once.done

    def run(self) -> None:
        """Set up on this thread (what is async, in a thread of its own) or wait for the attempt that is under way.

        Returns without waiting if this thread's event loop is what runs that attempt.

        Raises:
            ScorerError: if it fails; the next call tries again.
        """
        attempt, first = self._join(None)
        if attempt is None:
            return
        if first and self._is_async:
            self._in_thread(attempt)  # asyncio.run on this thread would take its event loop away
        elif first:
            self._settle(attempt)
        elif attempt.loop is not None and attempt.loop is _running_loop():
            return
        self._check(attempt.result(), first=first)

    async def arun(self) -> None:
        """As `run`, but the event loop goes on meanwhile.

        Raises:
            ScorerError: if it fails; the next call tries again.
        """
        attempt, first = self._join(asyncio.get_running_loop() if self._on_loop else None)
        if attempt is None:
            return
        if first and self._on_loop:
            attempt.task = task = asyncio.ensure_future(self._settle_here(attempt))
            # For a task that is cancelled before it began.
            task.add_done_callback(lambda _: self.once.settle(attempt, asyncio.CancelledError()))
        elif first:
            self._in_thread(attempt)
        self._check(await asyncio.wrap_future(attempt), first=first)

    def _join(self, loop: asyncio.AbstractEventLoop | None) -> tuple[_Attempt | None, bool]:
        if any(setup.once is self.once for setup in _inside.get()) and not self.done:
            msg = f'scorer "{self._name}" is asked to score by its own set-up'
            raise ScorerError(msg)
        return self.once.join(loop)

    def _in_thread(self, attempt: _Attempt) -> None:
        # A daemon: a thread of asyncio.to_thread would keep a process with a set-up that hangs from ever ending.
        run = copy_context().run
        thread = threading.Thread(target=run, args=(self._settle, attempt), name="llmguard-setup", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no thread to be had
            self.once.settle(attempt, error)

    def _settle(self, attempt: _Attempt) -> None:
        token = _inside.set((*_inside.get(), self))
        try:
            self._call()
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits for the attempt
            self.once.settle(attempt, error)
        else:
            self.once.settle(attempt, None)
        finally:
            _inside.reset(token)

    def _call(self) -> None:
        if self._is_async:
            asyncio.run(self._setup())
        elif inspect.isawaitable(raw := self._setup()):
            if inspect.iscoroutine(raw):
                raw.close()  # it will never be awaited
            msg = 'it returned an awaitable; declare it with "async def"'
            raise ScorerError(msg)

    async def _settle_here(self, attempt: _Attempt) -> None:
        _inside.set((*_inside.get(), self))
        try:
            await self._setup()
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits; a SystemExit would end the loop
            self.once.settle(attempt, error)
        else:
            self.once.settle(attempt, None)

    def _check(self, error: BaseException | None, *, first: bool) -> None:
        if error is None:
            return
        if first and not isinstance(error, (Exception, asyncio.CancelledError)):
            raise error
        why = str(error) if isinstance(error, LLMGuardError) else type(error).__name__
        msg = f'scorer "{self._name}" could not be set up: {why}'
        raise ScorerError(msg) from error


# The set-ups that this code runs inside of: one that asks for a score of its own scorer would wait for itself.
_inside: ContextVar[tuple[Setup, ...]] = ContextVar("llmguard_inside_setup", default=())


def _running_loop() -> asyncio.AbstractEventLoop | None:
    with suppress(RuntimeError):
        return asyncio.get_running_loop()
    return None


class _Registry:
    """Finds the `_Once` of a scorer object by identity: a scorer may be neither hashable nor writable.

    A scorer that cannot be referred to weakly either is known for as long as something binds it.
    """

    def __init__(self) -> None:
        self._known: weakref.WeakValueDictionary[int, _Once] = weakref.WeakValueDictionary()
        self._lock = threading.RLock()  # a scorer that is collected meanwhile may bind another
        renewed_in_children(self)

    def once(self, scorer: object) -> _Once:
        with self._lock:
            once = self._known.get(id(scorer))
            if once is None:
                once = self._known[id(scorer)] = _Once()
                with suppress(TypeError):
                    weakref.finalize(scorer, _let_go, once).atexit = False
            return once

    def begin_anew(self) -> None:
        """After a fork: who held a lock or made an attempt stayed with the parent; what was done is done here too."""
        self._lock = threading.RLock()
        for once in list(self._known.values()):
            once.reset()


def _let_go(_: _Once) -> None:
    """Until the scorer dies, its finalizer keeps what it is called with."""


_REGISTRY = _Registry()
