"""Stretches of one text that stand in another, whatever the case and the signs between the letters."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from .._lower import lower

__all__ = ["GAP", "shared"]

GAP: Final = 4  # characters between two words; more end a stretch
_MOST: Final = 50_000  # characters of a prompt that are looked at
_WORD: Final = re.compile(r"[^\W_]+")
_BREAK: Final = "\0"


class _View:
    """The letters and digits of a text; what is no ASCII counts twice, as a Korean syllable says more than a letter."""

    def __init__(self, text: str) -> None:
        pieces: list[str] = []
        self._at: list[int] = []  # where each word starts here, ...
        self._words: list[tuple[int, str]] = []  # ... and in the text
        size = end = 0
        for match in _WORD.finditer(lower(text)):
            word = match[0]
            if pieces and match.start() - end > GAP:
                pieces.append(_BREAK)
                size += 1
            end = match.end()
            self._at.append(size)
            self._words.append((match.start(), word))
            if not word.isascii():
                word = "".join(one if one.isascii() else one + one for one in word)
            pieces.append(word)
            size += len(word)
        self.letters = "".join(pieces)

    def place(self, at: int) -> int:
        """Which character of the text this one of the letters is."""
        which = bisect_right(self._at, at) - 1
        start, word = self._words[which]
        rest = at - self._at[which]
        if word.isascii():
            return start + rest
        for index, one in enumerate(word):
            rest -= 1 if one.isascii() else 2
            if rest < 0:
                return start + index
        return start + len(word) - 1


@lru_cache(maxsize=16)
def _shingles(prompt: str, least: int) -> tuple[frozenset[str], frozenset[str]]:
    """All stretches of the prompt of `least` letters, and of half as many."""
    letters = _View(prompt[:_MOST]).letters
    return _stretches(letters, least), _stretches(letters, least // 2)


def _stretches(letters: str, size: int) -> frozenset[str]:
    return frozenset(letters[at : at + size] for at in range(len(letters) - size + 1))


def shared(text: str, prompt: str, least: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each stretch of at least so many letters that stands in `prompt`, too; they may overlap."""
    stretches, halves = _shingles(prompt, least)
    if not stretches:
        return
    view = _View(text)
    letters, half = view.letters, least // 2
    done = 0
    # A stretch holds one of these halves, wherever they begin.
    for at in range(0, len(letters) - half + 1, half):
        if letters[at : at + half] in halves:
            for start in range(max(done, at - half), min(at + 1, len(letters) - least + 1)):
                stretch = letters[start : start + least]
                if stretch in stretches and _BREAK not in stretch:
                    yield view.place(start), view.place(start + least - 1) + 1
            done = at + 1
