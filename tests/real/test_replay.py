"""Stored telemetry reaches a backend later, and a real collector hands it on, with nothing changed."""

from __future__ import annotations

import itertools
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from llmguard_middleware import Guard, Guardrail, GuardrailViolation, scorer
from llmguard_middleware.scorers import pii
from llmguard_middleware.telemetry import configure
from llmguard_middleware.telemetry._files import read_spans
from llmguard_middleware.telemetry._stored_lines import Skipped, read_lines

from . import _otlp
from ._bad_sinks import REQUESTS, dead, grpc_answering, http_answering
from ._process import wait_until

ITEMS = ("spans", "log_records", "metrics")


@scorer
def forbidden(text: str) -> bool:
    """Whether the text is forbidden."""
    return text == "forbidden"


def make(telemetry):
    """Spans with every kind of attribute, records and metrics; one violation among them."""
    guard = Guard(
        Guardrail(forbidden, stage="input"),
        Guardrail(pii(), stage="output", action="redact"),
        tracer_provider=telemetry.tracer_provider,
        logger_provider=telemetry.logger_provider,
        meter_provider=telemetry.meter_provider,
    )

    @guard.op
    def generate(text: str) -> str:
        return f"{text}: a@example.com"

    generate("hello")
    with pytest.raises(GuardrailViolation):
        generate("forbidden")
    tracer = telemetry.tracer_provider.get_tracer("test", "1.2.3", attributes={"scope": "kept"})
    with tracer.start_as_current_span("all", attributes={"s": "한국어", "b": True, "i": 2**53 + 1, "f": 0.1}) as span:
        span.set_attribute("list", ["a", "b"])
        span.add_event("event", {"n": 1})
        telemetry.logger_provider.get_logger("test").emit(
            body="text", event_name="e", attributes={"k": {"n": [1, 2.5]}}
        )
    meter = telemetry.meter_provider.get_meter("test")
    meter.create_counter("counter", "{thing}").add(3, {"k": "v"})
    meter.create_histogram("histogram", "s", explicit_bucket_boundaries_advisory=[0.1, 1.0]).record(0.5)
    meter.create_gauge("gauge").set(1.5)


def stored(folder):
    """What the files hold, decoded."""
    spans, logs, points = [], [], []
    for line in read_lines(sorted(folder.glob("*.jsonl")), Skipped()):
        message = line.request.SerializeToString()
        spans += _otlp.spans(message) if line.signal == "traces" else []
        logs += _otlp.logs(message) if line.signal == "logs" else []
        points += _otlp.points(message) if line.signal == "metrics" else []
    return ordered(spans, logs, points)


def ordered(spans, logs, points):
    """In an order that does not depend on how they came."""
    by = {"spans": spans, "logs": logs, "points": points}
    return {name: sorted(items, key=repr) for name, items in by.items()}


def whole(messages):
    """Each span, record and metric as protobuf says it, with resource and scope, in an order of its own."""
    told = []
    for signal, message in messages:
        for group in next(value for _, value in message.ListFields()):
            for scoped in next(value for field, value in group.ListFields() if field.name.startswith("scope_")):
                items = next(value for field, value in scoped.ListFields() if field.name in ITEMS)
                told += [(signal, str(group.resource), str(scoped.scope), str(item)) for item in items]
    return sorted(told)


def whole_files(folder):
    """The same of these files."""
    return whole((line.signal, line.request) for line in read_lines(sorted(folder.glob("*.jsonl")), Skipped()))


def whole_requests(receiver):
    """The same of what a receiver got."""
    return whole((signal, REQUESTS[signal].FromString(payload)) for signal, payload in receiver.requests)


