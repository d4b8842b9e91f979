"""Exporters that write OTLP JSON lines (https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from opentelemetry.exporter.otlp.json.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.json.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.json.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from ._lines import LinesFile

__all__ = ["FileMetrics", "FileRecords", "FileSpans"]

# The file exporter of OpenTelemetry's own package holds a lock that does not survive a fork; its encoders do.


def _write(file: LinesFile, encoded: Any) -> None:
    file.write(json.dumps(encoded.to_dict(), separators=(",", ":")))


class FileSpans(SpanExporter):
    """Spans as lines."""

    def __init__(self, file: LinesFile) -> None:
        self._file = file

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write one line."""
        _write(self._file, encode_spans(spans))
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the file."""
        self._file.close()


class FileRecords(LogRecordExporter):
    """Log records as lines."""

    def __init__(self, file: LinesFile) -> None:
        self._file = file

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Write one line."""
        _write(self._file, encode_logs(batch))
        return LogRecordExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is buffered."""
        return True

    def shutdown(self) -> None:
        """Close the file."""
        self._file.close()


class FileMetrics(MetricExporter):
    """Collections of metrics as lines."""

    def __init__(self, file: LinesFile) -> None:
        super().__init__()
        self._file = file

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        """Write one line."""
        _write(self._file, encode_metrics(metrics_data))
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Nothing is buffered."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Close the file."""
        self._file.close()
