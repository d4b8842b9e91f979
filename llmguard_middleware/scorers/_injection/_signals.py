"""Signals of an attempt to override instructions, each with a weight: 1 is enough alone, others only together.

The families are those of the public collections of jailbreaks and of indirect injections (OWASP LLM01, AgentDojo,
BIPIA), in English and Korean. Phrases are written for outlines (see `_phrase.phrases`), marks for texts in lower
case.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final, NamedTuple

from ._direct import DIRECT
from ._indirect import INDIRECT
from ._korean import KOREAN_PHRASES
from ._outline import letter_of
from ._phrase import Phrase

__all__ = ["PHRASES", "phrases_for"]

PHRASES: Final = (*DIRECT, *INDIRECT, *KOREAN_PHRASES)
# Words that texts are full of, the most common first: no phrase is looked for on their account if another will do.
_COMMON: Final = (
    "the a to and is of in for this that with from be on as it by an are if not 2 can you when will at so "
    "use all only one list i no any have but see model set request my new was user text data like code "
    "get your content each please may should they first do what me before then without given need would "
    "output instead message must print "
)
_RANKED: Final = _COMMON.split()
_OFTEN: Final = {letter_of(word): 1 - place / len(_RANKED) for place, word in reversed(list(enumerate(_RANKED)))}


_RAREST: Final = 4  # words of a phrase that are looked at before it is looked for


class _Row(NamedTuple):
    first: int
    second: int
    third: int
    fourth: int


def _how_often(letters: frozenset[str]) -> tuple[float, int]:
    """How often a text has one of them, more or less."""
    return sum(_OFTEN.get(letter, 0.0) for letter in letters), len(letters)


def _rows(phrases: Sequence[Phrase]) -> tuple[dict[str, _Row], _Row]:
    """For each letter four sets of phrases, those that it satisfies the rarest, second, ... word of; and what needs none.

    A set of phrases is a number with a bit for each: phrases are chosen for a text in a few microseconds.
    """
    rows: dict[str, list[int]] = defaultdict(lambda: [0] * _RAREST)
    without = [0] * _RAREST
    for number, phrase in enumerate(phrases):
        rarest = sorted(phrase.needed, key=_how_often)[:_RAREST]
        for place, letters in enumerate(rarest):
            for letter in letters:
                rows[letter][place] |= 1 << number
        for place in range(len(rarest), _RAREST):
            without[place] |= 1 << number
    return {letter: _Row(*row) for letter, row in rows.items()}, _Row(*without)


_ROWS, _WITHOUT = _rows(PHRASES)


def phrases_for(present: frozenset[str]) -> list[Phrase]:
    """The phrases that may be in an outline of these letters."""
    first, second, third, fourth = _WITHOUT
    for row in filter(None, map(_ROWS.get, present)):
        first |= row[0]
        second |= row[1]
        third |= row[2]
        fourth |= row[3]
    left, chosen = first & second & third & fourth, []
    while left:
        lowest = left & -left
        chosen.append(PHRASES[lowest.bit_length() - 1])
        left ^= lowest
    return chosen
