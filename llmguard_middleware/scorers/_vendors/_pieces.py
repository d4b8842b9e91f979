"""Texts that are longer than a service takes at once: in pieces that overlap, so that nothing passes unjudged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

__all__ = ["OVERLAP", "Piece", "Unit", "pieces", "sendable"]

Unit = Literal["characters", "utf-8", "utf-16-le"]

OVERLAP: Final = 500  # characters; what is no longer is in one piece as a whole

_SURROGATES = re.compile("[\ud800-\udfff]")


class Piece(NamedTuple):
    """A stretch of a text; `start` in characters."""

    start: int
    text: str


def sendable(text: str) -> str:
    """The text with U+FFFD for each lone surrogate, which no encoding has; all other characters stay in place."""
    return _SURROGATES.sub("\ufffd", text)


def pieces(text: str, most: int, unit: Unit = "characters") -> Iterator[Piece]:
    """The text in pieces of at most `most` characters, or bytes of an encoding; each begins in the one before it."""
    start = 0
    while True:
        piece = text[start : start + most]
        if unit != "characters" and len(raw := piece.encode(unit)) > most:
            piece = raw[:most].decode(unit, "ignore")  # without the character that is cut in two
        yield Piece(start, piece)
        end = start + len(piece)
        if end >= len(text):
            return
        start = end - OVERLAP
