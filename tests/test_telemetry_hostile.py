"""Providers, processors, disks and collectors that do their worst: calls go on, violations stay, nothing hangs."""

from __future__ import annotations

import gc
import logging
import os
import re
import shutil
import signal
import threading
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from opentelemetry._logs import LoggerProvider, NoOpLogger
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import NoOpTracer, NoOpTracerProvider

from llmguard_middleware import Call, Guard, Guardrail, GuardrailViolation, Usage, scorer
from llmguard_middleware._flow import Flow
from llmguard_middleware.telemetry import configure
from llmguard_middleware.telemetry._content._upload import Uploads
from llmguard_middleware.telemetry._metrics._observed import Watched
from llmguard_middleware.telemetry._sdk._drops import Drops
from llmguard_middleware.telemetry._sdk._gate import Gate
from llmguard_middleware.telemetry._sdk._lines import LinesFile
from llmguard_middleware.testing import CapturedTelemetry


@scorer
def forbidden(text: str) -> bool:
    """Whether the text is forbidden."""
    return "forbidden" in text


def blocked(guard: Guard) -> None:
    """A call that is blocked."""

    @guard.op
    def generate(text: str) -> str:
        return text

    with pytest.raises(GuardrailViolation):
        generate("forbidden canary")


class NoSpans(NoOpTracerProvider):
    """Its tracers give nothing."""

    def get_tracer(self, *_: Any, **__: Any) -> Any:
        """One of them."""

        class Tracer(NoOpTracer):
            def start_span(self, *_: Any, **__: Any) -> Any:
                return None

        return Tracer()


class NoRecords(LoggerProvider):
    """Its loggers raise what they are told."""

    def get_logger(self, *_: Any, **__: Any) -> Any:
        """One of them."""

        class Logger(NoOpLogger):
            def emit(self, *_: Any, **told: Any) -> None:
                raise RuntimeError(told)

        return Logger("x")


class NoEnd(SpanProcessor):
    """Raises when a span ends."""

    def on_end(self, span: Any) -> None:
        """Raise."""
        raise RuntimeError(span)


def test_a_tracer_that_gives_no_span_stops_no_call() -> None:
    """What is called is called, and its answer is given."""
    guard = Guard(tracer_provider=NoSpans())

    @guard.op
    def generate(text: str) -> str:
        return text

    assert generate("hello") == "hello"


def test_a_violation_whose_record_cannot_be_written_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A logger provider raises: each violation is a warning in the log, without content."""
    guard = Guard(Guardrail(forbidden, stage="input"), logger_provider=NoRecords())
    blocked(guard)
    (told,) = [one for one in caplog.records if one.name == "llmguard.violations"]
    assert told.levelno == logging.WARNING
    assert "canary" not in caplog.text


@pytest.mark.parametrize("judged", [True, False])
def test_a_processor_that_raises_loses_no_metric(judged: bool, telemetry: CapturedTelemetry) -> None:
    """The call's span is not to be had, its duration and tokens are."""
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(NoEnd())
    rules = [Guardrail(forbidden, stage="input", action="log")] if judged else []
    guard = Guard(*rules, tracer_provider=tracers, meter_provider=telemetry.meter_provider)
    with Flow(guard, Call("chat", model="m")) as flow:
        flow.answered(output="fine", usage=Usage(3, 4))
    points = {point.metric for point in telemetry.points}
    assert {"gen_ai.client.operation.duration", "gen_ai.client.token.usage"} <= points


def test_half_a_character_in_a_name_does_not_lose_the_batch(
    telemetry: CapturedTelemetry, caplog: pytest.LogCaptureFixture
) -> None:
    """A model that is called so, or a tool that a model invented, is told with a mark in its place."""
    guard = Guard(**telemetry.providers)
    for call in (
        Call("chat", model="m\ud800", conversation="\ud800", attributes={"llmguard.run.name": "\ud800"}),
        Call("execute_tool", name="\udfff"),
        Call("chat", model="한"),
    ):
        with Flow(guard, call) as flow:
            flow.answered()
    encode_spans(telemetry._span_exporter.get_finished_spans())
    assert not caplog.records  # in which OpenTelemetry tells of attributes that it lost
    assert [span.name for span in telemetry.spans] == ["chat m?", "execute_tool ?", "chat 한"]