def llmguard(*arguments, cwd="."):
    """Run the command."""
    command = Path(sys.executable).with_name("llmguard")
    return subprocess.run([command, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def traces(tmp_path):
    """A folder of stored telemetry."""
    folder = tmp_path / "traces"
    telemetry = configure(file=folder, set_global=False, service_name="shop")
    make(telemetry)
    telemetry.shutdown()
    return folder


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_collector_receives_and_forwards_with_nothing_changed(
    protocol, forwarding_collector, otlp_receiver, tmp_path, monkeypatch
):
    """Sent to rotel live, by either protocol, what its receiver gets is what the files say: attribute by attribute."""
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "3600000")  # once, at the end: to both
    endpoint = forwarding_collector.grpc_url if protocol == "grpc" else forwarding_collector.http_url
    telemetry = configure(endpoint, protocol=protocol, file=tmp_path / "traces", set_global=False, service_name="shop")
    make(telemetry)
    assert telemetry.shutdown() is True
    expected = stored(tmp_path / "traces")
    otlp_receiver.wait_for(
        lambda r: len(r.spans) == len(expected["spans"]) and len(r.logs) == len(expected["logs"]) and r.points
    )
    received = ordered(otlp_receiver.spans, otlp_receiver.logs, otlp_receiver.points)
    assert received["spans"] == expected["spans"]
    assert received["logs"] == expected["logs"]
    # Each sink has a reader of its own, so the points are equal in all but their moments.
    assert received["points"] == expected["points"]
    assert len(expected["spans"]) >= 4
    assert {point.metric for point in otlp_receiver.points} >= {"counter", "histogram", "gauge"}


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_replay_changes_nothing(protocol, traces, forwarding_collector, otlp_receiver):
    """`llmguard replay` sends files through rotel, by either protocol: the receiver has what the files say."""
    expected = stored(traces)
    endpoint = forwarding_collector.grpc_url if protocol == "grpc" else forwarding_collector.http_url
    result = llmguard("replay", str(traces), "--otlp", endpoint, "--protocol", protocol)
    spans, logs, points = (len(expected[name]) for name in ("spans", "logs", "points"))
    told = f"{spans} spans, {logs} log records, {points} metric points; skipped 0 torn and 0 foreign lines"
    assert (result.returncode, result.stdout, result.stderr) == (0, f"sent to {endpoint}: {told}\n", "")
    otlp_receiver.wait_for(
        lambda r: (len(r.spans), len(r.logs), len(r.points)) == (spans, logs, points),
    )
    assert ordered(otlp_receiver.spans, otlp_receiver.logs, otlp_receiver.points) == expected
    assert whole_requests(otlp_receiver) == whole_files(traces), "times, flags, buckets and all"


def test_torn_and_foreign_lines_are_skipped_and_counted(traces, otlp_receiver):
    """A torn line, a line that is no OTLP and one with broken ids are counted; all others are sent."""
    expected = stored(traces)
    (file,) = traces.glob("*.spans.jsonl")
    whole = file.read_bytes()
    foreign = b'[1]\n{"name": "x"}\n{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "xyz"}]}]}]}\n'
    file.write_bytes(foreign + whole + b'{"resourceSpans":[{"resource":{"attr\xff')
    result = llmguard("replay", str(traces), "--otlp", otlp_receiver.url)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.endswith("; skipped 1 torn and 3 foreign lines\n")
    assert ordered(otlp_receiver.spans, otlp_receiver.logs, otlp_receiver.points) == expected


def test_the_journal_can_be_replayed(tmp_path, otlp_receiver):
    """A violation whose backend was dead is sent later: the same record, in its span's context."""
    with dead() as sink:
        telemetry = configure(sink.url, set_global=False, journal=tmp_path / "journal")
        make(telemetry)
        telemetry.shutdown(timeout=1)
    assert llmguard("replay", str(tmp_path / "journal"), "--otlp", otlp_receiver.url).returncode == 0
    (record,) = otlp_receiver.logs
    assert (record.event_name, record.severity) == ("gen_ai.evaluation.result", 13)
    assert record.attributes["llmguard.guardrail.name"] == "forbidden"
    assert len(record.trace_id) == 32
    assert len(record.span_id) == 16


@pytest.mark.parametrize(
    ("serve", "sentence"),
    [
        (lambda: http_answering(401), "answered 401 Unauthorized; until then sent 0 spans"),
        (lambda: http_answering(500), "answered 500 Internal Server Error; until then sent 0 spans"),
        (dead, "cannot be reached (ConnectionRefusedError"),
    ],
)
def test_a_backend_that_refuses_is_told_in_a_sentence(serve, sentence, traces):
    """Exit code 1 and one sentence that says what the backend said."""
    with serve() as sink:
        result = llmguard("replay", str(traces), "--otlp", sink.url)
    assert (result.returncode, result.stdout) == (1, "")
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_grpc_backend_that_refuses_is_told_in_a_sentence(traces):
    """The same over gRPC."""
    import grpc  # noqa: PLC0415 - here only

    with grpc_answering(grpc.StatusCode.PERMISSION_DENIED) as sink:
        result = llmguard("replay", str(traces), "--otlp", sink.url, "--protocol", "grpc")
    assert result.returncode == 1
    assert "answered PERMISSION_DENIED: refused" in result.stderr
    assert len(result.stderr.splitlines()) == 1


WRITER = """
    from llmguard_middleware.telemetry import configure
    tracer = configure(file="traces", set_global=False).tracer_provider.get_tracer("test")
    print("writing", flush=True)
    number = 0
    while True:
        tracer.start_span(str(number), attributes={"text": "x" * 3000}).end()
        number += 1
"""


def test_kill_9_in_the_middle_of_writing(tmp_path, otlp_receiver):
    """Every whole line before SIGKILL is readable and replayed; at most the last is torn, skipped and counted."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER)], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "writing\n"
        (file,) = (tmp_path / "traces").glob("*.spans.jsonl")
        wait_until(lambda: file.stat().st_size > 10**6, limit=30, otherwise=lambda: "too little was written")
        process.kill()
    data = file.read_bytes()
    torn = int(not data.endswith(b"\n"))
    whole = data.count(b"\n")
    assert [span.name for span in read_spans([file])] == [str(number) for number in range(whole)]
    if not torn:  # by luck; then by hand
        file.write_bytes(data[:-100])
        torn, whole = 1, whole - 1
    result = llmguard("replay", str(file), "--otlp", otlp_receiver.url)
    assert result.returncode == 0
    assert f"sent to {otlp_receiver.url}: {whole} spans, " in result.stdout
    assert "skipped 1 torn and 0 foreign" in result.stdout
    assert len(otlp_receiver.spans) == whole
    assert all(one.start_ns <= two.start_ns for one, two in itertools.pairwise(otlp_receiver.spans))
