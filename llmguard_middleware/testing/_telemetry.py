"""Telemetry kept in memory, as plain values that a test can compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypedDict

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.sdk.metrics.export import Metric
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import TracerProvider
    from typing_extensions import Self

__all__ = ["CapturedPoint", "CapturedRecord", "CapturedSpan", "CapturedTelemetry", "captured_telemetry"]


@dataclass(frozen=True, slots=True)
class CapturedSpan:
    """A finished span. `parent` and `links` are names of spans of the same capture (hex span ids where they are not).

    `kind` and `status` are OpenTelemetry's words in capitals (`CLIENT`, `ERROR`); `events` are event names.
    """

    name: str
    kind: str = "INTERNAL"
    parent: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    status: str = "UNSET"
    status_description: str | None = None
    links: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    trace_id: int = field(default=0, compare=False)
    span_id: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class CapturedPoint:
    """One series of a metric as it stands: `value` is a sum or a gauge's value; a histogram's `sum`, with its `count`.

    `kind` is `counter`, `gauge` or `histogram`; `buckets` are a histogram's bounds.
    """

    metric: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    value: float = 0
    count: int | None = None
    unit: str = ""
    kind: str = "counter"
    buckets: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class CapturedRecord:
    """A log record, such as an evaluation result, and the span in whose context it was written (ids 0 if none)."""

    event_name: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    trace_id: int = 0
    span_id: int = 0


class _Providers(TypedDict):
    tracer_provider: TracerProvider
    logger_provider: LoggerProvider
    meter_provider: MeterProvider


class CapturedTelemetry:
    """OpenTelemetry providers that keep what is written in memory, in the order in which it was written.

    Pass `**telemetry.providers` to a Guard, or the three one by one. Also a context manager, which shuts them down.
    """

    def __init__(self) -> None:
        try:
            from opentelemetry.sdk._logs import LoggerProvider, export
            from opentelemetry.sdk.metrics import MeterProvider
            from opentelemetry.sdk.metrics.export import InMemoryMetricReader
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import SimpleSpanProcessor
            from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
            from opentelemetry.sdk.trace.sampling import ALWAYS_ON
        except ImportError:
            msg = (
                'captured_telemetry() needs the OpenTelemetry SDK: install the extra "otlp", '
                'pip install "llmguard-middleware[otlp]"'
            )
            raise ConfigurationError(msg) from None
        older: Any = getattr(export, "InMemoryLogExporter", None)  # its name until SDK 1.38
        self._span_exporter = InMemorySpanExporter()
        self._record_exporter = getattr(export, "InMemoryLogRecordExporter", older)()
        self._tracers = TracerProvider(ALWAYS_ON, resource=Resource.get_empty(), shutdown_on_exit=False)
        self._tracers.add_span_processor(SimpleSpanProcessor(self._span_exporter))
        self._loggers = LoggerProvider(resource=Resource.get_empty(), shutdown_on_exit=False)
        self._reader = InMemoryMetricReader()
        self._meters = MeterProvider([self._reader], resource=Resource.get_empty(), shutdown_on_exit=False)
        self._loggers.add_log_record_processor(export.SimpleLogRecordProcessor(self._record_exporter))
        for tell in on_capture:
            tell(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tracers.shutdown()
        self._loggers.shutdown()
        self._meters.shutdown()

    @property
    def tracer_provider(self) -> TracerProvider:
        """The provider of spans."""
        return self._tracers

    @property
    def logger_provider(self) -> LoggerProvider:
        """The provider of log records."""
        return self._loggers

    @property
    def meter_provider(self) -> MeterProvider:
        """The provider of metrics."""
        return self._meters

    @property
    def providers(self) -> _Providers:
        """All three providers, as keyword arguments of a Guard."""
        return {
            "tracer_provider": self._tracers,
            "logger_provider": self._loggers,
            "meter_provider": self._meters,
        }

    @property
    def spans(self) -> tuple[CapturedSpan, ...]:
        """Every span that has ended since the start or the last `clear()`, in the order in which they ended."""
        finished = self._span_exporter.get_finished_spans()
        names = {span.context.span_id: span.name for span in finished if span.context}
        return tuple(_span(span, names) for span in finished)

    @property
    def records(self) -> tuple[CapturedRecord, ...]:
        """Every log record since the start or the last `clear()`."""
        return tuple(_record(written) for written in self._record_exporter.get_finished_logs())

    @property
    def points(self) -> tuple[CapturedPoint, ...]:
        """Every metric series since the start, as it stands now; `clear()` does not reset them."""
        found = self._reader.get_metrics_data()
        if found is None:
            return ()
        return tuple(
            _point(metric, point)
            for resource in found.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        )

    def span(self, name: str) -> CapturedSpan:
        """The one span of this name.

        Raises:
            AssertionError: if there is none or more than one; the message lists the names of all spans.
        """
        spans = self.spans
        found = [span for span in spans if span.name == name]
        if len(found) != 1:
            msg = (
                f'{len(found)} spans are called "{name}"; there are: {", ".join(span.name for span in spans) or "none"}'
            )
            raise AssertionError(msg)
        return found[0]

    def clear(self) -> None:
        """Forget all spans and records; metrics go on."""
        self._span_exporter.clear()
        self._record_exporter.clear()


on_capture: list[Callable[[CapturedTelemetry], object]] = []
"""Who is told of new providers: the tests of this project hold all that is captured against the conventions."""


def captured_telemetry() -> CapturedTelemetry:
    """New in-memory OpenTelemetry providers.

    Raises:
        ConfigurationError: if the OpenTelemetry SDK is not installed.
    """
    return CapturedTelemetry()


def _span(span: ReadableSpan, names: Mapping[int, str]) -> CapturedSpan:
    def name(span_id: int) -> str:
        return names.get(span_id) or f"{span_id:016x}"

    assert span.context is not None
    return CapturedSpan(
        name=span.name,
        kind=span.kind.name,
        parent=name(span.parent.span_id) if span.parent else None,
        attributes=_plain(span.attributes),
        status=span.status.status_code.name,
        status_description=span.status.description,
        links=tuple(name(link.context.span_id) for link in span.links),
        events=tuple(event.name for event in span.events),
        trace_id=span.context.trace_id,
        span_id=span.context.span_id,
    )


def _record(written: ReadableLogRecord) -> CapturedRecord:
    record = written.log_record
    return CapturedRecord(record.event_name or "", _plain(record.attributes), record.trace_id or 0, record.span_id or 0)


def _point(metric: Metric, point: Any) -> CapturedPoint:
    kind = type(metric.data).__name__.lower()
    common = (metric.name, _plain(point.attributes))
    if hasattr(point, "bucket_counts"):
        bounds = tuple(point.explicit_bounds)
        return CapturedPoint(*common, point.sum, point.count, metric.unit or "", "histogram", bounds)
    return CapturedPoint(*common, point.value, None, metric.unit or "", "gauge" if kind == "gauge" else "counter")


def _plain(attributes: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Attributes as a dict; sequences become tuples, whatever the SDK makes of them."""
    return {key: tuple(v) if isinstance(v, (list, tuple)) else v for key, v in (attributes or {}).items()}
