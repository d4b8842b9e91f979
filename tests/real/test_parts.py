"""The real parts do what the end-to-end tests rely on."""

from __future__ import annotations

import json
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
from openai import OpenAI
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from ._collector import collecting
from ._model_server import serving_smollm2
from ._otlp import ReceivedEvent, ReceivedLink, ReceivedLog, ReceivedPoint, ReceivedSpan
from ._process import HOST, ChildError, free_ports, group_exists, listens, run, serving, wait_until
from ._receiver import receiving
from ._recorder import recording

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opentelemetry.util.types import Attributes

    from ._collector import Collector
    from ._model_server import SmolLM2
    from ._receiver import Receiver
    from ._recorder import Recorder

RESOURCE = Resource({"service.name": "parts"})
GREETING = {"role": "user", "content": "Say hello."}


# The model


def test_model_answers(smollm2: SmolLM2, recorder: Recorder) -> None:
    """The model answers a chat completion, and the recorder saw exactly that request."""
    with OpenAI(base_url=smollm2.base_url, api_key="unused", max_retries=0) as client:
        answer = client.chat.completions.create(
            model=smollm2.model, messages=[{"role": "user", "content": "Say hello."}], max_tokens=8, temperature=0
        )

    assert answer.model == smollm2.model
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert 0 < answer.usage.completion_tokens <= 8
    (request,) = recorder.requests
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.headers["authorization"] == "Bearer unused"
    assert request.json() == {"model": "smollm2", "messages": [GREETING], "max_tokens": 8, "temperature": 0}


def test_model_streams(smollm2: SmolLM2, recorder: Recorder) -> None:
    """The model streams its answer in several chunks of one request."""
    with OpenAI(base_url=smollm2.base_url, api_key="unused", max_retries=0) as client:
        stream = client.chat.completions.create(
            model=smollm2.model, messages=[{"role": "user", "content": "Say hello."}], max_tokens=8, stream=True
        )
        choices = [chunk.choices[0] for chunk in stream]

    assert len([choice for choice in choices if choice.delta.content]) > 1
    assert choices[-1].finish_reason in {"stop", "length"}
    (request,) = recorder.requests
    assert request.json() == {"model": "smollm2", "messages": [GREETING], "max_tokens": 8, "stream": True}


def test_model_takes_requests_at_once(smollm2: SmolLM2, recorder: Recorder) -> None:
    """A second request waits for the stream that is running and does not cut it short."""
    body = {"model": smollm2.model, "messages": [{"role": "user", "content": "Count from 1 to 1000."}]}
    with httpx.Client(base_url=smollm2.base_url, timeout=60) as client, ThreadPoolExecutor(1) as pool:
        request = {**body, "max_tokens": 60, "stream": True}
        with client.stream("POST", "/chat/completions", json=request) as response:
            lines = response.iter_lines()
            assert next(lines).startswith("data: ")
            other = pool.submit(client.post, "/chat/completions", json={**body, "max_tokens": 1})
            wait_until(lambda: len(recorder.requests) == 2, limit=10, otherwise=lambda: "no second request")
            events = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        assert other.result().status_code == 200

    assert events[-1] == "[DONE]"
    assert json.loads(events[-2])["choices"][0]["finish_reason"] in {"stop", "length"}


def test_model_survives_an_abandoned_stream(smollm2: SmolLM2, recorder: Recorder) -> None:
    """A client that hangs up in the middle of a stream leaves the model free for the next request."""
    body = {"model": smollm2.model, "messages": [GREETING], "max_tokens": 1500, "stream": True}
    with httpx.Client(base_url=smollm2.base_url, timeout=60) as client:
        with client.stream("POST", "/chat/completions", json=body) as response:
            assert next(response.iter_lines()).startswith("data: ")
        answer = client.post("/chat/completions", json={**body, "stream": False, "max_tokens": 1}, timeout=30)

    assert answer.status_code == 200
    assert [request.json()["stream"] for request in recorder.requests] == [True, False]


# The recorder


@contextmanager
def event_source(second: threading.Event | None, gone: threading.Event) -> Iterator[int]:
    """A server of one SSE answer: an event, then another once `second` is set, or else `gone` when the client is."""

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(10)
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
            connection.sendall(b"data: one\n\n")
            if second is None:
                assert connection.recv(1) == b""
                gone.set()
            elif second.wait(10):
                connection.sendall(b"data: two\n\n")

    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join()


