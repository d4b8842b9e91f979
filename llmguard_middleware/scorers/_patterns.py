"""What the local pattern scorers share: kinds of text found by a pattern, a trigger that makes looking cheap, a check.

A kind's matches must be decided by the characters around them alone, never by what else was matched before: then a
stream can be scanned through a window and find exactly what a scan of the whole finds (see `_stream.Window`). So
candidates may overlap (a look-ahead finds one at every start) and the spans are merged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final, Generic, Protocol, TypeVar

from .._edits import merge_spans
from .._packed import rows
from .._score import Score, TextSpan
from .._scorer import Scorer
from ..errors import ConfigurationError, nearest

__all__ = ["Kind", "PatternScorer", "Patterns", "Span", "matches", "select"]

Find = Callable[[str], Iterator[tuple[int, int]]]
Span = tuple[int, int, str]
"""A `TextSpan` before it is one: many are found, and fewer are left when they are merged."""

_KIND: Final = itemgetter(2)


@dataclass(frozen=True)
class Kind:
    """One kind of text: `find` yields (start, end) of each; `reach` is the longest match with its look-around."""

    name: str
    find: Find
    reach: int


def matches(pattern: str, *, trigger: str = "", length: Callable[[str], int | None] | None = None) -> Find:
    """A finder of `pattern` at every start; `trigger` is a text without which there is no match.

    `length` may shorten a candidate (return how many characters count) or turn it down (None).
    """
    compiled = re.compile(f"(?=({pattern}))")

    def find(text: str) -> Iterator[tuple[int, int]]:
        if trigger and trigger not in text:
            return
        for match in compiled.finditer(text):
            size: int | None = len(match[1])
            if length is not None:
                size = length(match[1])
            if size:
                yield match.start(), match.start() + size

    return find


class Named(Protocol):
    """Whatever kind of text a scorer knows."""

    @property
    def name(self) -> str:
        """How scores and settings call it."""


K = TypeVar("K", bound=Named)


class PatternScorer(Scorer, Generic[K]):
    """Flags texts that hold any of `kinds`; value is how many spans, label the kinds found."""

    cheap = True

    def __init__(self, name: str, kinds: Sequence[K], reach: int) -> None:
        super().__init__(name=name)
        self._kinds = tuple(kinds)
        self.options = ",".join(kind.name for kind in self._kinds)
        self.reach = reach

    def found(self, text: str) -> Iterable[Span]:
        """Each match, in any order; they may overlap."""
        raise NotImplementedError

    def score(self, text: str) -> Score:
        """The spans found in `text`, in order, without overlap."""
        return self.joined(merge_spans(self.found(text)))

    def joined(self, spans: Sequence[TextSpan]) -> Score:
        """The score of a text with these spans, in order and without overlap."""
        if not spans:
            return Score(value=0.0)
        label = ",".join(sorted(set(map(_KIND, rows(spans)))))
        return Score(value=float(len(spans)), flagged=True, label=label, spans=spans)


class Patterns(PatternScorer[Kind]):
    """A scorer of kinds that are found one by one, each in the whole text."""

    behind = 1  # characters that the look-behind of a pattern sees

    def __init__(self, name: str, kinds: Sequence[Kind], open_tail: str) -> None:
        super().__init__(name, kinds, max(kind.reach for kind in kinds))
        self._open_tail = re.compile(f"(?:{open_tail})\\Z")

    def found(self, text: str) -> Iterable[Span]:
        """Each match of each kind."""
        return ((start, end, kind.name) for kind in self._kinds for start, end in kind.find(text))

    def open_tail(self, text: str) -> int:
        """How many characters at the end of `text` may belong to a match that is not complete yet (at most `reach`)."""
        assert self.reach is not None
        start = max(0, len(text) - self.reach)
        match = self._open_tail.search(text, start)
        return len(text) - match.start() if match else 0


def select(kinds: Iterable[K], wanted: Sequence[object], scorer: str) -> list[K]:
    """The kinds called `wanted`; all of them if none is named.

    Raises:
        ConfigurationError: if there is no such kind.
    """
    known = {kind.name: kind for kind in kinds}
    for name in wanted:
        if not isinstance(name, str) or name not in known:
            msg = f"{scorer}() knows no kind {json.dumps(name, default=str)}: {nearest(str(name), known)}"
            raise ConfigurationError(msg)
    return [known[str(name)] for name in wanted] or list(known.values())