def test_violations_that_the_only_file_does_not_take_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The folder is gone, there is no journal: the violation is in the log, and the drop is counted."""
    telemetry = configure(file=tmp_path / "traces", set_global=False)
    guard = Guard(
        Guardrail(forbidden, stage="input"),
        tracer_provider=telemetry.tracer_provider,
        logger_provider=telemetry.logger_provider,
    )
    blocked(guard)
    assert not caplog.records
    shutil.rmtree(tmp_path / "traces")
    blocked(guard)
    assert len([one for one in caplog.records if one.name == "llmguard.violations"]) == 1
    assert telemetry.dropped["logs"]["export_failed"]
    assert "canary" not in caplog.text
    telemetry.shutdown(1)


def test_violations_after_the_shutdown_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever shuts telemetry down first and calls models then has them in the log."""
    telemetry = configure(file=tmp_path / "traces", set_global=False)
    guard = Guard(Guardrail(forbidden, stage="input"), logger_provider=telemetry.logger_provider)
    telemetry.shutdown(1)
    with caplog.at_level(logging.INFO, "llmguard.violations"):
        blocked(guard)
    assert [one.name for one in caplog.records if "violations" in one.name] == ["llmguard.violations"]


def test_telemetry_that_is_interrupted_by_telemetry_does_not_wait_for_itself(tmp_path: Path) -> None:
    """A signal's handler, or what is collected in the middle of it, may write, drop and count as well."""
    drops = Drops()
    gate, file = Gate("traces", 10, drops), LinesFile(tmp_path, "spans", max_bytes=4096)

    def inside() -> None:
        for lock in (drops._lock, gate._lock, file._lock):
            with lock:
                drops.count("traces", "queue_full")
                gate.enter()
                file.write("{}")

    thread = threading.Thread(target=inside, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    file.close()


def test_only_files_are_tidied_away(tmp_path: Path) -> None:
    """Links and pipes under the names of ours are nobody's telemetry: they stay, and so does what they lead to."""
    other = tmp_path / "other"
    other.write_text("mine")
    folder = tmp_path / "traces"
    folder.mkdir()
    link, pipe = (folder / f"2020010{day}T000000.000000-1.violations.jsonl" for day in (1, 2))
    link.symlink_to(other)
    os.mkfifo(pipe)
    old = folder / "20200103T000000.000000-1.violations.jsonl"
    old.write_text("{}\n")
    for path in (other, pipe, old):
        os.utime(path, (0, 0))
    LinesFile(folder, "violations", max_bytes=4096, keep=60, bound=4096, lost=lambda _: None).close()
    assert (link.is_symlink(), pipe.exists(), old.exists(), other.read_text()) == (True, True, False, "mine")


def test_an_upload_tells_no_password(tmp_path: Path) -> None:
    """A URL with a name and a password is referred to without them."""
    uploads = Uploads(f"file://{tmp_path}")
    uploads.base, uploads._shown = "x", "x"
    made = Uploads.__new__(Uploads)
    made.__init__("memory://user:canary@host/path")  # type: ignore[misc]  # as a guard makes it
    (reference,) = made.put({"gen_ai.input.messages": []}).values()
    assert re.fullmatch(r"memory://host/path/\w+\.json", reference)
    made.shutdown(5)


def test_guards_that_are_collected_while_two_read_are_counted_once() -> None:
    """Two readers of metrics at the same moment forget the same guard: neither fails, and its count stays."""

    class One:
        name, monitors, policies = "g", (), ()

        def __init__(self) -> None:
            self.settled = Counter(scored=3)

    watched = Watched()
    guard = One()
    gone = weakref.ref(guard)
    watched.add(guard)  # type: ignore[arg-type]  # what is read of one
    del guard
    gc.collect()
    assert gone() is None
    (one,) = watched._guards

    class Twice(list):  # type: ignore[type-arg]  # of guards
        def remove(self, value: Any) -> None:
            super().remove(value)
            raise ValueError  # as it is for the second of two

    watched._guards = Twice([one])
    list(watched.read("llmguard.monitor.scores"))


def test_a_signal_in_the_middle_of_a_call_may_make_one() -> None:
    """Hundreds of interruptions of calls by calls, in one thread, end."""
    telemetry = CapturedTelemetry()
    guard = Guard(Guardrail(forbidden, stage="input", action="log"), **telemetry.providers)
    made = 0

    @guard.op
    def generate(text: str) -> str:
        return text

    def again(*_: Any) -> None:
        nonlocal made
        made += 1
        generate("in a handler")

    assert made == 0
    before = signal.signal(signal.SIGUSR1, again)
    try:
        for _ in range(50):
            os.kill(os.getpid(), signal.SIGUSR1)
            generate("hello")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert made == 50
    assert len([span for span in telemetry.spans if span.name.endswith("generate")]) == 100
