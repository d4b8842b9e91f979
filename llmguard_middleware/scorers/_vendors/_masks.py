"""Masks: where in a text a service put its placeholders, found by laying the masked text beside the original."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

__all__ = ["Mask", "applied", "joined", "masks"]

# `{EMAIL}` is what Bedrock writes; numbered and bracketed forms are in its documentation.
_MARK = r"[{{\[<]?{kind}(?:[-_ ]?\d+)?[}}\]>]?"


# What is adjacent and begins alike can be laid out in more ways than there is time for.
_MOST_TRIES: Final = 50_000


class Mask(NamedTuple):
    """A stretch of the original, what it is, and what stands for it."""

    start: int
    end: int
    kind: str
    mark: str


class _Path(NamedTuple):
    mask: Mask
    before: _Path | None


def masks(text: str, masked: str, found: Iterable[tuple[str, str]]) -> list[Mask] | None:
    """The masks that make `masked` of `text`, in order; None if none are found.

    Args:
        text: the original.
        masked: what the service made of it.
        found: (match, kind) of all that it says it masked.
    """
    named = {one for one in found if all(one)}
    found = sorted(named, key=lambda one: (len(one[0]), one))  # the last is tried first
    pairs = [(match, kind, re.compile(_MARK.format(kind=re.escape(kind)))) for match, kind in found]
    openings = re.compile("|".join(["[{\\[<]", *(re.escape(kind) for _, kind, _ in pairs)]))
    todo: list[tuple[int, int, _Path | None]] = [(0, 0, None)]
    seen: set[tuple[int, int]] = set()
    while todo and len(seen) < _MOST_TRIES:
        at, there, path = todo.pop()
        if (at, there) in seen:
            continue
        seen.add((at, there))
        opening = openings.search(masked, there)
        same = (opening.start() if opening else len(masked)) - there
        if text[at : at + same] != masked[there : there + same]:
            continue
        at, there = at + same, there + same
        if opening is None:
            if at == len(text):
                return _in_order(path)
            continue
        if text[at : at + 1] == masked[there]:  # looked at last: a placeholder that a user wrote
            todo.append((at + 1, there + 1, path))
        for match, kind, mark in pairs:
            if text.startswith(match, at) and (written := mark.match(masked, there)):
                mask = Mask(at, at + len(match), kind, written[0])
                todo.append((mask.end, written.end(), _Path(mask, path)))
    return None


def _in_order(path: _Path | None) -> list[Mask]:
    found = []
    while path is not None:
        found.append(path.mask)
        path = path.before
    return found[::-1]


def joined(found: Iterable[Mask]) -> list[Mask]:
    """Masks of pieces that overlap as masks of the whole: those that overlap become one, called by the first."""
    merged: list[Mask] = []
    for mask in sorted(found, key=lambda one: (one.start, -one.end)):
        if merged and mask.start < merged[-1].end:
            merged[-1] = merged[-1]._replace(end=max(merged[-1].end, mask.end))
        else:
            merged.append(mask)
    return merged


def applied(text: str, found: Sequence[Mask]) -> str:
    """The text with these masks, which are in order and do not overlap."""
    parts: list[str] = []
    at = 0
    for mask in found:
        parts += (text[at : mask.start], mask.mark)
        at = mask.end
    return "".join((*parts, text[at:]))
