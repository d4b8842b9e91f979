"""OTLP backends that misbehave, over HTTP and gRPC; each says what it took."""

from __future__ import annotations

import select
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from ._loopback import LoopbackHandler, LoopbackServer, served
from ._process import HOST, free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SLOW = 0.8  # seconds


class Sink:
    """A backend: its address, and how many spans and log records it took."""

    def __init__(self, url: str = "") -> None:
        self.url = url
        self.taken = {"traces": 0, "logs": 0}
        self.headers: list[tuple[str, Mapping[str, str]]] = []
        """Path and headers of each HTTP request."""
        self.lock = threading.Lock()
        self.stopping = threading.Event()

    def take(self, signal: str, request: object) -> None:
        """Count what is in a request."""
        groups = {"traces": ("resource_spans", "scope_spans", "spans")}
        groups["logs"] = ("resource_logs", "scope_logs", "log_records")
        if signal in groups:
            resources, scopes, items = groups[signal]
            number = sum(
                len(getattr(scope, items))
                for resource in getattr(request, resources)
                for scope in getattr(resource, scopes)
            )
            with self.lock:
                self.taken[signal] += number


REQUESTS = {
    "traces": trace_service_pb2.ExportTraceServiceRequest,
    "logs": logs_service_pb2.ExportLogsServiceRequest,
    "metrics": metrics_service_pb2.ExportMetricsServiceRequest,
}


class _Server(LoopbackServer):
    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(_Handler)
        self.sink, self.status, self.body, self.delay = Sink(), status, body, 0.0


class _Handler(LoopbackHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.whole_body()
        self.server.sink.headers.append((self.path, self.headers))
        self.server.stopping.wait(self.server.delay)
        if self.server.status == 200 and not self._left():
            signal = self.path.removeprefix("/v1/")
            self.server.sink.take(signal, REQUESTS[signal].FromString(body))
        self.answer(self.server.status, "application/x-protobuf", self.server.body)

    def _left(self) -> bool:
        """Whether the client gave up meanwhile, and counted what it sent as dropped."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""


@contextmanager
def http_answering(status: int = 200, body: bytes = b"", delay: float = 0.0) -> Iterator[Sink]:
    """Answers like this, after `delay` seconds."""
    with served(_Server(status, body)) as server:
        server.delay, server.sink.url = delay, server.url
        yield server.sink


@contextmanager
def dead() -> Iterator[Sink]:
    """Nobody listens."""
    (port,) = free_ports(1)
    yield Sink(f"http://{HOST}:{port}")


@contextmanager
def half_open() -> Iterator[Sink]:
    """Takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen(128)
        yield Sink(f"http://{HOST}:{listener.getsockname()[1]}")


@contextmanager
def garbage() -> Iterator[Sink]:
    """Answers each connection with bytes that mean nothing."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen(128)

        def serve() -> None:
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(1)
                    try:
                        connection.recv(65536)
                        connection.sendall(b"\x00\xff garbage \r\n\r\n" * 8)
                    except OSError:
                        continue
                if sink.stopping.is_set():
                    return

        sink = Sink(f"http://{HOST}:{listener.getsockname()[1]}")
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield sink
        sink.stopping.set()
        socket.create_connection(listener.getsockname()).close()
        thread.join()


@contextmanager
def grpc_answering(code: grpc.StatusCode = grpc.StatusCode.OK, delay: float = 0.0) -> Iterator[Sink]:
    """A real gRPC server that answers with this code."""
    sink = Sink()
    server = grpc.server(ThreadPoolExecutor(8))
    for signal, module, messages, name in (
        ("traces", trace_service_pb2_grpc, trace_service_pb2, "Trace"),
        ("logs", logs_service_pb2_grpc, logs_service_pb2, "Logs"),
        ("metrics", metrics_service_pb2_grpc, metrics_service_pb2, "Metrics"),
    ):
        answer = getattr(messages, f"Export{name}ServiceResponse")
        servicer = type(name, (), {"Export": staticmethod(_export(sink, signal, answer, code, delay))})()
        getattr(module, f"add_{name}ServiceServicer_to_server")(servicer, server)
    sink.url = f"http://{HOST}:{server.add_insecure_port(f'{HOST}:0')}"
    server.start()
    try:
        yield sink
    finally:
        sink.stopping.set()
        server.stop(0).wait()


def _export(sink: Sink, signal: str, answer: type, code: grpc.StatusCode, delay: float) -> Callable[..., object]:
    def export(request: object, context: grpc.ServicerContext) -> object:
        sink.stopping.wait(delay)
        if code is not grpc.StatusCode.OK:
            context.abort(code, "refused")
        if context.is_active():  # or the client gave up meanwhile, and counted what it sent as dropped
            sink.take(signal, request)
        return answer()

    return export


BAD: dict[str, tuple[str, Callable[[], object]]] = {
    "dead-http": ("http/protobuf", dead),
    "dead-grpc": ("grpc", dead),
    "slow-http": ("http/protobuf", lambda: http_answering(delay=SLOW)),
    "slow-grpc": ("grpc", lambda: grpc_answering(delay=SLOW)),
    "500-http": ("http/protobuf", lambda: http_answering(500)),
    "429-http": ("http/protobuf", lambda: http_answering(429)),
    "401-http": ("http/protobuf", lambda: http_answering(401)),
    "refusing-grpc": ("grpc", lambda: grpc_answering(grpc.StatusCode.PERMISSION_DENIED)),
    "exhausted-grpc": ("grpc", lambda: grpc_answering(grpc.StatusCode.RESOURCE_EXHAUSTED)),
    "half-open-http": ("http/protobuf", half_open),
    "half-open-grpc": ("grpc", half_open),
    "garbage-http": ("http/protobuf", garbage),
    "garbage-grpc": ("grpc", garbage),
    "garbage-body-http": ("http/protobuf", lambda: http_answering(body=b"\x00\xff garbage")),
}
"""By name: the protocol to speak, and a context manager that yields the sink."""
