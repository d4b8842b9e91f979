"""Processors and exporters around the SDK's, with a gate between them: whatever the sink does, drops are counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk._logs import LogRecordProcessor, ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from ..._courtesy import Unhurried
from ._drops import Drops
from ._gate import Gate
from ._quiet import quiet

__all__ = [
    "Counted",
    "CountedMetrics",
    "CountedRecords",
    "CountedRecordsProcessor",
    "CountedSpans",
    "CountedSpansProcessor",
]


class Counted:
    """What the exporters of all signals share: quiet, counted, and shut down once."""

    def __init__(self, inner: Any, gate: Gate) -> None:
        self._inner, self._gate, self._down = inner, gate, False

    def _send(self, items: Sequence[Any]) -> bool:
        self._gate.rest()
        if not self._gate.take(len(items)):
            return False
        sent = False
        try:
            with quiet():
                sent = self._inner.export(items if self._gate.crowded else Unhurried(items)).name == "SUCCESS"
        except Exception:  # noqa: BLE001 - whatever an exporter raises: counted below
            sent = False
        finally:
            self._gate.settle(len(items), sent=sent)
        return sent

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is buffered here."""
        return True

    def shutdown(self) -> None:
        """Shut the exporter down; it gives up what it was about to retry."""
        if not self._down:
            self._down = True
            with quiet():
                self._inner.shutdown()


class CountedSpans(Counted, SpanExporter):
    """A span exporter behind a gate."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export, and settle with the gate."""
        return SpanExportResult.SUCCESS if self._send(spans) else SpanExportResult.FAILURE


class CountedRecords(Counted, LogRecordExporter):
    """A log record exporter behind a gate."""

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Export, and settle with the gate."""
        return LogRecordExportResult.SUCCESS if self._send(batch) else LogRecordExportResult.FAILURE


class CountedMetrics(MetricExporter):
    """A metric exporter whose failed exports are counted, each as one: the next brings the sums up to date."""

    def __init__(self, inner: MetricExporter, drops: Drops) -> None:
        # Where the SDK's reader looks for what an exporter prefers.
        super().__init__(inner._preferred_temporality, inner._preferred_aggregation)  # noqa: SLF001 - nobody else tells
        self._inner, self._drops, self._down = inner, drops, False

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        """Export, and count a failure."""
        result = MetricExportResult.FAILURE
        try:
            with quiet():
                result = self._inner.export(metrics_data, timeout_millis, **kwargs)
        except Exception:  # noqa: BLE001 - whatever an exporter raises: counted below
            result = MetricExportResult.FAILURE
        if result is not MetricExportResult.SUCCESS:
            self._drops.count("metrics", "export_failed")
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Nothing is buffered here."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Shut the exporter down; it gives up what it was about to retry."""
        if not self._down:
            self._down = True
            with quiet():
                self._inner.shutdown()


class CountedSpansProcessor(SpanProcessor):
    """A span processor behind a gate."""

    def __init__(self, inner: SpanProcessor, gate: Gate) -> None:
        self._inner, self._gate, self._enter = inner, gate, gate.enter

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing: what counts is the end."""

    def on_end(self, span: ReadableSpan) -> None:
        """Let a sampled span in."""
        context = span.context
        if context is not None and context.trace_flags.sampled and self._enter():
            self._inner.on_end(_light(span))

    def shutdown(self) -> None:
        """Shut down."""
        with self._gate.hurried():
            self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what is waiting."""
        with self._gate.hurried():
            return self._inner.force_flush(timeout_millis)


def _light(span: ReadableSpan) -> ReadableSpan:
    """The same span for a queue: three objects that the garbage collector has to walk over, where the SDK's has eleven.

    Thousands may wait; each call of the application would pay for walks over them.
    """
    if span.events or span.links or span.dropped_attributes or span.dropped_events or span.dropped_links:
        return span
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=span.attributes.copy(),  # type: ignore[union-attr]  # a mapping proxy, of what has a copy
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


class CountedRecordsProcessor(LogRecordProcessor):
    """A log record processor behind a gate."""

    def __init__(self, inner: LogRecordProcessor, gate: Gate) -> None:
        self._inner, self._gate, self._enter = inner, gate, gate.enter

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Let a record in."""
        if self._enter():
            self._inner.on_emit(log_record)

    def shutdown(self) -> None:
        """Shut down."""
        with self._gate.hurried():
            self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what is waiting."""
        with self._gate.hurried():
            return self._inner.force_flush(timeout_millis)
