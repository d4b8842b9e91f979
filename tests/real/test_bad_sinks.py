"""OTLP backends that are dead, slow, refusing, half-open or talking garbage: the application does not notice."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import textwrap
import time

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from llmguard_middleware import Guard, Guardrail, GuardrailViolation, scorer
from llmguard_middleware.telemetry import configure
from llmguard_middleware.telemetry._files import read_records

from ._bad_sinks import BAD, http_answering

QUEUE, BATCH = 64, 16


@scorer
def forbidden(text: str) -> bool:
    """Whether the text is forbidden."""
    return text == "forbidden"


@pytest.fixture(autouse=True)
def small_queues(monkeypatch):
    """Queues that overflow, time-outs that end."""
    for name in ("BSP", "BLRP"):
        monkeypatch.setenv(f"OTEL_{name}_MAX_QUEUE_SIZE", str(QUEUE))
        monkeypatch.setenv(f"OTEL_{name}_MAX_EXPORT_BATCH_SIZE", str(BATCH))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")


def guard_of(telemetry):
    """A guard that blocks one text, traced by these providers."""
    return Guard(
        Guardrail(forbidden, stage="input"),
        tracer_provider=telemetry.tracer_provider,
        logger_provider=telemetry.logger_provider,
        meter_provider=telemetry.meter_provider,
    )


def call(guard, text):
    """One guarded call."""

    @guard.op
    def generate(text: str) -> str:
        return "Hello"

    generate(text)


@pytest.mark.parametrize("name", BAD)
def test_each_item_is_sent_or_counted_once(name, tmp_path, caplog, monkeypatch):
    """Whatever the sink does: made = taken by it + dropped, each violation is in the journal, memory is bounded."""
    protocol, serve = BAD[name]
    patience = 8
    if name.startswith(("garbage-body", "slow")):
        # What a sink took and the exporter gave up on a moment later is both: these sinks answer, so they are waited
        # for, however long this machine stands still.
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "30")
        patience = 60
    with serve() as sink:
        telemetry = configure(sink.url, protocol=protocol, set_global=False, journal=tmp_path / "journal")
        tracer = telemetry.tracer_provider.get_tracer("test")
        logger = telemetry.logger_provider.get_logger("test")
        guard = guard_of(telemetry)
        for number in range(400):
            tracer.start_span("fast").end()
            logger.emit(event_name="fast")
            if number % 40 == 0:
                with pytest.raises(GuardrailViolation):
                    call(guard, "forbidden")
        gc.collect()
        ours = telemetry.tracer_provider.resource
        alive = sum(isinstance(each, ReadableSpan) and each.resource is ours for each in gc.get_objects())
        started = time.monotonic()
        telemetry.shutdown(timeout=patience)
        assert time.monotonic() - started < patience + 2
    # A stopped call has two spans, its own and its guardrail's, and one record.
    made = {"traces": 400 + 2 * 10, "logs": 400 + 10}
    dropped = {signal: sum(telemetry.dropped.get(signal, {}).values()) for signal in made}
    assert {signal: sink.taken[signal] + dropped[signal] for signal in made} == made
    if name.startswith(("dead", "half-open", "garbage-http", "garbage-grpc")) or name[:3].isdigit():
        assert dropped == made
    # The last one may still be in this frame.
    assert alive <= QUEUE + BATCH + 2
    kept = list(read_records((tmp_path / "journal").iterdir()))
    assert len(kept) == 10
    assert len({record.span_id for record in kept}) == 10
    loud = [record.name for record in caplog.records if record.levelno >= logging.WARNING]
    assert set(loud) <= {"llmguard.telemetry"}, "no exporter logs each failure"
    assert len(loud) <= 2, "one line at once, one at the end"


CODE = """
    import sys, time
    from llmguard_middleware import Guard, Guardrail, GuardrailViolation, Monitor, scorer
    from llmguard_middleware.telemetry import configure
    @scorer
    def forbidden(text: str) -> bool:
        return text == "forbidden"
    configure(sys.argv[1], protocol=sys.argv[2], journal="journal")
    guard = Guard(Guardrail(forbidden, stage="input"), Monitor(lambda output: 1.0, name="m"))
    @guard.op
    def generate(text: str) -> str:
        return "Hello"
    for number in range(3000):
        try:
            generate("forbidden" if number % 1000 == 0 else "fine")
        except GuardrailViolation:
            pass
    print(time.time(), flush=True)
