"""Runs of characters that end at a sign or after so many, and what begins in them: each character is looked at once.

A text can be made of nothing but the beginnings of URLs, or of words for passwords, which all run on to the same end.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

__all__ = ["Run", "Span", "covered"]

Span = tuple[int, int]


class Run:
    """Where runs end in one text, wherever they start."""

    def __init__(self, text: str, stops: re.Pattern[str], most: int) -> None:
        self._text, self._stops, self._most = text, stops, most
        self._begin = self._clear = 0  # in between there is no stop
        self._stopped = False  # whether there is one where that ends

    def end(self, start: int) -> int:
        """Where a run that starts here meets a stop, or has as many characters as it may have."""
        limit = min(start + self._most, len(self._text))
        if start > self._clear:
            self._begin = self._clear = start
            self._stopped = False
        elif start < self._begin:
            stop = self._stops.search(self._text, start, self._begin)
            if stop is not None:
                return min(stop.start(), limit)
            self._begin = start
        if self._clear < limit and not self._stopped:
            stop = self._stops.search(self._text, self._clear, limit)
            self._stopped = stop is not None
            self._clear = limit if stop is None else stop.start()
        return min(self._clear, limit)


def covered(
    starts: Sequence[int],
    bad: Callable[[int], Span | None],
    most: Callable[[int], int],
    *,
    steady: bool = True,
    ahead: int = 0,
) -> Iterator[Span]:
    """Spans of bad starts that hold all characters that any does, without asking of each start whether it is bad.

    `bad` says so, with its span; `most` where that ends at the latest, which is never before that of an earlier start
    if it is `steady`. What begins within a span and cannot reach beyond adds nothing to it. A span may begin so many
    characters `ahead` of its start.
    """
    at, count = 0, len(starts)
    while at < count:
        span = bad(starts[at])
        at += 1
        while span is not None:
            yield span
            reached, span = span[1], None
            within = max(at, bisect_left(starts, reached - ahead))
            for one in range(within - 1, at - 1, -1):  # the last reaches furthest
                if most(starts[one]) <= reached:
                    if steady:
                        break
                elif (inner := bad(starts[one])) is not None and inner[1] > reached:
                    span = inner
                    break
            at = within
