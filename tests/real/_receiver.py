"""An OTLP/HTTP backend inside the test process that keeps what it is sent."""

from __future__ import annotations

import gzip
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

from . import _otlp
from ._loopback import LoopbackHandler, LoopbackServer, served
from ._process import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._otlp import ReceivedLog, ReceivedPoint, ReceivedSpan

_PROTOBUF = "application/x-protobuf"
_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
}


class Receiver(LoopbackServer):
    """Takes protobuf on /v1/traces, /v1/logs and /v1/metrics; everything is kept in order of arrival."""

    def __init__(self) -> None:
        super().__init__(_Receive)
        self._spans: list[ReceivedSpan] = []
        self._logs: list[ReceivedLog] = []
        self._points: list[ReceivedPoint] = []
        self._requests: list[tuple[str, bytes]] = []

    @property
    def spans(self) -> list[ReceivedSpan]:
        """The spans so far."""
        with self.lock:
            return list(self._spans)

    @property
    def logs(self) -> list[ReceivedLog]:
        """The log records so far."""
        with self.lock:
            return list(self._logs)

    @property
    def points(self) -> list[ReceivedPoint]:
        """The metric points so far."""
        with self.lock:
            return list(self._points)

    @property
    def payloads(self) -> list[bytes]:
        """Each request's body, decompressed: where a text must not occur anywhere, look here."""
        with self.lock:
            return [payload for _, payload in self._requests]

    @property
    def requests(self) -> list[tuple[str, bytes]]:
        """Each request's signal (traces, logs, metrics) and body, decompressed."""
        with self.lock:
            return list(self._requests)

    def wait_for(self, predicate: Callable[[Receiver], object], timeout: float = 5.0) -> None:
        """Return once `predicate(self)` is true; AssertionError with what did arrive after `timeout` seconds."""
        wait_until(lambda: predicate(self), limit=timeout, otherwise=self._summary)

    def take(self, path: str, payload: bytes) -> bool:
        """Decode and keep one request; False if the path is none of OTLP's."""
        with self.lock:
            match path:
                case "/v1/traces":
                    self._spans += _otlp.spans(payload)
                case "/v1/logs":
                    self._logs += _otlp.logs(payload)
                case "/v1/metrics":
                    self._points += _otlp.points(payload)
                case _:
                    return False
            self._requests.append((path.removeprefix("/v1/"), payload))
            return True

    def _summary(self) -> str:
        kinds = {
            "spans": [span.name for span in self.spans],
            "logs": [log.event_name or log.body for log in self.logs],
            "points": [point.metric for point in self.points],
        }
        return f"not received in time; so far: {kinds}"


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver for the length of the block; give exporters its `url` plus the path of the signal."""
    with served(Receiver()) as receiver:
        yield receiver


class _Receive(LoopbackHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.whole_body()
        decode = _DECODERS.get(self.headers.get("Content-Encoding", "identity"))
        if decode is None or self.headers.get("Content-Type") != _PROTOBUF:
            self.answer(415)
            return
        self.answer(200 if self.server.take(self.path, decode(body)) else 404, _PROTOBUF)
