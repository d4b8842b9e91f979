"""OTLP protobuf messages as plain, comparable Python values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

Plain = Union[None, str, bool, int, float, bytes, Sequence["Plain"], Mapping[str, "Plain"]]
Attributes = Mapping[str, Plain]


@dataclass(frozen=True)
class ReceivedEvent:
    """A span event."""

    name: str
    attributes: Attributes


@dataclass(frozen=True)
class ReceivedLink:
    """A link to another span; ids in hex."""

    trace_id: str
    span_id: str
    attributes: Attributes


@dataclass(frozen=True)
class ReceivedSpan:
    """A span; ids in hex, times in nanoseconds, `kind` and `status_code` by their short names (CLIENT, ERROR)."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    """Empty for a root span."""
    attributes: Attributes
    status_code: str
    status_message: str
    events: tuple[ReceivedEvent, ...]
    links: tuple[ReceivedLink, ...]
    resource: Attributes
    scope: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True)
class ReceivedLog:
    """A log record; ids in hex or empty, `severity` is the number (9 INFO, 13 WARN, 17 ERROR; 0 unspecified)."""

    event_name: str
    body: Plain
    attributes: Attributes
    trace_id: str
    span_id: str
    severity: int
    resource: Attributes
    scope: str


@dataclass(frozen=True)
class ReceivedPoint:
    """One point of a metric: `value` is a number's value or a histogram's sum, `count` is 1 for a number."""

    metric: str
    unit: str
    kind: str
    """`sum`, `gauge`, `histogram` or `exponential_histogram`."""
    attributes: Attributes
    value: float
    count: int
    resource: Attributes
    scope: str


def spans(message: bytes) -> list[ReceivedSpan]:
    """The spans of an ExportTraceServiceRequest, in order."""
    return [
        _span(span, _attributes(group.resource.attributes), scoped.scope.name)
        for group in ExportTraceServiceRequest.FromString(message).resource_spans
        for scoped in group.scope_spans
        for span in scoped.spans
    ]


def logs(message: bytes) -> list[ReceivedLog]:
    """The records of an ExportLogsServiceRequest, in order."""
    return [
        _log(record, _attributes(group.resource.attributes), scoped.scope.name)
        for group in ExportLogsServiceRequest.FromString(message).resource_logs
        for scoped in group.scope_logs
        for record in scoped.log_records
    ]


def points(message: bytes) -> list[ReceivedPoint]:
    """The points of an ExportMetricsServiceRequest, in order."""
    return [
        point
        for group in ExportMetricsServiceRequest.FromString(message).resource_metrics
        for scoped in group.scope_metrics
        for metric in scoped.metrics
        for point in _points(metric, _attributes(group.resource.attributes), scoped.scope.name)
    ]


def _span(span: Span, resource: Attributes, scope: str) -> ReceivedSpan:
    return ReceivedSpan(
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        attributes=_attributes(span.attributes),
        status_code=Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
        status_message=span.status.message,
        events=tuple(ReceivedEvent(event.name, _attributes(event.attributes)) for event in span.events),
        links=tuple(
            ReceivedLink(link.trace_id.hex(), link.span_id.hex(), _attributes(link.attributes)) for link in span.links
        ),
        resource=resource,
        scope=scope,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
    )


def _log(record: LogRecord, resource: Attributes, scope: str) -> ReceivedLog:
    return ReceivedLog(
        event_name=record.event_name,
        body=_plain(record.body),
        attributes=_attributes(record.attributes),
        trace_id=record.trace_id.hex(),
        span_id=record.span_id.hex(),
        severity=record.severity_number,
        resource=resource,
        scope=scope,
    )


def _points(metric: Metric, resource: Attributes, scope: str) -> Iterator[ReceivedPoint]:
    kind = metric.WhichOneof("data")
    numbers = metric.sum.data_points if kind == "sum" else metric.gauge.data_points
    for number in numbers:
        value = number.as_int if number.WhichOneof("value") == "as_int" else number.as_double
        yield ReceivedPoint(
            metric.name, metric.unit, str(kind), _attributes(number.attributes), value, 1, resource, scope
        )
    for histogram in (*metric.histogram.data_points, *metric.exponential_histogram.data_points):
        yield ReceivedPoint(
            metric.name,
            metric.unit,
            str(kind),
            _attributes(histogram.attributes),
            histogram.sum,
            histogram.count,
            resource,
            scope,
        )


def _attributes(pairs: Iterable[KeyValue]) -> Attributes:
    return {pair.key: _plain(pair.value) for pair in pairs}


def _plain(value: AnyValue) -> Plain:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_plain(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    plain: Plain = getattr(value, kind)
    return plain
