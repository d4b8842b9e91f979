"""OTLP JSON lines as the protobuf messages that backends take: same ids, times, resources, scopes, attributes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError  # type: ignore[import-untyped]  # it has no types
from google.protobuf.message import Message  # type: ignore[import-untyped]  # it has no types
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ._sinks import Signal

__all__ = ["Line", "Skipped", "read_lines"]

_REQUESTS: dict[str, tuple[Signal, type[Message]]] = {
    "resourceSpans": ("traces", ExportTraceServiceRequest),
    "resourceLogs": ("logs", ExportLogsServiceRequest),
    "resourceMetrics": ("metrics", ExportMetricsServiceRequest),
}
# OTLP's JSON has these in hex, that of protobuf in base64: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
_IDS = ("traceId", "spanId", "parentSpanId")


@dataclass(frozen=True)
class Line:
    """One stored line: a request to the service of its signal, and how many spans, records or points are in it."""

    signal: Signal
    request: Any
    items: int


@dataclass
class Skipped:
    """Lines that cannot be sent: torn ones are no JSON, foreign ones no OTLP."""

    torn: int = 0
    foreign: int = 0


def read_lines(files: Iterable[Path], skipped: Skipped) -> Iterator[Line]:
    """Every line of these files that is OTLP; the others are counted in `skipped`."""
    for path in files:
        with path.open("rb") as file:
            for raw in file:
                if not raw.strip():
                    continue
                try:
                    told = json.loads(raw)
                except (ValueError, RecursionError):
                    skipped.torn += 1
                    continue
                line = _line(told)
                if line is None:
                    skipped.foreign += 1
                else:
                    yield line


def _line(told: object) -> Line | None:
    if not isinstance(told, dict):
        return None
    for key, (signal, kind) in _REQUESTS.items():
        if key in told:
            try:
                request = ParseDict(_with_base64_ids({key: told[key]}), kind(), ignore_unknown_fields=True)
            except (ParseError, ValueError, TypeError, AttributeError, RecursionError):
                return None
            return Line(signal, request, _count(signal, request))
    return None


def _with_base64_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: base64.b64encode(bytes.fromhex(each)).decode() if key in _IDS else _with_base64_ids(each)
            for key, each in value.items()
        }
    return [_with_base64_ids(each) for each in value] if isinstance(value, list) else value


def _count(signal: Signal, request: Any) -> int:
    if signal == "traces":
        return sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)
    if signal == "logs":
        return sum(len(scope.log_records) for resource in request.resource_logs for scope in resource.scope_logs)
    return sum(
        len(getattr(metric, metric.WhichOneof("data")).data_points)
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.WhichOneof("data")
    )
