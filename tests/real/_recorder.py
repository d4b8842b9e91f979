"""A proxy that keeps every request and hands the answer on byte by byte."""

from __future__ import annotations

import json
import select
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._loopback import LoopbackHandler, LoopbackServer, served
from ._process import HOST

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping

_HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade", "expect"}


@dataclass(frozen=True)
class Recorded:
    """A request as it reached the proxy; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Recorder(LoopbackServer):
    """Forwards each request to a loopback port and remembers it, in order of arrival."""

    def __init__(self, upstream_port: int) -> None:
        super().__init__(_Forward)
        self.upstream_port = upstream_port
        self._requests: list[Recorded] = []

    @property
    def requests(self) -> list[Recorded]:
        """A copy of what was recorded since the start or the last `clear()`."""
        with self.lock:
            return list(self._requests)

    def clear(self) -> None:
        """Forget what was recorded."""
        with self.lock:
            self._requests.clear()

    def record(self, request: Recorded) -> None:
        """Remember a request."""
        with self.lock:
            self._requests.append(request)


@contextmanager
def recording(upstream_port: int) -> Iterator[Recorder]:
    """A recorder in front of a loopback port for the length of the block."""
    with served(Recorder(upstream_port)) as recorder:
        yield recorder


class _Forward(LoopbackHandler):
    server: Recorder

    def do_GET(self) -> None:
        self._forward()

    def do_POST(self) -> None:
        self._forward()

    def _forward(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Recorded(self.command, self.path, headers, self.whole_body())
        self.server.record(request)
        self.close_connection = True
        try:
            upstream = socket.create_connection((HOST, self.server.upstream_port), timeout=self.timeout)
        except OSError as error:
            self.answer(502, body=f"the recorder cannot reach the server behind it: {error}".encode())
            return
        with upstream:
            upstream.sendall(_on_the_wire(request))
            _pump(upstream, self.connection, self.server.stopping)


def _on_the_wire(request: Recorded) -> bytes:
    kept = [f"{name}: {value}" for name, value in request.headers.items() if name not in _HOP_BY_HOP]
    lines = [f"{request.method} {request.path} HTTP/1.1", *kept, "connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1") + request.body


def _pump(source: socket.socket, sink: socket.socket, stopping: threading.Event) -> None:
    # Raw bytes until the source ends: status, headers and chunks reach the client exactly as they were sent, and a
    # server that breaks off in the middle is seen by the client as just that.
    while not stopping.is_set():
        readable, _, _ = select.select([source, sink], [], [], 0.1)
        if source in readable:
            piece = source.recv(65_536)
            if not piece:
                return
            sink.sendall(piece)
        elif sink in readable:
            # The client has nothing more to say, so this is its hanging up; closing the source tells the server.
            return
