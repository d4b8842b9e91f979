"""Hot reload: a thread that looks after the files of a guard and puts new rules in force."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from .._checks import expect_seconds
from .._guard import Guard
from ..errors import ConfigurationError
from ._loader import Compiled, Loader, Source

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Watch", "start", "watch"]

_log = logging.getLogger("llmguard.config")
G = TypeVar("G", bound=Guard)
_REFUSED = "%s is not in force, the rules before it are: %s"
_FIXED = ("name", "unenforceable", "refusal", "queue")


class Watch:
    """Keeps a guard's rules as its file has them. A context manager: it stops at the end.

    The files are read and compared by content: a file that was only touched changes nothing, and one that is still
    being written waits until two looks in a row find the same in it. Threads do not survive a
    fork, so a child keeps the rules that it began with until it calls `check_now`, or `watch` for a thread of its own.

    Attributes:
        error: what is wrong with the file as it is now; None if it is in force.
    """

    def __init__(self, guard: Guard, loader: Loader, interval: float) -> None:
        self.error: ConfigurationError | None = None
        self._guard, self._loader = weakref.ref(guard), loader
        self._seen = dict(loader.seen)
        self._stopped = threading.Event()
        self._lock, self._process = threading.Lock(), os.getpid()
        arguments = (weakref.ref(self), self._stopped, interval)
        self._thread = threading.Thread(target=_poll, args=arguments, name="llmguard-config", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def check_now(self) -> bool:
        """Read the files if they changed; whether other rules are in force now. Never raises: see `error`.

        Files that change while they are read are left for the next look.
        """
        if self._process != os.getpid():  # whoever held the lock stayed with the parent
            self._lock, self._process = threading.Lock(), os.getpid()
        with self._lock:
            guard = self._guard()
            if guard is None or self._changed() is None:
                return False
            try:
                return self._reload(guard)
            except ConfigurationError as error:
                if self.error is None or str(error) != str(self.error):
                    _log.error(_REFUSED, self._loader.path, error)
                self.error = error
            except Exception as error:  # noqa: BLE001 - the thread must live on
                self.error = ConfigurationError(f"cannot be loaded: {type(error).__name__}")
                _log.error("%s is not in force, the rules before it are: %s", self._loader.path, self.error)
            finally:
                self._seen = dict(self._loader.seen)
            return False

    def _changed(self) -> dict[Path, str | None] | None:
        """What is in the files now, as hashes; None if that is what was read last."""
        now = {path: _hash(path) for path in self._seen}
        return None if now == self._seen else now

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        if self._process == os.getpid() and self._thread is not threading.current_thread():
            self._thread.join()

    def _reload(self, guard: Guard) -> bool:
        compiled = self._loader.compile()
        if any(_hash(path) != read for path, read in self._loader.seen.items()):
            self._loader.seen = dict.fromkeys(self._loader.seen, "")  # so that the next look reads whatever is there
            return False
        before = self._loader.current
        if before is not None and before.fingerprint == compiled.fingerprint:
            self.error = None
            self._tell_of_options(before, compiled)
            return False
        guard.swap(compiled.policy, compiled.variants)
        self.error = None
        self._loader.current = compiled
        _log.info("%s is in force (digest %s)", self._loader.path, guard.digest)
        if before is not None:
            self._tell_of_options(before, compiled)
        return True

    def _tell_of_options(self, before: Compiled, after: Compiled) -> None:
        changed = [name for name in _FIXED if before.options.get(name) != after.options.get(name)]
        if changed:
            _log.warning("%s: %s will be in force at the next start", self._loader.path, ", ".join(changed))


def watch(
    guard: Guard, path: str | os.PathLike[str], interval: float = 1.0, *, environ: Mapping[str, str] | None = None
) -> Watch:
    """Look at a file, and all that it extends, every so often, and put its rules in force when they change.

    All rules change at once, and calls under way keep theirs. Those that are the same in the new file stay the objects
    that they are, with their circuit breakers, caches and queues. If the new file is wrong, the old rules stay in
    force, one error is logged (`llmguard.config`), and the next change is tried again. The guard keeps the handle as
    `guard.watching`; one that was there before is stopped.

    Args:
        guard: whose rules change. If they are not from this file, its rules are put in force now.
        path: the file.
        interval: seconds between two looks.
        environ: the environment, for overrides; that of the process if not given.

    Raises:
        ConfigurationError: if the guard's rules are not from this file, and the file is wrong.
    """
    expect_seconds(interval, "interval of watch()")
    if guard.watching is not None:
        guard.watching.stop()
    loader = guard.source
    if loader is None or loader.path is None or loader.path.resolve() != Path(path).resolve():
        loader = Loader(Path(path), os.environ if environ is None else environ)
        compiled = loader.compile()
        guard.swap(compiled.policy, compiled.variants)
        loader.current = compiled
        guard.source = loader
    guard.watching = Watch(guard, loader, interval)
    return guard.watching


def start(
    kind: type[G], source: Source, environ: Mapping[str, str] | None, reload: float | None, options: Mapping[str, Any]
) -> G:
    """What `Guard.from_config` does."""
    loader = Loader(source, os.environ if environ is None else environ)
    if reload is not None:
        expect_seconds(reload, "reload of from_config()")
        if loader.path is None:
            msg = "reload= needs a file to look at; give its path in place of a mapping"
            raise ConfigurationError(msg)
    guard = loader.guard(kind, options)
    guard.source = loader
    if reload is not None and loader.path is not None:
        watch(guard, loader.path, reload)
    return guard


def _poll(watch: weakref.ref[Watch], stopped: threading.Event, interval: float) -> None:
    before = None
    while not stopped.wait(interval):
        alive = watch()
        if alive is None:
            return
        now = alive._changed()  # noqa: SLF001 - its own thread
        if now is not None and now == before:
            alive.check_now()
        before = now
        del alive


def _hash(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
