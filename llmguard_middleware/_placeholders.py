"""Placeholders as models give them back: in other letters, with a space or a line break inside, escaped."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["put_back", "unfinished"]

# Spaces, line breaks and characters that nobody sees, signs between words, and the backslash of Markdown.
_LOOSE = re.compile("[\\s\\\\_\\-\u00ad\u200b-\u200f\u2010-\u2015\u2060\ufeff]+")
_SLACK = 16  # of such characters that a placeholder may have more than its own length


def put_back(text: str, by: Mapping[str, str]) -> str:
    """`text` with each placeholder of `by` replaced, in one pass: what is put in is not looked at again.

    A placeholder is known by its letters and digits, whatever their case: its token is one that nobody can guess.
    """
    if not by or "<" not in text:
        return text
    known = _Known(by)
    told: list[str] = []
    done, at = 0, text.find("<")
    while at >= 0:
        end, value = known.complete(text, at)
        if end:
            told += (text[done:at], value)
            done = end
        at = text.find("<", end or at + 1)
    return "".join((*told, text[done:])) if told else text


def unfinished(text: str, by: Mapping[str, str]) -> int:
    """Where in a text that goes on a placeholder begins that is not complete yet; its length if none does."""
    known = _Known(by)
    at = text.find("<", max(0, len(text) - known.most + 1))
    while at >= 0:
        # Kinds are what scorers call them, and may hold a "<" too.
        start = _bare(text[at:])
        if not known.complete(text, at)[0] and any(name.startswith(start) for name in known.names):
            return at
        at = text.find("<", at + 1)
    return len(text)


def _bare(text: str) -> str:
    return _LOOSE.sub("", text).casefold()


class _Known:
    """Placeholders, bare, and what each stands for."""

    def __init__(self, by: Mapping[str, str]) -> None:
        self.names = {_bare(name): value for name, value in by.items()}
        self.most = 2 * max(map(len, by), default=0) + _SLACK  # characters of what one may have become
        self._lengths = {len(name) for name in self.names}
        self._seconds = {name[1] for name in self.names}

    def complete(self, text: str, at: int) -> tuple[int, str]:
        """Where a placeholder that begins at a place ends, and what it stands for; 0 if there is none."""
        second = text[at + 1 : at + 2].casefold()
        if second not in self._seconds and not _LOOSE.match(second):
            return 0, ""
        seen = text[at : at + self.most]
        bare = _bare(seen)
        for length in self._lengths:
            value = self.names.get(bare[:length])
            if value is not None and length <= len(bare):
                return at + _end(seen, length), value
        return 0, ""


def _end(text: str, length: int) -> int:
    """How many characters of a text are so many bare ones."""
    for end, character in enumerate(text, 1):
        length -= len(_bare(character))
        if length <= 0:
            return end
    return len(text)
