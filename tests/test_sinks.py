"""Where telemetry goes: the standard variables, the console, providers that are there already; drops told calmly."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard_middleware import ConfigurationError
from llmguard_middleware.telemetry import configure
from llmguard_middleware.telemetry._sdk._drops import Drops
from llmguard_middleware.telemetry._sdk._gate import Gate


def run(code, cwd, **environment):
    """Run Python code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def kinds(folder):
    """The kinds of files in a folder."""
    return {path.name.split(".")[2] for path in folder.glob("*.jsonl")}


def test_a_disabled_sdk_writes_and_sends_nothing(tmp_path, monkeypatch):
    """OTEL_SDK_DISABLED=true: no file, no folder, no connection; spans are no-ops."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    telemetry = configure("http://127.0.0.1:9", file=tmp_path / "traces", set_global=False)
    span = telemetry.tracer_provider.get_tracer("test").start_span("x")
    assert not span.is_recording()
    assert telemetry.flush() is True
    assert telemetry.shutdown() is True
    assert (telemetry.dropped, list(tmp_path.iterdir())) == ({}, [])


def test_a_signal_that_is_switched_off_is_written_nowhere(tmp_path, monkeypatch):
    """OTEL_TRACES_EXPORTER=none and its like leave that signal out, files included."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    telemetry = configure(file=tmp_path, set_global=False)
    telemetry.tracer_provider.get_tracer("test").start_span("x").end()
    telemetry.shutdown()
    assert kinds(tmp_path) == {"logs"}


def test_another_installed_exporter_is_used_by_its_name(tmp_path):
    """OTEL_TRACES_EXPORTER=console prints spans, as with any OpenTelemetry distribution; no file is written."""
    code = """
        from llmguard_middleware.telemetry import configure
        telemetry = configure(set_global=False)
        telemetry.tracer_provider.get_tracer("test").start_span("shown").end()
    """
    result = run(code, tmp_path, OTEL_TRACES_EXPORTER="console")
    assert '"name": "shown"' in result.stdout
    assert (result.stderr, list(tmp_path.iterdir())) == ("", [])


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "OTEL_METRICS_EXPORTER",
            "otpl",
            'no exporter "otpl" of OTEL_METRICS_EXPORTER is installed; did you mean "otlp"',
        ),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", 'unknown protocol "http/json" in OTEL_EXPORTER_OTLP_PROTOCOL: '),
        (
            "OTEL_EXPORTER_OTLP_COMPRESSION",
            "zip",
            "the OTLP exporter for traces cannot be set up, see OTEL_EXPORTER_OTLP_*: ",
        ),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many", 'OTEL_BSP_MAX_QUEUE_SIZE is "many"; it must be a number of items'),
        ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "5000", "the OTEL_BSP_*, OTEL_BLRP_* or OTEL_METRIC_EXPORT_* variables"),
    ],
)
def test_a_wrong_variable_is_told_in_a_sentence(name, value, sentence, monkeypatch):
    """A typing error in the environment is a configuration error that names the variable."""
    monkeypatch.setenv(name, value)
    before = set(threading.enumerate())
    with pytest.raises(ConfigurationError) as raised:
        configure("http://127.0.0.1:4317", set_global=False)  # gRPC: HTTP's exporter only warns
    assert sentence in str(raised.value)
    assert not {one.name for one in set(threading.enumerate()) - before if one.name.startswith("Otel")}
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "setup"),
    [
        ("tracer", "trace.set_tracer_provider(TracerProvider())"),
        ("logger", "_logs.set_logger_provider(LoggerProvider())"),
        ("meter", "metrics.set_meter_provider(MeterProvider())"),
    ],
)
def test_any_existing_provider_is_refused(kind, setup, tmp_path):
    """A provider of traces, logs or metrics that is set already is not replaced, and nothing else is set up."""
    code = f"""
        from opentelemetry import _logs, metrics, trace
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.trace import TracerProvider
        from llmguard_middleware import ConfigurationError
        from llmguard_middleware.telemetry import configure
        {setup}
        try:
            configure()
        except ConfigurationError as error:
            print(error)
    """
    assert run(code, tmp_path).stdout == (
        f"this process already has a {kind} provider ({kind.capitalize()}Provider), and every Guard uses it: "
        "leave configure() out, or pass set_global=False\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_the_console_shows_each_trace_as_a_tree_when_its_root_ends(tmp_path):
    """console=True prints on standard error: the tree of a finished root at once, late spans at the end."""
    code = """
        import sys
        from llmguard_middleware.telemetry import configure
        telemetry = configure(console=True, set_global=False)
        tracer = telemetry.tracer_provider.get_tracer("test")
        with tracer.start_as_current_span("root"):
            with tracer.start_as_current_span("child"):
                pass
            print("before", file=sys.stderr)
        print("after", file=sys.stderr)
    """
    result = run(code, tmp_path, NO_COLOR="1")
    before, root, child, after = result.stderr.splitlines()
    assert (before, after, result.stdout) == ("before", "after", "")
    assert root.startswith("root  ")
    assert child.startswith("└── child  ")
    assert list(tmp_path.iterdir()) == [], "who asked for the console only gets no files"


def test_drops_are_told_at_once_and_then_once_a_minute(caplog):
    """The first drop is a line; those of the next minute are one more, with every signal and reason."""
    now = 0.0
    drops = Drops(lambda: now)
    drops.count("traces", "queue_full")
    for _ in range(122):
        drops.count("traces", "export_failed")
        now += 0.4
    drops.count("logs", "queue_full", 2)
    assert [record.getMessage() for record in caplog.records] == ["1 span was dropped (queue_full: 1)"]
    now = 61.0
    drops.count("traces", "queue_full")
    assert caplog.records[1].getMessage() == (
        "123 spans were dropped since the last such line (export_failed: 122, queue_full: 1); "
        "2 log records were dropped since the last such line (queue_full: 2)"
    )
    assert {(record.name, record.levelno) for record in caplog.records} == {("llmguard.telemetry", logging.WARNING)}
    assert drops.counts == {("traces", "queue_full"): 2, ("traces", "export_failed"): 122, ("logs", "queue_full"): 2}


@given(st.lists(st.sampled_from(["enter", "send", "fail", "close", "abandon"]), max_size=60), st.integers(1, 5))
def test_a_gate_accounts_for_every_item(steps, limit):
    """Whatever happens in whatever order: made = sent + dropped + still in hand, and never more wait than may."""
    drops = Drops()
    gate = Gate("traces", limit, drops)
    made = waiting = sent = 0
    for step in steps:
        if step == "enter":
            made += 1
            waiting += gate.enter()
        elif step in ("send", "fail"):
            if waiting and gate.take(waiting):
                gate.settle(waiting, sent=step == "send")
                sent += waiting * (step == "send")
                waiting = 0
        elif step == "close":
            gate.close()
        else:
            gate.close()
            gate.abandon()
            waiting = 0
        assert waiting <= limit
        assert made == sent + sum(drops.counts.values()) + waiting
