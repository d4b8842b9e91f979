"""deny_list: words and phrases that must not appear."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .._score import TextSpan
from ..errors import ConfigurationError
from ._lower import lower
from ._patterns import PatternScorer

__all__ = ["DenyList", "deny_list"]


class _Word(NamedTuple):
    name: str


class DenyList(PatternScorer[_Word]):
    """Flags texts that hold any of the words; value is how many, label the kind that they are called."""

    behind = 1

    def __init__(self, words: tuple[str, ...], kind: str, *, ignore_case: bool, whole_words: bool) -> None:
        super().__init__("deny_list", [_Word(word) for word in words], max(map(len, words)) + 1)
        self.options = f"{kind},{ignore_case},{whole_words}:{self.options}"
        self._words = tuple(dict.fromkeys(map(lower, words) if ignore_case else words))
        self._kind, self._ignores_case, self._whole = kind, ignore_case, whole_words

    def found(self, text: str) -> Iterator[TextSpan]:
        """Each place of each word."""
        text = lower(text) if self._ignores_case else text
        for word in self._words:
            at = text.find(word)
            while at >= 0:
                end = at + len(word)
                if not self._whole or not (
                    _joined(text[at - 1 : at], word[0]) or _joined(word[-1], text[end : end + 1])
                ):
                    yield TextSpan(at, end, self._kind)
                at = text.find(word, at + 1)

    def open_tail(self, text: str) -> int:
        """How many characters at the end of `text` may belong to a word that is not complete yet."""
        given = lower(text) if self._ignores_case else text
        for size in range(min(len(given), self.reach or 0), 0, -1):
            tail = given[-size:]
            if any(word.startswith(tail[: len(word)]) for word in self._words if len(word) + 1 >= size):
                return size
        return 0


def _joined(one: str, other: str) -> bool:
    """Whether these two characters belong to one word. Korean particles follow a word without a space."""
    return one.isascii() and other.isascii() and one.isalnum() and other.isalnum()


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
