"""Edits of a text: what takes the place of what, composed on the offsets of the original."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from operator import itemgetter, le, lt
from typing import Any, NamedTuple, TypeVar

from ._actions import Operator, Redact, placeholder
from ._packed import Packed, rows
from ._score import TextSpan

__all__ = [
    "MAX_HOLD",
    "Edit",
    "Found",
    "apply",
    "cut",
    "decided",
    "edit_of",
    "merge",
    "merge_spans",
    "split",
    "swap",
    "united",
]

# Characters. Spans that overlap in a chain longer than this are redacted whatever their action: a stream cannot hold
# its text for ever to mask or hash it, and the whole text must become what the stream became.
MAX_HOLD = 16_384

_REDACT = Redact()


class Edit(NamedTuple):
    """Put `replacement` in the place of characters `start` (inclusive) to `end` (exclusive) of the original."""

    start: int
    end: int
    replacement: str
    reversible: bool = False


class Found(NamedTuple):
    """A span that a guardrail flagged, and what is to be done to it."""

    start: int
    end: int
    kind: str
    action: Operator = _REDACT


S = TypeVar("S", Found, TextSpan)


def edit_of(one: Found, text: str, pseudonyms: Any) -> Edit:
    """The edit of one merged span."""
    start, end, kind, action = one
    if end - start > MAX_HOLD:
        return Edit(start, end, placeholder(kind))
    return Edit(start, end, action.replacement(kind, text[start:end], pseudonyms), action.reversible)


def merge(found: Iterable[Found]) -> list[Found]:
    """Overlapping spans become one; touching ones stay apart.

    It is of the kind that starts first (of those, the longest), and the strictest action of all acts on it.
    """
    found = list(found)
    if _apart(found):
        return found
    merged: list[Found] = []
    for one in sorted(found, key=lambda f: (f.start, -f.end, f.kind, f.action.rank)):
        if merged and one.start < merged[-1].end:
            last = merged[-1]
            strictest = last.action if last.action.rank <= one.action.rank else one.action
            merged[-1] = last._replace(end=max(last.end, one.end), action=strictest)
        elif one.end > one.start:
            merged.append(one)
    return merged


def decided(spans_and_action: Sequence[tuple[Sequence[TextSpan], Operator]]) -> Iterator[Found]:
    """`merge` of what several guardrails found, each with what is to be done to it.

    Where there is nothing to merge, each is made when it is wanted: a hundred thousand live tuples cost a pause of the
    garbage collector, for which an event loop waits.
    """
    if len(spans_and_action) == 1 and _apart(spans_and_action[0][0]):
        ((spans, action),) = spans_and_action
        return (Found(start, end, kind, action) for start, end, kind in rows(spans))
    return iter(merge(Found(*span, action) for spans, action in spans_and_action for span in spans))


_START, _END = itemgetter(0), itemgetter(1)
_FEW = 100  # spans that are kept as what they are; more are packed


def _apart(spans: Sequence[tuple[Any, ...]]) -> bool:
    """Whether no span is empty and each ends before the next begins, as what one scorer found mostly is."""
    plain = rows(spans)
    starts, ends = list(map(_START, plain)), list(map(_END, plain))
    return all(map(lt, starts, ends)) and all(map(le, ends, islice(starts, 1, None)))


def merge_spans(spans: Iterable[tuple[int, int, str]]) -> Sequence[TextSpan]:
    """`merge` for spans that nobody has decided on yet, plain tuples or named ones."""
    plain = sorted(spans)
    if not plain:
        return ()
    if len(plain) == 1:
        start, end, kind = plain[0]
        return (TextSpan(start, end, kind),) if start < end else ()
    if not _apart(plain):
        plain = _merged(plain)
    return tuple(map(TextSpan._make, plain)) if len(plain) <= _FEW else Packed(TextSpan, map(tuple, plain))


def _merged(spans: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """The same as `merge`, of sorted spans; a text can be made of nothing but overlaps, so this is short."""
    merged: list[tuple[int, int, str]] = []
    begin, reached, longest, name = -1, -1, -1, ""
    for start, end, kind in spans:
        if start < reached:
            if start == begin and end > longest:
                longest, name = end, kind
            reached = max(reached, end)
        elif end > start:
            if reached > begin:
                merged.append((begin, reached, name))
            begin, reached, longest, name = start, end, end, kind
    if reached > begin:
        merged.append((begin, reached, name))
    return merged


def united(edits: Iterable[Edit]) -> list[Edit]:
    """Edits of one text that overlap become one, which puts in what the longest of them does."""
    made: list[Edit] = []
    longest = 0
    for edit in sorted(edits, key=lambda one: (one.start, -one.end)):
        size = edit.end - edit.start
        if not made or edit.start >= made[-1].end:
            made.append(edit)
            longest = size
            continue
        last = made[-1]
        if size > longest:
            last, longest = last._replace(replacement=edit.replacement, reversible=edit.reversible), size
        made[-1] = last._replace(end=max(last.end, edit.end))
    return made


def cut(parts: Sequence[str], edits: Sequence[Edit]) -> list[str]:
    """The parts of a text with ordered, non-overlapping `edits` of the whole made.

    What an edit puts in is in the part where it starts; what it takes out may lie in several.
    """
    return [apply(part, own) for part, own in zip(parts, split(parts, edits), strict=True)]


def split(parts: Sequence[str], edits: Sequence[Edit], between: int = 0) -> list[list[Edit]]:
    """What ordered `edits` of a text come to in each of its parts.

    Args:
        parts: of the text.
        edits: of it, in order, none over another.
        between: how many characters stand between two parts. An edit that starts there puts in what it does in the next
            part.
    """
    by_part: list[list[Edit]] = []
    start = first = 0  # of the edits that may touch what comes
    for part in parts:
        end = start + len(part)
        own: list[Edit] = []
        at = first
        while at < len(edits) and edits[at].start < end:
            edit = edits[at]
            if edit.end > start:
                said = edit.replacement if edit.start >= start - between else ""
                own.append(Edit(max(edit.start, start) - start, min(edit.end, end) - start, said))
            at += 1
        by_part.append(own)
        start = end + between
        while first < len(edits) and edits[first].end <= start:
            first += 1
    return by_part


def swap(text: str, by: Mapping[str, str]) -> str:
    """`text` with each word of `by` replaced, in one pass: what is put in is not looked at again."""
    if not by:
        return text
    either = "|".join(re.escape(word) for word in sorted(by, key=len, reverse=True))  # or the short cut the long
    return re.sub(either, lambda match: by[match[0]], text)


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
