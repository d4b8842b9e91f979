"""Violations stay on record: under head sampling, in the journal, and in the log where there is neither."""

from __future__ import annotations

import json
import logging

import pytest
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from llmguard_middleware import Guard, Guardrail, GuardrailViolation, scorer
from llmguard_middleware.telemetry import configure
from llmguard_middleware.telemetry._files import read_records, read_spans
from llmguard_middleware.testing import captured_telemetry

CALLS = 300


@scorer
def forbidden(text: str) -> bool:
    """Whether the text is forbidden."""
    return "forbidden" in text


@scorer
def broken(text: str) -> bool:
    """Fails."""
    raise RuntimeError("canary")


class Ids(RandomIdGenerator):
    """Remembers the span ids that it gave out."""

    def __init__(self):
        self.given = []

    def generate_span_id(self):
        """A random id."""
        self.given.append(super().generate_span_id())
        return self.given[-1]


def blocked(guard):
    """A call that is blocked."""

    @guard.op
    def generate(text: str) -> str:
        return text

    with pytest.raises(GuardrailViolation):
        generate("forbidden canary")


def guard_of(telemetry, *rules):
    """A guard with these rules and providers."""
    return Guard(
        *(rules or [Guardrail(forbidden, stage="input")]),
        name="shop",
        tracer_provider=telemetry.tracer_provider,
        logger_provider=telemetry.logger_provider,
    )


@pytest.mark.parametrize(("ratio", "most"), [("0", 0), ("0.01", 30), ("1", CALLS)])
def test_every_violation_is_on_record_whatever_is_sampled(ratio, most, tmp_path, monkeypatch):
    """With 0 %, 1 % and all traces sampled, each violation's record is exported with the ids of the stopped call."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", ratio)
    telemetry = configure(file=tmp_path, set_global=False)
    ids = telemetry.tracer_provider.id_generator = Ids()
    tracer = telemetry.tracer_provider.get_tracer("test")
    guard = guard_of(telemetry)
    expected = []
    for _ in range(CALLS):
        with tracer.start_as_current_span("request") as request:
            blocked(guard)
        own = ids.given.index(request.get_span_context().span_id) + 1  # the first id given out below the request
        expected.append((f"{request.get_span_context().trace_id:032x}", f"{ids.given[own]:016x}"))
    telemetry.shutdown()
    records = list(read_records(tmp_path.glob("*.logs.jsonl")))
    assert [(record.trace_id, record.span_id) for record in records] == expected
    assert {record.attributes["llmguard.verdict"] for record in records} == {"blocked"}
    stopped = [span for span in read_spans(tmp_path.glob("*.spans.jsonl")) if span.name == "invoke_workflow generate"]
    assert len(stopped) <= most
    assert stopped or most < CALLS
    assert {(span.trace_id, span.span_id) for span in stopped} <= set(expected)


def test_the_journal_has_each_violation_at_once_and_nothing_else(tmp_path):
    """What was blocked, and what failed where failing blocks, is a line before the call returns; a flag is none."""
    telemetry = configure("http://127.0.0.1:9", set_global=False, journal=tmp_path / "journal")
    rules = Guardrail(forbidden, stage="input", action="log", name="shadow"), Guardrail(forbidden, stage="input")
    blocked(guard_of(telemetry, *rules))
    blocked(guard_of(telemetry, Guardrail(broken, stage="input")))
    (file,) = (tmp_path / "journal").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "journal").stat().st_mode & 0o777 == 0o700
    told = [(r.attributes["llmguard.guardrail.name"], r.attributes["llmguard.verdict"]) for r in read_records([file])]
    assert told == [("forbidden", "blocked"), ("broken", "error")]
    assert b"canary" not in file.read_bytes()
    telemetry.shutdown(timeout=0.1)


def test_without_journal_and_files_violations_are_warnings_in_the_log(caplog):
    """configure(endpoint) alone: the logger llmguard.violations tells where to look, without content."""
    telemetry = configure("http://127.0.0.1:9", set_global=False)
    blocked(guard_of(telemetry))
    telemetry.shutdown(timeout=0.1)
    (line,) = (record for record in caplog.records if record.name == "llmguard.violations")
    assert line.levelno == logging.WARNING
    assert line.getMessage().startswith('guardrail "forbidden" of guard "shop" stopped a call: input blocked (trace ')
    assert "canary" not in line.getMessage()


def test_a_file_without_log_records_keeps_no_violation(tmp_path, monkeypatch, caplog):
    """Where the environment switched log records off, violations are in the log, or in the journal if there is one."""
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "none")
    for journal in (None, tmp_path / "journal"):
        telemetry = configure(file=tmp_path / "traces", set_global=False, journal=journal)
        blocked(guard_of(telemetry))
        telemetry.shutdown()
    assert [record.name for record in caplog.records].count("llmguard.violations") == 1
    assert len(list(read_records((tmp_path / "journal").iterdir()))) == 1


def test_a_disabled_sdk_leaves_violations_to_the_log_at_level_info(tmp_path, monkeypatch, caplog):
    """OTEL_SDK_DISABLED=true writes no journal; who asks for the lines at level INFO has them."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    caplog.set_level(logging.INFO, "llmguard.violations")
    telemetry = configure("http://127.0.0.1:9", set_global=False, journal=tmp_path / "journal")
    blocked(guard_of(telemetry))
    assert [record.levelno for record in caplog.records if record.name == "llmguard.violations"] == [logging.INFO]
    assert not (tmp_path / "journal").exists()
    telemetry.shutdown()