def test_recorder_does_not_buffer() -> None:
    """An event reaches the client before the server has sent the next one."""
    seen = threading.Event()
    with (
        event_source(seen, threading.Event()) as port,
        recording(port) as recorder,
        httpx.stream("GET", f"{recorder.url}/events", timeout=5) as response,
    ):
        lines = response.iter_lines()
        assert next(lines) == "data: one"
        seen.set()
        assert [line for line in lines if line] == ["data: two"]


def test_recorder_passes_on_a_hang_up() -> None:
    """When the client hangs up in the middle of an answer, so does the recorder, and the server can tell."""
    gone = threading.Event()
    with event_source(None, gone) as port, recording(port) as recorder:
        with httpx.stream("GET", f"{recorder.url}/events", timeout=5) as response:
            assert next(response.iter_lines()) == "data: one"
        assert gone.wait(5)


def test_recorder_reports_a_dead_server() -> None:
    """A request to a server that is gone is recorded and answered with 502."""
    with recording(free_ports(1)[0]) as recorder:
        answer = httpx.post(f"{recorder.url}/v1/models", json={"a": 1}, timeout=5)

    assert answer.status_code == 502
    assert recorder.requests[0].json() == {"a": 1}


# The collector


def span_exporter(collector: Collector, protocol: str) -> SpanExporter:
    """An exporter to the collector over `grpc` or `http`."""
    if protocol == "grpc":
        return GrpcSpanExporter(endpoint=collector.grpc_url, insecure=True)
    return HttpSpanExporter(endpoint=f"{collector.http_url}/v1/traces")


@contextmanager
def tracing(*exporters: SpanExporter) -> Iterator[TracerProvider]:
    """A provider of its own that exports each span as it ends, shut down afterwards."""
    provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    for exporter in exporters:
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    try:
        yield provider
    finally:
        provider.shutdown()


def make_spans(provider: TracerProvider) -> tuple[str, str, str]:
    """Record a failed CLIENT span, linked and inside a root span; its trace id, own id and parent's id."""
    tracer = provider.get_tracer("parts.scope", "1.0")
    with tracer.start_as_current_span("root") as root:
        attributes: Attributes = {"text": "é", "yes": True, "int": 2**40, "float": 0.5, "list": ["a", "b"]}
        links = [Link(root.get_span_context(), {"why": "test"})]
        with tracer.start_as_current_span("chat m", kind=SpanKind.CLIENT, attributes=attributes, links=links) as span:
            span.add_event("e", {"n": 1})
            span.set_status(Status(StatusCode.ERROR, "refused"))
            own, parent = span.get_span_context(), root.get_span_context()
    return f"{own.trace_id:032x}", f"{own.span_id:016x}", f"{parent.span_id:016x}"


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_collector_receives_spans(collector: Collector, protocol: str) -> None:
    """The collector logs a span's name, id and attributes, received over either protocol."""
    with tracing(span_exporter(collector, protocol)) as provider:
        _, span_id, _ = make_spans(provider)

    log = collector.wait_for(span_id)
    collector.wait_for(lambda text: text.count("Span #") == 2)
    assert "Name           : chat m" in log
    assert "-> int: Int(1099511627776)" in log


def test_collector_receives_logs(collector: Collector) -> None:
    """The collector logs a log record's event name and body."""
    emit_log(f"{collector.http_url}/v1/logs")

    log = collector.wait_for("EventName: parts.happened")
    assert "Body: Str(hello)" in log


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_collector_forwards_unchanged(forwarding_collector: Collector, otlp_receiver: Receiver, protocol: str) -> None:
    """What arrives by way of the collector equals what arrives without it."""
    with receiving() as direct:
        straight = HttpSpanExporter(endpoint=f"{direct.url}/v1/traces")
        with tracing(straight, span_exporter(forwarding_collector, protocol)) as provider:
            make_spans(provider)
        otlp_receiver.wait_for(lambda receiver: len(receiver.spans) == 2)

        assert len(direct.spans) == 2
        assert sorted(otlp_receiver.spans, key=by_start) == sorted(direct.spans, key=by_start)


