"""`OTEL_*` variables that are nonsense: one sentence that names the variable, and no key in it or in any log."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from llmguard_middleware import ConfigurationError, Guard
from llmguard_middleware.cli import main
from llmguard_middleware.telemetry import configure

NUMBERS = [
    ("OTEL_BSP_SCHEDULE_DELAY", "abc"), ("OTEL_BSP_SCHEDULE_DELAY", "-1"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1.5"),
    ("OTEL_BLRP_EXPORT_TIMEOUT", "soon"), ("OTEL_METRIC_EXPORT_INTERVAL", "abc"), ("OTEL_METRIC_EXPORT_TIMEOUT", "nan"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "abc"), ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "-1"), ("OTEL_BLRP_MAX_QUEUE_SIZE", "²"),
    ("OTEL_ATTRIBUTE_COUNT_LIMIT", "abc"), ("OTEL_SPAN_EVENT_COUNT_LIMIT", "-3"),
    ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "x"), ("OTEL_METRICS_EXEMPLAR_FILTER", "x"),
]  # fmt: skip


@pytest.mark.parametrize(("variable", "value"), NUMBERS)
def test_what_is_no_number_is_refused(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one sentence, whichever of the two, OpenTelemetry or we, looked at it first."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as refused:
        configure("http://127.0.0.1:9", set_global=False)
    said = str(refused.value)
    assert "\n" not in said
    assert variable in said or "xemplar" in said


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"])
@pytest.mark.parametrize("value", ["Bearer canary", "authorization: canary", "a=b,canary", "a=ca\nnary"])
def test_headers_that_are_none_are_refused_and_not_told(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """OpenTelemetry would log them, and a header is where the key is."""
    monkeypatch.setenv(variable, value)
    with caplog.at_level(logging.DEBUG), pytest.raises(ConfigurationError) as refused:
        configure("http://127.0.0.1:9", set_global=False)
    assert variable in str(refused.value)
    assert "canary" not in f"{refused.value} {caplog.text}"


@pytest.mark.parametrize("value", ["a=b", "authorization=Bearer%20x, b = c ,", "x-key=a=b==", "authorization=Bearer x"])
def test_headers_as_they_are_written_are_taken(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With blanks, with signs of equality, and with a comma at the end."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", value)
    configure("http://127.0.0.1:9", set_global=False).shutdown(0.1)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "abc"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "canary"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/at/all"),
    ],
)
def test_replay_refuses_them_too(
    variable: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command ends with a sentence about the variable."""
    monkeypatch.setenv(variable, value)
    (tmp_path / "a.jsonl").write_text("{}\n")
    assert main(["replay", str(tmp_path), "--otlp", "https://127.0.0.1:9"]) != 0
    told = capsys.readouterr().err
    assert variable in told
    assert "canary" not in told
    assert "Traceback" not in told


def test_an_endpoint_that_is_no_url_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take every span, and drop it."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318")
    with pytest.raises(ConfigurationError, match='OTEL_EXPORTER_OTLP_ENDPOINT is "localhost:4318", which is no URL'):
        configure(set_global=False)


def test_a_size_in_other_digits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A superscript is a digit and no number."""
    monkeypatch.setenv("LLMGUARD_MAX_CONTENT", "²")
    with pytest.raises(ConfigurationError, match="LLMGUARD_MAX_CONTENT"):
        Guard()
