"""Uploads: content as objects at any URL that fsspec knows, written by a bounded queue in the background."""

from __future__ import annotations

import atexit
import os
import re
import threading
import weakref
from collections import deque
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from time import monotonic
from typing import Any, Literal, Protocol
from uuid import uuid4

from ..._forks import renewed_in_children
from ...errors import ConfigurationError
from .._boundary import unwritten
from ._fit import dumped
from ._plain import clean, each

__all__ = ["Counts", "Format", "Uploads", "counted_by", "flush_all", "not_counted_by", "uploads_to"]

Format = Literal["json", "jsonl"]

_IDLE = 5.0  # seconds until a thread without work ends
_EXIT = 5.0  # seconds that the interpreter waits for


class Counts(Protocol):
    """Who counts what is lost."""

    def count(self, signal: str, reason: str, number: int) -> object: ...


class Uploads:
    """One place. A call never waits for it: what does not fit into the queue is dropped, and counted.

    Args:
        base: a URL that fsspec knows (`file:///...`, `s3://bucket/prefix`, `memory://...`), or the path of a folder.
        format_: `json`: each object one JSON value; `jsonl`: a line for each item of a list.
        size: how many calls may wait.

    Attributes:
        dropped: calls whose content was not written, by reason (`queue_full`, `export_failed`, ...).
    """

    def __init__(self, base: str, format_: Format = "json", size: int = 20) -> None:
        self.base, self._format, self._size = base.rstrip("/"), format_, size
        self._shown = re.sub(r"(?<=://)[^/@]*@", "", self.base)  # without name and password
        self._place = import_module("fsspec").core.url_to_fs  # now: at the interpreter's exit it is too late
        self.begin_anew()
        renewed_in_children(self)
        _ALL.add(self)

    def begin_anew(self) -> None:
        """After a fork: what waits stays with the parent."""
        self._changed = threading.Condition()
        self._waiting: deque[list[tuple[str, Any]]] = deque()
        self._writing = False
        self._thread: threading.Thread | None = None
        self._closed = False
        self.dropped: dict[str, int] = {}

    def put(self, content: Mapping[str, Any]) -> dict[str, str]:
        """Have content (plain values by attribute) written; returns references to it, by attributes `<name>_ref`.

        None if it is dropped.
        """
        stem = uuid4().hex
        objects = [(f"{stem}_{_kind(name)}.{self._format}", value) for name, value in content.items()]
        with self._changed:
            lost = "shutdown" if self._closed else "queue_full" if len(self._waiting) >= self._size else ""
            if not lost:
                self._waiting.append(objects)
                lost = self._started()
                self._changed.notify_all()
        if lost:
            self._drop(lost)
            return {}
        return {f"{name}_ref": f"{self._shown}/{object_}" for name, (object_, _) in zip(content, objects, strict=True)}

    def _started(self) -> str:
        """Have a thread for what waits, or take the last of it back: why."""
        if self._thread is not None:
            return ""
        thread = threading.Thread(target=self._work, name="llmguard-upload", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # there are too many, or the interpreter ends
            self._waiting.pop()
            return "no_thread"
        self._thread = thread
        return ""

    def flush(self, timeout: float = _EXIT) -> bool:
        """Wait until all is written; False if `timeout` seconds were not enough."""
        until = monotonic() + timeout
        with self._changed:
            while self._waiting or self._writing:
                if not self._changed.wait(max(0.0, until - monotonic())) and monotonic() >= until:
                    return False
        return True

    def shutdown(self, timeout: float = _EXIT) -> bool:
        """Write what waits and take nothing more; what is left after `timeout` seconds is dropped and counted."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        done = self.flush(timeout)
        with self._changed:
            left = len(self._waiting)
            self._waiting.clear()
        if left:
            self._drop("shutdown", left)
        return done

    def _drop(self, reason: str, number: int = 1) -> None:
        """Count; without the lock, since whoever is told may log, and a log handler may take its time."""
        with self._changed:
            self.dropped[reason] = self.dropped.get(reason, 0) + number
        for tell in list(_TOLD):
            tell.count("content", reason, number)

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._changed.wait(0 if self._closed else _IDLE)
                if not self._waiting:
                    self._thread = None
                    return
                objects, self._writing = self._waiting.popleft(), True
            failed = False
            try:
                for name, value in objects:
                    self._write(f"{self.base}/{name}", value)
            except Exception as error:  # noqa: BLE001 - whatever a file system raises; its text may hold a key
                failed = True
                unwritten(error)
            finally:
                if failed:
                    self._drop("export_failed")
                with self._changed:
                    self._writing = False
                    self._changed.notify_all()

    def _write(self, url: str, value: Any) -> None:
        lines = value if self._format == "jsonl" and isinstance(value, list) else [value]
        data = "\n".join(dumped(each(line, clean)) for line in lines).encode()
        filesystem, path = self._place(url)
        if "file" in (filesystem.protocol if isinstance(filesystem.protocol, tuple) else (filesystem.protocol,)):
            _write_privately(path, data)
            return
        with filesystem.open(path, "wb", content_type="application/json") as file:
            file.write(data)


def _write_privately(path: str, data: bytes) -> None:
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120 - as fsspec gives it
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)


def _kind(name: str) -> str:
    return name.removeprefix("gen_ai.").replace(".", "_")


def uploads_to(base: str, format_: Format, size: int) -> Uploads:
    """What uploads there: one queue for all guards of this process that say the same.

    Raises:
        ConfigurationError: if fsspec is not installed, or does not know such a URL.
    """
    if find_spec("fsspec") is None:
        msg = "upload= needs fsspec: pip install 'llmguard-middleware[upload]'"
        raise ConfigurationError(msg)
    try:
        import_module("fsspec").core.url_to_fs(base)
    except (ImportError, ValueError) as error:
        known = base.partition("://")[0]
        msg = (
            f'fsspec cannot write to "{known}://" ({type(error).__name__}): give a URL that it knows, such as '
            "file:///var/traces, or install what it needs for this one"
        )
        raise ConfigurationError(msg) from None
    key = (base.rstrip("/"), format_, size)
    found = _BY_PLACE.get(key)
    if found is None or found._closed:  # noqa: SLF001 - of this module
        found = _BY_PLACE[key] = Uploads(base, format_, size)
    return found


def flush_all(timeout: float) -> bool:
    """Wait until all that was put anywhere in this process is written; False if `timeout` seconds were not enough."""
    until = monotonic() + timeout
    done = True
    for uploads in list(_ALL):
        done = uploads.flush(max(0.0, until - monotonic())) and done
    return done


def counted_by(counts: Counts) -> None:
    """Tell it, as long as it is there, of each call whose content is dropped from now on: signal `content`."""
    _TOLD.add(counts)


def not_counted_by(counts: Counts) -> None:
    """Tell it no longer."""
    _TOLD.discard(counts)


_TOLD: weakref.WeakSet[Counts] = weakref.WeakSet()
_ALL: weakref.WeakSet[Uploads] = weakref.WeakSet()
_BY_PLACE: weakref.WeakValueDictionary[tuple[str, str, int], Uploads] = weakref.WeakValueDictionary()


def _at_exit() -> None:
    flush_all(_EXIT)


atexit.register(_at_exit)