def test_collector_forwards_logs_and_metrics(forwarding_collector: Collector, otlp_receiver: Receiver) -> None:
    """Log records and metric points come through the collector as well."""
    emit_log(f"{forwarding_collector.http_url}/v1/logs")
    emit_metrics(f"{forwarding_collector.http_url}/v1/metrics")

    otlp_receiver.wait_for(lambda receiver: receiver.logs and len(receiver.points) == 2)
    assert otlp_receiver.logs == [EXPECTED_LOG]
    assert sorted(otlp_receiver.points, key=lambda point: point.metric) == EXPECTED_POINTS


def by_start(span: ReceivedSpan) -> int:
    """Order of starting."""
    return span.start_ns


# The receiver


def emit_log(endpoint: str) -> None:
    """Send EXPECTED_LOG."""
    provider = LoggerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(OTLPLogExporter(endpoint=endpoint)))
    provider.get_logger("parts.scope").emit(
        event_name="parts.happened", body="hello", attributes={"deep": {"a": [1, None]}, "raw": b"\x00"}
    )
    provider.shutdown()


EXPECTED_LOG = ReceivedLog(
    event_name="parts.happened",
    body="hello",
    attributes={"deep": {"a": [1, None]}, "raw": b"\x00"},
    trace_id="",
    span_id="",
    severity=0,
    resource={"service.name": "parts"},
    scope="parts.scope",
)


def emit_metrics(endpoint: str) -> None:
    """Send EXPECTED_POINTS."""
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=endpoint), export_interval_millis=60_000)
    provider = MeterProvider([reader], resource=RESOURCE, shutdown_on_exit=False)
    meter = provider.get_meter("parts.scope")
    meter.create_counter("calls", "{call}").add(3, {"k": "v"})
    duration = meter.create_histogram("duration", "s")
    duration.record(0.25)
    duration.record(0.5)
    provider.shutdown()


EXPECTED_POINTS = [
    ReceivedPoint("calls", "{call}", "sum", {"k": "v"}, 3, 1, {"service.name": "parts"}, "parts.scope"),
    ReceivedPoint("duration", "s", "histogram", {}, 0.75, 2, {"service.name": "parts"}, "parts.scope"),
]


@pytest.mark.parametrize("compression", list(Compression))
def test_receiver_decodes_spans(otlp_receiver: Receiver, compression: Compression) -> None:
    """The receiver gives a span as plain values, whatever its compression."""
    exporter = HttpSpanExporter(endpoint=f"{otlp_receiver.url}/v1/traces", compression=compression)
    with tracing(exporter) as provider:
        trace_id, span_id, parent_id = make_spans(provider)

    chat, root = otlp_receiver.spans
    assert chat == ReceivedSpan(
        name="chat m",
        kind="CLIENT",
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id,
        attributes={"text": "é", "yes": True, "int": 2**40, "float": 0.5, "list": ["a", "b"]},
        status_code="ERROR",
        status_message="refused",
        events=(ReceivedEvent("e", {"n": 1}),),
        links=(ReceivedLink(trace_id, parent_id, {"why": "test"}),),
        resource={"service.name": "parts"},
        scope="parts.scope",
        start_ns=chat.start_ns,
        end_ns=chat.end_ns,
    )
    assert root.start_ns <= chat.start_ns <= chat.end_ns <= root.end_ns
    assert (root.parent_id, root.kind, root.status_code) == ("", "INTERNAL", "UNSET")
    assert any(b"refused" in payload for payload in otlp_receiver.payloads)


def test_receiver_decodes_logs(otlp_receiver: Receiver) -> None:
    """The receiver gives a log record as plain values, nested ones included."""
    emit_log(f"{otlp_receiver.url}/v1/logs")

    assert otlp_receiver.logs == [EXPECTED_LOG]


def test_receiver_decodes_metrics(otlp_receiver: Receiver) -> None:
    """The receiver gives a counter's value and a histogram's sum and count."""
    emit_metrics(f"{otlp_receiver.url}/v1/metrics")

    assert sorted(otlp_receiver.points, key=lambda point: point.metric) == EXPECTED_POINTS


def test_receiver_says_what_it_waited_for(otlp_receiver: Receiver) -> None:
    """wait_for() raises AssertionError with what did arrive."""
    emit_log(f"{otlp_receiver.url}/v1/logs")

    with pytest.raises(AssertionError, match=r"parts\.happened"):
        otlp_receiver.wait_for(lambda receiver: receiver.spans, timeout=0.1)


