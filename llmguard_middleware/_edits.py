"""Edits of a text: what redaction puts where, composed on the offsets of the original."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from ._score import TextSpan

__all__ = ["Edit", "apply", "merge", "placeholder", "redact", "texts_in", "with_texts"]


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


def texts_in(value: Any) -> list[str]:
    """Every text in `value`, however deep, as `with_texts` finds them."""
    found: list[str] = []

    def keep(text: str) -> str:
        found.append(text)
        return text

    with_texts(value, keep)
    return found


def with_texts(value: Any, edit: Callable[[str], str]) -> Any:
    """`value` with `edit` made to every text in it, however deep.

    Numbers and None are as they were. An object is taken by its fields (`model_dump()`), or else, since nobody can tell
    which texts it holds, replaced by the name of its type.
    """
    if isinstance(value, str):
        return edit(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {key: with_texts(item, edit) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [with_texts(item, edit) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if callable(dump := getattr(value, "model_dump", None)):
        return with_texts(dump(), edit)
    return f"<{type(value).__name__}>"


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
