"""Items of a stream that are no texts: what is at the same place in each is one text, cut anywhere.

Or it is all that was said so far, each time longer, as partly parsed JSON gives it. Then what comes before its end may
stop in the middle of what is edited, and nothing of it may leave but what its end shows as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from ._flow import Flow
from ._leaves import Path, paths, with_leaves
from ._steps import Judge, Steps

__all__ = ["extends", "judged_items"]

_SURE = 3  # different texts, of which each begins with the one before: no text is cut like this by chance


def judged_items(flow: Flow, items: Sequence[Any]) -> Steps[list[Any]]:
    """All items of a stream as they may leave, in copies where a text changes.

    Raises:
        GuardrailViolation: if a guardrail stops the answer.
    """
    found = [paths(item) for item in items]
    places = dict.fromkeys(path for one in found for path, _ in one)
    told: dict[Path, Iterator[str]] = {}
    for place in places:
        parts = [text for one in found for path, text in one if path == place]
        told[place] = iter((yield from _judged(flow, parts)))
    return [with_leaves(item, [next(told[path]) for path, _ in one]) for item, one in zip(items, found, strict=True)]


def extends(before: Any, after: Any) -> bool:
    """Whether a value says all that another one says, and maybe more, text by text."""
    texts = dict(paths(after))
    return all(path in texts and texts[path].startswith(text) for path, text in paths(before))


def _judged(flow: Flow, parts: Sequence[str]) -> Steps[list[str]]:
    """The texts of one place. Nobody knows how they are meant, so what leaves is harmless either way."""
    runs = [(start, end) for start, end in _runs(parts) if len({*parts[start:end]} - {""}) > 1]
    if runs == [(0, len(parts))] and len({*parts} - {""}) >= _SURE:
        return (yield from _growing(flow, parts))
    told: list[str] = yield Judge(flow.guard, flow.release_parts(parts))
    if flow.acts:
        for start, end in runs:
            grown = yield from _growing(flow, parts[start:end])
            if grown == parts[start:end]:
                continue
            cut = told[start:end]
            together = [_common(one, other) for one, other in zip(grown, cut, strict=True)]
            told[start:end] = grown if cut == parts[start:end] else together
    return told


def _growing(flow: Flow, parts: Sequence[str]) -> Steps[list[str]]:
    (whole,) = yield Judge(flow.guard, flow.release([parts[-1]]))
    return list(parts) if whole == parts[-1] else [*(_common(part, whole) for part in parts[:-1]), whole]


def _runs(parts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Where texts lie of which each begins with the one before."""
    start = 0
    for index, (before, after) in enumerate(pairwise(parts), 1):
        if not after.startswith(before):
            yield start, index
            start = index
    yield start, len(parts)


def _common(one: str, other: str) -> str:
    """The beginning of both."""
    same = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:same]
