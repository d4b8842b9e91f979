"""A text as detectors look at it: look-alike characters as plain ones, invisible ones left out, places kept."""

from __future__ import annotations

import re
import string
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator

from .._lower import lower
from ._once import once

__all__ = ["INVISIBLE", "Sight"]

# Zero-width spaces and joiners, directional marks, soft hyphens, variation selectors, tags, Hangul fillers.
INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\U000e0000-\U000e01ef"
)
_DASHES = "\u058a\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212\u2e3a\u2e3b\u30fc\ufe58\ufe63\uff0d\u3161"
_SPACES = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_DOTS = "\u00b7\u2024\u2027\u2219\u22c5\u30fb\u318d\uff0e\uff65\u3002\uff61"
_FULL_WIDTH = "\uff01-\uff5e"


_PLAIN = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_PLAIN |= {ord(dash): "-" for dash in _DASHES}
_PLAIN |= {ord(dot): "." for dot in _DOTS}
_PLAIN |= dict.fromkeys((0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000), " ")

_DIGIT = r"(?![0-9])\d"  # of another script: Arabic-Indic, full-width, mathematical, ...
_FOREIGN = re.compile(_DIGIT)
_ODD = re.compile(f"[{_FULL_WIDTH}{re.escape(_DASHES)}{_DOTS}{_SPACES}{INVISIBLE}]|{_DIGIT}")
# What almost all texts are made of, letters of three scripts and quotation marks; the rest is looked at more closely.
_COMMON = re.compile("[^\x00-\x7f\u00c0-\u02ff\u0370-\u052f\u2018-\u201f\u3131-\u3160\u3162\u3163\uac00-\ud7a3]")
_UNSEEN = re.compile(f"[{INVISIBLE}]+")

_SHAPES = bytes.maketrans(
    f"{string.digits}{string.ascii_uppercase}{string.ascii_lowercase}".encode(), b"0" * 10 + b"A" * 26 + b"a" * 26
)
# By shape, where a number may start: a digit after none (the look-behind comes second, since one character is quickly
# looked for). Then at least five more, with at most three separators between.
_RUN = re.compile(r"0(?<!00)(?=(?:[ ./()\-]{0,3}0){5})(0*)(?:[ ./()\-]{1,3}0+)*")
_LEAST = 7  # digits that any kind of number has
_MOST = 60  # characters in which as many digits are as any kind needs


def _digit(match: re.Match[str]) -> str:
    return str(unicodedata.decimal(match[0]))


def _seen(given: str) -> tuple[list[int], str]:
    """The places of what is seen in a text, and that."""
    kept: list[int] = []
    seen: list[str] = []
    at = 0
    for unseen in _UNSEEN.finditer(given):
        kept += range(at, unseen.start())
        seen.append(given[at : unseen.start()])
        at = unseen.end()
    kept += range(at, len(given))
    seen.append(given[at:])
    return kept, "".join(seen)


class Sight:
    """`text` is what detectors look at; `places` gives back where that is in the text that was given."""

    def __init__(self, given: str) -> None:
        self.kept: list[int] | None = None
        self.ascii = given.isascii()
        other = None if self.ascii else _COMMON.search(given)
        if other is not None and _ODD.search(given, other.start()):
            if _UNSEEN.search(given):
                self.kept, given = _seen(given)
            given = _FOREIGN.sub(_digit, given).translate(_PLAIN)  # one character for one
        self.text = given
        # What was said of words (see `_context`): before the last place where the nearest of each kind is, how many
        # were asked about, and once they are many, all words.
        self.told: tuple[int, dict[str, int]] = (-1, {})
        self.asked = 0
        self.says_anything = True  # until it is known that there are none
        self.words: tuple[list[int], list[tuple[int, int, frozenset[str]]]] | None = None

    @once
    def lower(self) -> str:
        """The text in small letters, each in its place."""
        return lower(self.text)

    @once
    def shape(self) -> str:
        """The text with 0 for each digit and A and a for the letters of ASCII, each in its place.

        One character is looked for at a fifth of what a class of them takes.
        """
        return self.text.encode("latin-1", "replace").translate(_SHAPES).decode("latin-1")

    def runs(self) -> Iterator[tuple[int, int, int, int]]:
        """Runs of at least seven digits, separated or not.

        Where each starts and stops, how many digits its first group has, and how many there are in all, or as many as
        any kind of number needs.
        """
        for run in _RUN.finditer(self.shape):
            start, stop = run.span()
            if stop - start >= _LEAST:
                size = run.end(1) - start
                if start + size < stop:
                    rest = size + run[0].count("0", size, size + _MOST)
                    if rest >= _LEAST:
                        yield start, stop, size, rest
                else:
                    yield start, stop, size, size

    def behind(self, start: int, most: int) -> int:
        """Where in `text` that begins which is at most so many characters of the given text before a place."""
        if self.kept is None or not start:
            return max(0, start - most)
        return bisect_left(self.kept, self.kept[min(start, len(self.kept) - 1)] - most)

    def places(self, start: int, end: int) -> tuple[int, int]:
        """Where a stretch of `text` is in the text that was given."""
        if self.kept is None:
            return start, end
        return self.kept[start], self.kept[end - 1] + 1
