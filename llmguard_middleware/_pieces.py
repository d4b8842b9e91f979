"""Long texts through inline scorers: in pieces, so that no event loop waits for one regular expression.

Python's `re` keeps the interpreter to itself until it is done, in whichever thread it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any

from ._packed import Packed
from ._score import Score, TextSpan, as_score

__all__ = ["PIECE", "in_pieces"]

PIECE = 16 * 1024  # characters: some milliseconds of a scorer that is worth running inline


def in_pieces(score: Callable[[str], Any], text: str, reach: int, scorer: Any, name: str) -> Generator[None, None, Any]:
    """What a local scorer says of the whole of `text`, looking at a piece at a time; yields between them.

    Whether a character belongs to a match is decided within `reach`, so each piece is looked at with twice that on
    either side and answers for its own characters; a span that leaves a piece is joined to the rest of it in the next.
    """
    reach = max(1, reach)  # what ends where a piece ends may go on
    spans: list[tuple[int, int, str]] = []
    scores: list[Score] = []
    begins: list[int] = []  # where each of the spans begins, as far as the pieces tell
    open_ends: list[int] = []  # which of the spans leave the piece before
    for start in range(0, len(text), PIECE):
        if start:
            yield
        end = min(start + PIECE, len(text))
        left = max(0, start - 2 * reach)
        found = as_score(score(text[left : end + 2 * reach]), name)
        if found.unscored:
            return found
        scores.append(replace(found, spans=()))
        leaving: list[int] = []
        for span in found.spans:
            first, last = span.start + left, span.end + left
            if last <= start or first >= end:
                continue
            rest_of = [one for one in open_ends if spans[one][2] == span.kind] if first < start else []
            if rest_of:
                which = next((one for one in rest_of if begins[one] == first), rest_of[0])
                begin, reached, kind = spans[which]
                spans[which] = (begin, max(reached, min(last, end)), kind)
            else:
                which = len(spans)
                spans.append((max(first, start), min(last, end), span.kind))
                begins.append(first)
            if last > end:
                leaving.append(which)
        open_ends = leaving
    joined = getattr(scorer, "joined", None)
    found_all = Packed(TextSpan, spans)
    return joined(found_all) if joined is not None else _joined(scores, found_all)


def _joined(scores: list[Score], spans: Sequence[TextSpan]) -> Score:
    """The first flagged score (or else the first), with the greatest value and all spans."""
    values = [score.value for score in scores if score.value is not None]
    first = next((score for score in scores if score.flagged), scores[0])
    return replace(first, value=max(values, default=None), spans=spans, flagged=any(s.flagged for s in scores))