def test_an_sdk_of_the_users_own_leaves_violations_to_the_log_at_level_info(caplog):
    """Without configure() the same line is there for who asks for it: level INFO, once for each violation."""
    with captured_telemetry() as captured:
        blocked(guard_of(captured))
        assert [record for record in caplog.records if record.name == "llmguard.violations"] == []
        caplog.set_level(logging.INFO, "llmguard.violations")
        blocked(guard_of(captured))
        (line,) = (record for record in caplog.records if record.name == "llmguard.violations")
        span = [span for span in captured.spans if span.name == "invoke_workflow generate"][-1]
        assert line.getMessage() == (
            'guardrail "forbidden" of guard "shop" stopped a call: input blocked '
            f"(trace {span.trace_id:032x}, span {span.span_id:016x})"
        )


def test_a_full_journal_loses_its_oldest_lines_and_counts_them(tmp_path):
    """The journal stays within its bound; kept + counted as lost = all violations, and the newest are kept."""
    telemetry = configure("http://127.0.0.1:9", set_global=False, journal=tmp_path, journal_bytes=16 * 1024)
    guard = guard_of(telemetry)
    for _ in range(60):
        blocked(guard)
    kept = sum(len(list(read_records([file]))) for file in tmp_path.iterdir())
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 16 * 1024
    assert 0 < kept < 60
    assert telemetry.dropped["journal"] == {"overflow": 60 - kept}
    telemetry.shutdown(timeout=0.1)


def test_a_full_journal_is_in_the_metric_of_what_was_lost(tmp_path, monkeypatch):
    """`llmguard.telemetry.dropped` says how many of the journal's lines went, as signal `journal`."""
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "none")
    telemetry = configure(file=tmp_path / "traces", set_global=False, journal=tmp_path / "j", journal_bytes=16 * 1024)
    guard = guard_of(telemetry)
    for _ in range(60):
        blocked(guard)
    lost = telemetry.dropped["journal"]["overflow"]
    telemetry.shutdown()
    (written,) = (tmp_path / "traces").glob("*.metrics.jsonl")
    exported = json.loads(written.read_text().splitlines()[-1])["resourceMetrics"][0]["scopeMetrics"]
    (points,) = (
        [(one["asInt"], {told["key"]: told["value"]["stringValue"] for told in one["attributes"]}) for one in points]
        for scope in exported
        for metric in scope["metrics"]
        if metric["name"] == "llmguard.telemetry.dropped"
        for points in [metric["sum"]["dataPoints"]]
    )
    assert points == [(str(lost), {"llmguard.signal": "journal", "llmguard.reason": "overflow"})]


def test_a_journal_that_cannot_be_written_falls_back_to_the_log(tmp_path, caplog):
    """If the journal's folder is gone, the violation is in the log, and counted as not written."""
    folder = tmp_path / "journal"
    telemetry = configure("http://127.0.0.1:9", set_global=False, journal=folder)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    blocked(guard_of(telemetry))
    assert telemetry.dropped["journal"] == {"write_failed": 1}
    assert [record.name for record in caplog.records].count("llmguard.violations") == 1
    telemetry.shutdown(timeout=0.1)
