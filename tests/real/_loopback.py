"""Small HTTP servers that live in a thread of the test process."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, TypeVar

from ._process import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator

ServerT = TypeVar("ServerT", bound="LoopbackServer")


class LoopbackServer(ThreadingHTTPServer):
    """Listens on a free loopback port; keeps what went wrong in its handlers instead of printing it."""

    daemon_threads = False  # closing joins the handlers: no thread and no socket outlives the server
    request_queue_size = 128

    def __init__(self, handler: type[LoopbackHandler]) -> None:
        super().__init__((HOST, 0), handler)
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.failures: list[BaseException] = []

    @property
    def url(self) -> str:
        """Address without a path, e.g. `http://127.0.0.1:41234`."""
        return f"http://{HOST}:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Remember a bug of ours; a peer that hangs up is everyday life."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, ConnectionError):
            self.failures.append(error)


class LoopbackHandler(BaseHTTPRequestHandler):
    """One request per connection, so that a handler thread never waits for a next one; logs nothing."""

    protocol_version = "HTTP/1.1"
    timeout = 30

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""

    def answer(self, status: int, content_type: str = "text/plain", body: bytes = b"") -> None:
        """Send a whole response."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def whole_body(self) -> bytes:
        """The request's body; every client of these tests sends its length."""
        if "Transfer-Encoding" in self.headers:
            raise NotImplementedError("a chunked request body")
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))


@contextmanager
def served(server: ServerT) -> Iterator[ServerT]:
    """Serve for the length of the block; RuntimeError at its end if a handler had failed."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()
    if server.failures:
        raise RuntimeError(f"{type(server).__name__}: {server.failures!r}") from server.failures[0]
