"""deny_list: words and phrases that must not appear."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ..errors import ConfigurationError
from ._lower import lower
from ._patterns import PatternScorer, Span

__all__ = ["DenyList", "deny_list"]


_SPAN: Final = re.Match.span


class _Word(NamedTuple):
    name: str


class DenyList(PatternScorer[_Word]):
    """Flags texts that hold any of the words; value is how many, label the kind that they are called."""

    behind = 1

    def __init__(self, words: tuple[str, ...], kind: str, *, ignore_case: bool, whole_words: bool) -> None:
        super().__init__("deny_list", [_Word(word) for word in words], max(map(len, words)) + 1)
        self.options = f"{kind},{ignore_case},{whole_words}:{self.options}"
        self._words = tuple(dict.fromkeys(map(lower, words) if ignore_case else words))
        self._patterns: dict[str, re.Pattern[str]] = {}  # of words that were met: there may be thousands
        self._kind, self._ignores_case, self._whole = kind, ignore_case, whole_words

    def found(self, text: str) -> list[Span]:
        """Each place of each word, one for those that overlap."""
        text = lower(text) if self._ignores_case else text
        kind = self._kind
        found: list[Span] = []
        for word in self._words:
            if word in text:  # far cheaper than a pattern
                pattern = self._patterns.get(word)
                if pattern is None:
                    pattern = self._patterns[word] = _pattern(word, whole=self._whole)
                found += [(start, end, kind) for start, end in map(_SPAN, pattern.finditer(text))]
        return found

    def open_tail(self, text: str) -> int:
        """How many characters at the end of `text` may belong to a word that is not complete yet."""
        given = lower(text) if self._ignores_case else text
        for size in range(min(len(given), self.reach or 0), 0, -1):
            tail = given[-size:]
            if any(word.startswith(tail[: len(word)]) for word in self._words if len(word) + 1 >= size):
                return size
        return 0


_JOINED = "[0-9A-Za-z]"  # what belongs to one word with its like. Korean particles follow a word without a space.
_IS_JOINED = re.compile(_JOINED)


def _pattern(word: str, *, whole: bool) -> re.Pattern[str]:
    """A word wherever it is; and if it can begin within itself, as "aba" can, all that overlap in one go."""
    before = whole and _IS_JOINED.match(word) is not None
    after = f"(?!{_JOINED})" if whole and _IS_JOINED.match(word[-1]) else ""
    begins = [
        re.escape(word[-size:]) + after
        for size in range(1, len(word))
        if word.startswith(word[size:]) and not (before and _IS_JOINED.match(word[size - 1]))
    ]
    written = re.escape(word)  # first, since what starts with a text is quickly looked for
    alone = f"(?<!{_JOINED}{written})" if before else ""
    again = f"(?:{'|'.join(begins)})*" if begins else ""
    return re.compile(written + alone + after + again)


def deny_list(*words: str, kind: str = "DENIED", ignore_case: bool = True, whole_words: bool = True) -> DenyList:
    """Find words and phrases: names of competitors, of projects, what must not be said.

    Args:
        words: what to look for, as it is written.
        kind: what the spans are called, for example in `<DENIED>`.
        ignore_case: whether upper and lower case are the same.
        whole_words: whether a word may not be part of a longer one in Latin letters; a Korean particle may follow.

    Raises:
        ConfigurationError: if there is no word, or one is empty or no text.
    """
    given: tuple[object, ...] = words
    if not given or any(not isinstance(word, str) or not word.strip() for word in given):
        msg = 'deny_list() needs words, for example deny_list("Project X", "acme")'
        raise ConfigurationError(msg)
    return DenyList(words, kind, ignore_case=ignore_case, whole_words=whole_words)
