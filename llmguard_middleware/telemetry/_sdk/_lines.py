"""Files of JSON lines: one writer each, whole lines only, rotated by size, old ones deleted."""

from __future__ import annotations

import errno
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

from ..._forks import renewed_in_children
from ...errors import ConfigurationError

__all__ = ["LinesFile"]

_OURS = re.compile(r"\d{8}T\d{6}\.\d{6}-\d+\.(spans|logs|metrics|violations)\.jsonl")


class LinesFile:
    """The lines of one signal of this process, in `folder`, readable by their owner only.

    A line is one write to the end of the file: a killed process leaves at most its last line torn. A forked child
    writes a file of its own, from its first line on.

    Args:
        folder: made with mode 0700 if it is not there.
        kind: `spans`, `logs`, `metrics` or `violations`.
        max_bytes: a file that would outgrow this is closed and the next one begun.
        keep: seconds after its last line that a file of this kind stays in the folder; None for ever.
        bound: bytes that closed files of this kind may take up in the folder; the oldest go first. None: any number.
        lost: told how many lines went with a file because of `bound`.

    Raises:
        ConfigurationError: if the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        kind: str,
        *,
        max_bytes: int,
        keep: float | None = None,
        bound: int | None = None,
        lost: Callable[[int], None] | None = None,
    ) -> None:
        self._folder, self._kind, self._max_bytes = folder, kind, max_bytes
        self._keep, self._bound, self._lost = keep, bound, lost
        self._file: int | None = None
        self.paths: tuple[Path, ...] = ()
        """The files of this process, the current one last."""
        self.begin_anew()
        try:
            if not folder.is_dir():
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._open()
        except OSError as error:
            msg = (
                f'cannot write telemetry into "{folder}" ({error.strerror}); '
                "choose another folder or correct its permissions"
            )
            raise ConfigurationError(msg) from error
        renewed_in_children(self)

    def begin_anew(self) -> None:
        """After a fork: the child writes a file of its own."""
        self._lock = threading.RLock()  # what is collected, or a signal, may lead back here
        if self._file is not None:
            os.close(self._file)  # the parent's
        self._file, self._size, self._torn, self.paths = None, 0, False, ()

    def write(self, line: str) -> None:
        """Add a line.

        Raises:
            OSError: if it cannot be written, for example because the disk is full.
        """
        data = line.encode() + b"\n"
        with self._lock:
            # A file that somebody deleted or moved away is left to them.
            if self._file is None or os.fstat(self._file).st_nlink == 0 or self._outgrown(len(data)):
                self._open()
            assert self._file is not None
            if self._torn:  # what could not be written whole must not spoil this line, too
                data = b"\n" + data
            written = os.write(self._file, data)
            self._size += written
            self._torn = written < len(data)
            if self._torn:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _outgrown(self, more: int) -> bool:
        return self._size > 0 and self._size + more > self._max_bytes

    def _open(self) -> None:
        self.close()
        self._tidy()
        while True:
            path = self._folder / f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S.%f}-{os.getpid()}.{self._kind}.jsonl"
            try:
                self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:  # rotated twice within the same microsecond
                continue
            break
        self._size, self._torn, self.paths = 0, False, (*self.paths, path)

    def close(self) -> None:
        """Close the file; a further line opens the next."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _tidy(self) -> None:
        """Delete old files of this kind: by their age, then the oldest until the rest fit."""
        files = sorted(self._stored())
        if self._keep is not None:
            too_old = time.time() - self._keep
            for _, _, path in [file for file in files if file[0] < too_old]:
                self._delete(path)
        if self._bound is not None:
            left = sum(size for _, size, _ in files)
            for _, size, path in files:
                if left + self._max_bytes <= self._bound:
                    break
                lines = _lines_of(path)
                if self._delete(path):
                    left -= size
                    if self._lost is not None:
                        self._lost(lines)

    def _stored(self) -> Iterator[tuple[float, int, Path]]:
        for path in self._folder.iterdir():
            match = _OURS.fullmatch(path.name)
            if match and match[1] == self._kind:
                with suppress(OSError):  # another process was quicker to delete it
                    told = path.lstat()
                    if stat.S_ISREG(told.st_mode):  # no link and no pipe is ours, whatever it is called
                        yield told.st_mtime, told.st_size, path

    def _delete(self, path: Path) -> bool:
        try:
            path.unlink()
        except OSError:
            return False
        self.paths = tuple(each for each in self.paths if each != path)
        return True


def _lines_of(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return sum(1 for _ in file)
    except OSError:
        return 0
