"""Child processes that are ready when the block starts and gone when it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

HOST = "127.0.0.1"
"""The only interface anything in these tests listens on."""

_GRACE = 10.0
_POLL = 0.02
_TAIL_LINES = 40


class ChildError(RuntimeError):
    """A child process died or was late; the message ends with the tail of its log."""


@dataclass(frozen=True)
class Child:
    """A running process, the leader of its own process group."""

    pid: int
    log: Path

    def output(self) -> str:
        """What the process has written so far."""
        return self.log.read_text(errors="replace")


def free_ports(count: int) -> tuple[int, ...]:
    """Ports nobody listens on now; taken together, so that they differ."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return tuple(each.getsockname()[1] for each in sockets)


def listens(port: int) -> bool:
    """Whether something accepts connections on the port."""
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False


def group_exists(pid: int) -> bool:
    """Whether any process of the group led by `pid` is left, be it as a zombie nobody has reaped yet."""
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: Callable[[], object], *, limit: float, otherwise: Callable[[], str]) -> None:
    """Return as soon as the condition is true; AssertionError with the text of `otherwise` after `limit` seconds."""
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(otherwise())
        time.sleep(_POLL)


@contextmanager
def serving(
    command: Sequence[str], *, log: Path, ready: Callable[[], bool], limit: float, env: Mapping[str, str] | None = None
) -> Iterator[Child]:
    """Run a server for the length of the block, which starts once `ready()`; ChildError if not within `limit` s."""
    with _started(command, stdout=log, stderr=log, env=env) as process:
        deadline = time.monotonic() + limit
        while True:
            # Dead before ready: whoever answers on that port is not our child.
            if process.poll() is not None:
                raise _error(command, f"ended with code {process.returncode} before it was ready", log)
            if ready():
                break
            if time.monotonic() > deadline:
                raise _error(command, f"was not ready within {limit:g} s", log)
            time.sleep(_POLL)
        yield Child(pid=process.pid, log=log)


def run(command: Sequence[str], *, log: Path, limit: float, env: Mapping[str, str] | None = None) -> str:
    """Run a command to its end and return its standard output; ChildError if it fails or takes over `limit` seconds."""
    answer = log.with_suffix(".out")
    with _started(command, stdout=answer, stderr=log, env=env) as process:
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            raise _error(command, f"had not ended after {limit:g} s", log) from None
    if code != 0:
        raise _error(command, f"ended with code {code}", log)
    return answer.read_text()


@contextmanager
def _started(
    command: Sequence[str], *, stdout: Path, stderr: Path, env: Mapping[str, str] | None
) -> Iterator[subprocess.Popen[bytes]]:
    with stdout.open("ab") as out, stderr.open("ab") as err:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env, start_new_session=True
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE)
    # The leader may be a launcher such as uv: what it left behind is in its group.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _error(command: Sequence[str], what: str, log: Path) -> ChildError:
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
    return ChildError(f"{' '.join(command)}\n{what}. The end of its log ({log}):\n{tail or '(empty)'}")
