"""Edits of a text: what redaction puts where, composed on the offsets of the original."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

from ._score import TextSpan

__all__ = ["Edit", "apply", "merge", "placeholder", "redact"]


class Edit(NamedTuple):
    """Put `replacement` in the place of characters `start` (inclusive) to `end` (exclusive) of the original."""

    start: int
    end: int
    replacement: str


@cache
def placeholder(kind: str) -> str:
    """What stands in the place of a redacted span of this kind: presidio-anonymizer's `<KIND>`."""
    from presidio_anonymizer.operators import Replace  # noqa: PLC0415 - 65 ms that only guards that redact should pay

    return str(Replace().operate("", {"entity_type": kind}))


def merge(spans: Iterable[TextSpan]) -> list[TextSpan]:
    """Overlapping spans become one, of the kind that starts first (the longest of those); touching ones stay apart."""
    merged: list[TextSpan] = []
    for span in sorted(spans, key=lambda s: (s.start, -s.end, s.kind)):
        if merged and span.start < merged[-1].end:
            last = merged[-1]
            merged[-1] = last._replace(end=max(last.end, span.end))
        elif span.end > span.start:
            merged.append(span)
    return merged


def redact(spans: Iterable[TextSpan]) -> tuple[Edit, ...]:
    """The edits that redact these spans, in order and without overlap."""
    return tuple(Edit(span.start, span.end, placeholder(span.kind)) for span in merge(spans))


def apply(text: str, edits: Sequence[Edit]) -> str:
    """`text` with ordered, non-overlapping `edits` made."""
    if not edits:
        return text
    pieces: list[str] = []
    at = 0
    for edit in edits:
        pieces += (text[at : edit.start], edit.replacement)
        at = edit.end
    pieces.append(text[at:])
    return "".join(pieces)
