"""Ledger: what guardrails took out of the texts of one run, so that no content of it shows them elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from opentelemetry import context as otel
from opentelemetry.context import Context

from ._plain import clean, each

__all__ = ["KEY", "Ledger", "ledger_in"]

KEY = otel.create_key("llmguard-content")

_MOST = 2000  # passages; a run with more shows no content
_LONGEST = 1 << 20  # characters of all of them
_FEW = 32  # passages that are looked for one by one
_ANCHOR = 4  # characters by which one of many is found
_OVERLAP = 256  # characters in which two may overlap


class Ledger:
    """Shared by the calls of one run, of whichever guards, through the OpenTelemetry context.

    Attributes:
        wanted: whether any guard of this process captures content.
        closed: whether no content may be told any more: a call was stopped, or a text could not be judged.
    """

    wanted: ClassVar[bool] = False

    def __init__(self) -> None:
        self.closed = False
        self._taken: dict[str, str] = {}
        self._length = 0

    def close(self) -> None:
        """Tell no content of this run from now on."""
        self.closed = True
        self._taken = {}

    def take(self, passages: Iterable[tuple[str, str]]) -> None:
        """These passages were taken out, and these put in their place."""
        taken = self._taken  # changed in place: several threads may do so at once
        for passage, instead in passages:
            if self.closed:
                return
            if passage and passage != instead and passage not in taken:
                for told in _written(passage):
                    taken[told] = instead
                    self._length += len(told)
                if len(taken) >= _MOST or self._length > _LONGEST:
                    self.close()
                    return

    def without(self, text: str) -> str:
        """The text without them."""
        taken = self._taken
        if not taken:
            return text
        told: list[str] = []
        done = 0
        for start, end, passage in _apart(sorted(_found(text, list(taken)), key=_first_and_longest)):
            told += text[done:start], taken.get(passage, "…")
            done = end
        return "".join((*told, text[done:])) if told else text

    def outside(self, tree: Any) -> Any:
        """A tree of plain values without them, numbers that are one of them too."""
        return each(tree, self.without, self._number)

    def _number(self, number: Any) -> Any:
        return self._taken.get(str(number), number)

    @property
    def empty(self) -> bool:
        """Whether nothing was taken out so far."""
        return not self._taken


def _written(passage: str) -> set[str]:
    """A passage as it may stand elsewhere: itself, or inside of JSON that is a text."""
    forms = {passage, clean(passage)}
    return forms | {json.dumps(one, ensure_ascii=ascii_)[1:-1] for one in forms for ascii_ in (False, True)}


_Place = tuple[int, int, str]


def _first_and_longest(place: _Place) -> tuple[int, int]:
    return place[0], -place[1]


def _found(text: str, passages: list[str]) -> Iterator[_Place]:
    """Where these passages are, in time that grows with the text and hardly with their number."""
    if len(passages) <= _FEW:
        for passage in passages:
            step = max(1, len(passage) - _OVERLAP)  # or a long one that repeats itself would take for ever
            at = text.find(passage)
            while at >= 0:
                yield at, at + len(passage), passage
                at = text.find(passage, at + step)
        return
    known, anchors = set(passages), _anchors(passages)
    sizes = sorted({len(anchor) for anchor in anchors})
    upto = 0
    for at in range(len(text)):
        longest = 0
        for size in sizes:
            for length in anchors.get(text[at : at + size], ()):
                if length > longest and at + length > upto and text[at : at + length] in known:
                    longest = length
                    break
        if longest:
            upto = at + longest
            yield at, upto, text[at:upto]


def _anchors(passages: list[str]) -> Mapping[str, list[int]]:
    """How long the passages are that begin so, the longest first."""
    lengths: dict[str, set[int]] = {}
    for passage in passages:
        lengths.setdefault(passage[:_ANCHOR], set()).add(len(passage))
    return {anchor: sorted(found, reverse=True) for anchor, found in lengths.items()}


def _apart(places: Iterable[_Place]) -> Iterator[_Place]:
    """Places that overlap as one, in place of which stands what stands for the first."""
    last: _Place | None = None
    for place in places:
        if last is not None and place[0] < last[1]:
            last = last[0], max(last[1], place[1]), last[2]
            continue
        if last is not None:
            yield last
        last = place
    if last is not None:
        yield last


def ledger_in(context: Context | None) -> Ledger | None:
    """The one of the run that this context is of; None if nobody captures its content."""
    found: Any = otel.get_value(KEY, context)
    return found if isinstance(found, Ledger) else None
