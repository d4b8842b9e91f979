"""All signals of a capture at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from llmguard_middleware.testing import CapturedPoint, CapturedRecord, CapturedSpan

from ._points import check_point
from ._records import check_record
from ._spans import check_span

__all__ = ["violations"]


def violations(
    spans: Iterable[CapturedSpan] = (), records: Iterable[CapturedRecord] = (), points: Iterable[CapturedPoint] = ()
) -> list[str]:
    """Every violation, once, as a sentence that names the span, the event or the metric."""
    found = [
        *_all(spans, check_span, "span", "name"),
        *_all(records, check_record, "record", "event_name"),
        *_all(points, check_point, "metric", "metric"),
    ]
    return sorted(set(found))


def _all(items: Iterable[Any], check: Any, what: str, name: str) -> Iterator[str]:
    seen: set[str] = set()
    for item in items:
        # A test of load emits the same thing a thousand times over.
        key = f"{getattr(item, name)}|{getattr(item, 'kind', '')}|{getattr(item, 'status', '')}|{item.attributes}"
        if key not in seen:
            seen.add(key)
            yield from (f'{what} "{getattr(item, name)}": {wrong}' for wrong in check(item))