@pytest.mark.parametrize(
    ("path", "content_type", "status"),
    [("/v1/traces", "application/json", 415), ("/v2/traces", "application/x-protobuf", 404)],
)
def test_receiver_refuses_the_unknown(otlp_receiver: Receiver, path: str, content_type: str, status: int) -> None:
    """What the receiver cannot read is refused, not silently dropped."""
    answer = httpx.post(f"{otlp_receiver.url}{path}", content=b"", headers={"content-type": content_type})

    assert answer.status_code == status
    assert otlp_receiver.payloads == []


def test_receiver_reports_its_own_failure() -> None:
    """A payload that is not protobuf fails the block, so that no telemetry is lost unseen."""
    content_type = {"content-type": "application/x-protobuf"}
    with pytest.raises(RuntimeError, match="DecodeError"), receiving() as receiver, pytest.raises(httpx.HTTPError):
        httpx.post(f"{receiver.url}/v1/traces", content=b"\xff", headers=content_type)


# The processes


def test_collector_is_gone_afterwards(tmp_path: Path) -> None:
    """Neither the collector nor its ports outlive the block."""
    with collecting(tmp_path) as collector:
        port = int(collector.http_url.rpartition(":")[2])
        assert group_exists(collector.child.pid)
        assert listens(port)

    assert not group_exists(collector.child.pid)
    assert not listens(port)


def test_model_is_gone_afterwards(tmp_path: Path) -> None:
    """Neither the model server nor the uv that launched it outlives the block."""
    with serving_smollm2(tmp_path) as model:
        assert group_exists(model.child.pid)

    wait_until(lambda: not group_exists(model.child.pid), limit=5, otherwise=model.child.output)


CARELESS = """
import socket, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
time.sleep(60)
"""


def test_grandchildren_are_killed(tmp_path: Path) -> None:
    """What a child has started and does not end itself ends with the block all the same."""
    (port,) = free_ports(1)
    command = [sys.executable, "-c", CARELESS, str(port)]
    with serving(command, log=tmp_path / "log", ready=lambda: listens(port), limit=10) as child:
        assert group_exists(child.pid)

    # A killed orphan is a zombie until init has reaped it.
    wait_until(lambda: not group_exists(child.pid), limit=5, otherwise=lambda: "a grandchild is left")
    assert not listens(port)


def test_processes_end_when_the_block_fails(tmp_path: Path) -> None:
    """An error inside the block ends the process and passes through."""
    with pytest.raises(ZeroDivisionError), collecting(tmp_path) as collector:
        _ = 1 / 0

    assert not group_exists(collector.child.pid)


def test_early_death_shows_the_log(tmp_path: Path) -> None:
    """A server that dies before it is ready raises ChildError with its exit code and the tail of its log."""
    command = [sys.executable, "-c", "import sys; print('no such model'); sys.exit(3)"]
    with (
        pytest.raises(ChildError, match=r"(?s)ended with code 3 before.*no such model"),
        serving(command, log=tmp_path / "log", ready=lambda: False, limit=10),
    ):
        pytest.fail("the block must not start")


def test_lateness_is_an_error(tmp_path: Path) -> None:
    """A server that is not ready in time raises ChildError, and is ended."""
    command = [sys.executable, "-uc", "import os, time; print('pid', os.getpid()); time.sleep(60)"]
    with (
        pytest.raises(ChildError, match=r"(?s)was not ready within 1 s.*pid \d+") as raised,
        serving(command, log=tmp_path / "log", ready=lambda: False, limit=1),
    ):
        pytest.fail("the block must not start")

    assert not group_exists(int(str(raised.value).split()[-1]))


def test_a_command_that_fails_or_hangs_is_an_error(tmp_path: Path) -> None:
    """run() returns the output of a success, and raises ChildError for a failure and for taking too long."""
    assert run([sys.executable, "-c", "print('done')"], log=tmp_path / "a.log", limit=10) == "done\n"
    with pytest.raises(ChildError, match=r"(?s)code 1.*broken"):
        run([sys.executable, "-c", "raise SystemExit('broken')"], log=tmp_path / "b.log", limit=10)
    with pytest.raises(ChildError, match=r"had not ended after 0\.5 s"):
        run([sys.executable, "-c", "import time; time.sleep(60)"], log=tmp_path / "c.log", limit=0.5)


def test_free_ports_differ() -> None:
    """Ports taken together are distinct and nobody listens on them."""
    ports = free_ports(5)

    assert len(set(ports)) == 5
    assert not any(listens(port) for port in ports)
