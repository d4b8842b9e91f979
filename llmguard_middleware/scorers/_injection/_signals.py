"""Signals of an attempt to override instructions, each with a weight: 1 is enough alone, others only together.

The families are those of the public collections of jailbreaks and of indirect injections (OWASP LLM01, AgentDojo,
BIPIA), in English and Korean. Phrases are written for outlines (see `_phrase.phrases`), marks for texts in lower
case.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

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


def _how_often(letters: frozenset[str]) -> tuple[float, int]:
    """How often a text has one of them, more or less."""
    return sum(_OFTEN.get(letter, 0.0) for letter in letters), len(letters)


def _by_rarest(phrases: Iterable[Phrase]) -> tuple[dict[str, int], dict[str, list[tuple[int, tuple[int, ...]]]]]:
    """A bit for each letter; for each letter the phrases of whose words it stands for the rarest, and the other words.

    Sets of letters are numbers here: a phrase is chosen or not in less than a microsecond.
    """
    bits: dict[str, int] = {}
    found: dict[str, list[tuple[int, tuple[int, ...]]]] = defaultdict(list)
    for number, phrase in enumerate(phrases):
        rarest, *others = sorted(phrase.needed, key=_how_often)
        masks = tuple(sum(bits.setdefault(letter, 1 << len(bits)) for letter in letters) for letters in others)
        for letter in rarest:
            found[letter].append((number, masks))
    return bits, dict(found)


_BITS, _BY_LETTER = _by_rarest(PHRASES)


def phrases_for(present: frozenset[str]) -> list[Phrase]:
    """The phrases that may be in an outline of these letters."""
    bits = 0
    for letter in present:
        bits |= _BITS.get(letter, 0)
    chosen: set[int] = set()
    for letter in present:
        for number, masks in _BY_LETTER.get(letter, ()):
            for mask in masks:
                if not bits & mask:
                    break
            else:
                chosen.add(number)
    return [PHRASES[number] for number in sorted(chosen)]