"""


@pytest.mark.parametrize(
    "name", ["dead-http", "slow-http", "half-open-http", "429-http", "half-open-grpc", "dead-grpc"]
)
def test_the_process_ends_within_five_seconds(name, tmp_path):
    """An interpreter whose backend takes no telemetry ends within 5 s, and its violations are in the journal."""
    protocol, serve = BAD[name]
    with serve() as sink:
        ended = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(CODE), sink.url, protocol],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        took = time.time() - float(ended.stdout)
    assert ended.returncode == 0
    assert took < 5
    assert len(list(read_records((tmp_path / "journal").iterdir()))) == 3


FORKING = """
    import os, sys
    from llmguard_middleware.telemetry import configure
    telemetry = configure(sys.argv[1], set_global=False)
    tracer = telemetry.tracer_provider.get_tracer("test")
    tracer.start_span("before").end()
    pid = os.fork()
    tracer.start_span("child" if not pid else "parent").end()
    assert telemetry.shutdown() is True
    assert telemetry.dropped == {}
    if pid:
        assert os.waitpid(pid, 0)[1] == 0
    else:
        os._exit(0)
"""


def test_a_forked_child_sends_its_own_spans_only(otlp_receiver, tmp_path):
    """What was waiting at the fork is sent by the parent, once; the child's queue, gate and threads work."""
    command = [sys.executable, "-c", textwrap.dedent(FORKING), otlp_receiver.url]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sorted(span.name for span in otlp_receiver.spans) == ["before", "child", "parent"]


def test_headers_of_the_environment_are_sent(monkeypatch):
    """OTEL_EXPORTER_OTLP_HEADERS reaches the backend with every signal."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret%20one")
    with http_answering() as sink:
        telemetry = configure(sink.url, set_global=False)
        telemetry.tracer_provider.get_tracer("test").start_span("one").end()
        telemetry.logger_provider.get_logger("test").emit(event_name="one")
        telemetry.meter_provider.get_meter("test").create_counter("one").add(1)
        telemetry.shutdown()
    assert {(path, headers["x-key"]) for path, headers in sink.headers} == {
        ("/v1/traces", "secret one"),
        ("/v1/logs", "secret one"),
        ("/v1/metrics", "secret one"),
    }


def test_a_flush_says_whether_all_was_sent():
    """flush() returns in time and False while the backend is slow, True once it has taken everything."""
    with http_answering(delay=0.5) as sink:
        telemetry = configure(sink.url, set_global=False)
        telemetry.tracer_provider.get_tracer("test").start_span("one").end()
        started = time.monotonic()
        assert telemetry.flush(timeout=0.1) is False
        assert time.monotonic() - started < 0.5
        assert telemetry.flush(timeout=10) is True
        assert sink.taken["traces"] == 1
        assert telemetry.shutdown() is True
        assert telemetry.dropped == {}


def test_drops_are_a_metric(otlp_receiver, monkeypatch):
    """What was lost is exported as llmguard.telemetry.dropped, by signal and reason, with the last metrics."""
    with http_answering(500) as refusing:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{refusing.url}/v1/traces")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", f"{otlp_receiver.url}/v1/logs")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"{otlp_receiver.url}/v1/metrics")
        telemetry = configure(set_global=False)
        for _ in range(3):
            telemetry.tracer_provider.get_tracer("test").start_span("lost").end()
        telemetry.shutdown()
    assert telemetry.dropped == {"traces": {"export_failed": 3}}
    (point,) = (point for point in otlp_receiver.points if point.metric == "llmguard.telemetry.dropped")
    assert (point.value, point.unit, point.kind) == (3, "{item}", "sum")
    assert point.attributes == {"llmguard.signal": "traces", "llmguard.reason": "export_failed"}
