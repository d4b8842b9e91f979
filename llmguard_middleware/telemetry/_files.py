"""Reading OTLP JSON lines back: the files that `configure(file=...)` writes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["StoredRecord", "StoredSpan", "read_records", "read_spans"]


@dataclass(frozen=True)
class StoredSpan:
    """One span as stored; ids are hex, `parent_id` is empty for a root, times are nanoseconds since the epoch."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    started: int
    ended: int
    attributes: Mapping[str, Any]
    failed: bool
    status: str


@dataclass(frozen=True)
class StoredRecord:
    """One log record as stored."""

    event_name: str
    trace_id: str
    span_id: str
    attributes: Mapping[str, Any]


def read_spans(paths: Iterable[Path]) -> Iterator[StoredSpan]:
    """Every span of these files, in the order written; a torn last line is left out."""
    for span in _items(paths, "resourceSpans", "scopeSpans", "spans"):
        status = span.get("status", {})
        yield StoredSpan(
            span["traceId"],
            span["spanId"],
            span.get("parentSpanId", ""),
            span["name"],
            int(span.get("startTimeUnixNano", 0)),
            int(span.get("endTimeUnixNano", 0)),
            _attributes(span),
            status.get("code") in (2, "STATUS_CODE_ERROR"),
            status.get("message", ""),
        )


def read_records(paths: Iterable[Path]) -> Iterator[StoredRecord]:
    """Every log record of these files, in the order written; a torn last line is left out."""
    for record in _items(paths, "resourceLogs", "scopeLogs", "logRecords"):
        yield StoredRecord(
            record.get("eventName", ""), record.get("traceId", ""), record.get("spanId", ""), _attributes(record)
        )


def _items(paths: Iterable[Path], resources: str, scopes: str, items: str) -> Iterator[dict[str, Any]]:
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                batch = json.loads(line)
            except ValueError:
                continue  # the process was killed while it wrote this line
            for resource in batch.get(resources, ()):
                for scope in resource.get(scopes, ()):
                    yield from scope.get(items, ())


def _attributes(item: Mapping[str, Any]) -> dict[str, Any]:
    return {pair["key"]: _value(pair["value"]) for pair in item.get("attributes", ())}


def _value(value: Mapping[str, Any]) -> Any:
    """An OTLP AnyValue (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding) as a Python value."""
    for kind, read in _READ.items():
        if kind in value:
            return read(value[kind])
    return None


_READ: dict[str, Any] = {
    "stringValue": str,
    "boolValue": bool,
    "intValue": int,
    "doubleValue": float,
    "arrayValue": lambda array: [_value(item) for item in array.get("values", ())],
}
