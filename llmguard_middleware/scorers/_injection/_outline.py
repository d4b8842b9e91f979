"""The outline of a text: one letter for each word, the same for all words that stand for the same.

Phrases are looked for there, and not in the text: an outline has a sixth of its length, an ordinary word is one dot,
and whichever words a phrase is made of, it is one short pattern.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from itertools import repeat
from typing import Final

from ._words import ENGLISH
from ._words_ko import KOREAN

__all__ = ["BYTE", "SINGLE", "Outline", "is_known", "letter_of", "letters_of"]

BREAK: Final = "|"
_SOFT, _COLON, _PLAIN = "/", ":", "."
_MARKS = {"\n\n": BREAK, "\n": _SOFT, ":": _COLON, "<!--": "«", "-->": "»"}
_BRANCHES: Final = 30
_FIRST_LETTER = 0x4E00  # a block of letters that no pattern gives a meaning


def _vocabulary() -> tuple[dict[str, str], dict[str, str]]:
    """Each word's letter, and each meaning's letters: words of the same meanings share theirs."""
    meanings: dict[str, set[str]] = defaultdict(set)
    for kinds in (ENGLISH, KOREAN):
        for meaning, words in kinds.items():
            for word in words.split():
                meanings[word].add(meaning)
    # "해제하" is "해제" too, but the longer stem is the one that is found; what only begins like a stem is listed.
    for word in {word for meaning, words in KOREAN.items() if meaning != "nothing" for word in words.split()}:
        meanings[word].update(*(meanings.get(word[:end], ()) for end in range(2, len(word))))
    letters: dict[frozenset[str], str] = {}
    of_word = {
        word: letters.setdefault(frozenset(kinds), chr(_FIRST_LETTER + len(letters)))
        for word, kinds in meanings.items()
    }
    of_meaning: dict[str, str] = defaultdict(str)
    for group, letter in letters.items():
        for meaning in group:
            of_meaning[meaning] += letter
    return of_word, dict(of_meaning)


def _stems() -> str:
    """An alternation of the Korean stems, the longest first; one syllable counts only where a word begins."""
    tree: dict[str, list[str]] = defaultdict(list)
    for word in {word for words in KOREAN.values() for word in words.split()}:
        tree[word[0]].append(word[1:])
    branches: dict[str, str] = {}
    for first, rests in sorted(tree.items()):
        longer = sorted(filter(None, rests), key=lambda rest: (-len(rest), rest))
        several = f"{first}(?:{'|'.join(longer)})" if longer else ""
        alone = f"{first}(?<![가-힣]{first})" if "" in rests else ""
        branches[first] = "|".join(filter(None, (several, alone)))
    firsts = list(branches)
    # Branches are tried one after the other: a few of a few are found sooner than one of very many.
    groups = [firsts[begin : begin + _BRANCHES] for begin in range(0, len(firsts), _BRANCHES)]
    chosen = [f"(?=[{''.join(group)}])(?:{'|'.join(branches[first] for first in group)})" for group in groups]
    return f"(?=[{''.join(firsts)}])(?:{'|'.join(chosen)})"


_WORD = r"[a-z0-9]+(?:'[a-z]+)?"
_SIGNS = r"[.!?;](?=[\s\"')\]|]|\Z)|\n\n?|:+|<!--|-->"
_LATIN: Final = re.compile(f"{_WORD}|{_SIGNS}")


@cache
def _any() -> re.Pattern[str]:
    """Words of any script, compiled for the first text that is not ASCII."""
    # A space before a Korean word is as much of a distance as a word in English.
    return re.compile(f"{_WORD}|{_stems()}| (?=[가-힣])|{_SIGNS}|[。！？]")  # noqa: RUF001 - full stops of East Asia


_OF_WORD, _OF_MEANING = _vocabulary()
SINGLE: Final = "".join({_OF_WORD.setdefault(one, "1") for one in "abcdefghijklmnopqrstuvwxyz"})
"""The letters of single letters, as a pattern: of those that are no word, and of the few that are."""
BYTE: Final = "".join(
    {_OF_WORD.setdefault(f"{before}{byte:02x}", "2") for before in ("", "x", "0x") for byte in range(256)}
)
"""The letters of two hexadecimal digits."""
_OF_WORD |= {**_MARKS, **dict.fromkeys(".!?;。！？", BREAK)}  # noqa: RUF001 - the same


class Outline:
    """A text in lower case by its words: their letters, beginning with a break, and where in the text each of them is.

    Attributes:
        tokens: the words, and the signs that count as one.
        letters: one for each of them, after a break.
    """

    def __init__(self, lower: str) -> None:
        self._lower = lower
        self._pattern = _LATIN if lower.isascii() else _any()
        self.tokens = self._pattern.findall(lower)
        self.letters = BREAK + "".join(map(_OF_WORD.get, self.tokens, repeat(_PLAIN)))

    def starts(self) -> list[int]:
        """The place in the text of each letter; only a text with marks is asked for them."""
        return [0, *[match.start() for match in self._pattern.finditer(self._lower)]]


is_known: Final = frozenset(
    word for words in (ENGLISH, KOREAN) for line in words.values() for word in line.split()
).__contains__
"""Whether a word stands for something."""


def letter_of(word: str) -> str:
    """The letter of a word."""
    return _OF_WORD.get(word, _PLAIN)


def letters_of(meanings: Iterable[str]) -> frozenset[str]:
    """The letters of all words that stand for one of these."""
    return frozenset("".join(_OF_MEANING[meaning] for meaning in meanings))
