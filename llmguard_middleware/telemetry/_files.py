"""Reading OTLP JSON lines back: the files that `configure(file=...)` writes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError

__all__ = ["StoredRecord", "StoredSpan", "files_of", "read_records", "read_spans"]


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
    time: int = 0
    """Nanoseconds since the epoch."""


def files_of(paths: Iterable[Path]) -> list[Path]:
    """These files, and those of JSON lines in these folders, in the order of their names.

    Raises:
        ConfigurationError: if a path does not exist, or a folder holds no such file.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted(each for each in path.rglob("*.jsonl") if each.is_file())
            if not found:
                msg = f'there is no file of JSON lines (*.jsonl) in the folder "{path}"'
                raise ConfigurationError(msg)
            files += found
        elif path.is_file():
            files.append(path)
        else:
            msg = f'there is no file or folder "{path}"; configure(file=...) writes one'
            raise ConfigurationError(msg)
    return list(dict.fromkeys(files))


def read_spans(paths: Iterable[Path]) -> Iterator[StoredSpan]:
    """Every span of these files, in the order written; a torn last line is left out."""
    for span in _items(paths, "resourceSpans", "scopeSpans", "spans"):
        with suppress(*_FOREIGN):
            status = span.get("status", {})
            yield StoredSpan(
                str(span["traceId"]),
                str(span["spanId"]),
                str(span.get("parentSpanId", "")),
                str(span["name"]),
                _time(span.get("startTimeUnixNano", 0)),
                _time(span.get("endTimeUnixNano", 0)),
                _attributes(span),
                status.get("code") in (2, "STATUS_CODE_ERROR"),
                str(status.get("message", "")),
            )


def read_records(paths: Iterable[Path]) -> Iterator[StoredRecord]:
    """Every log record of these files, in the order written; a torn last line is left out."""
    for record in _items(paths, "resourceLogs", "scopeLogs", "logRecords"):
        with suppress(*_FOREIGN):
            yield StoredRecord(
                str(record.get("eventName", "")),
                str(record.get("traceId", "")),
                str(record.get("spanId", "")),
                _attributes(record),
                _time(record.get("timeUnixNano", 0) or record.get("observedTimeUnixNano", 0)),
            )


# What it raises to read something as OTLP that is no OTLP.
_FOREIGN = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)


def _time(nanoseconds: Any) -> int:
    time = int(nanoseconds)
    if not 0 <= time < 1 << 63:
        raise ValueError
    return time


def _items(paths: Iterable[Path], resources: str, scopes: str, items: str) -> Iterator[dict[str, Any]]:
    for path in paths:
        for batch in _batches(path):
            for resource in _inside(batch, resources):
                for scope in _inside(resource, scopes):
                    yield from _inside(scope, items)


def _inside(outer: dict[str, Any], key: str) -> list[dict[str, Any]]:
    inner = outer.get(key)
    return [one for one in inner if isinstance(one, dict)] if isinstance(inner, list) else []


def _batches(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            try:
                batch = json.loads(line)
            except (ValueError, RecursionError):
                continue  # the process was killed while it wrote this line, or it is none of ours
            if isinstance(batch, dict):
                yield batch


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
