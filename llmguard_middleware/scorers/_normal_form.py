"""Unicode's normal forms in linear time."""

from __future__ import annotations

import unicodedata
from typing import Literal

__all__ = ["Form", "normal_form"]

Form = Literal["NFC", "NFKC"]

_PIECE = 256  # characters
_SEARCH = 64  # characters in which a place to cut is looked for


def normal_form(form: Form, text: str) -> str:
    """`unicodedata.normalize`, which sorts a run of combining marks in a time that grows with its square.

    So it is given pieces, cut where nothing joins. Only in a run of 64 marks, as no language has, a cut may make a
    difference.
    """
    if text.isascii():
        return text
    pieces = []
    start, length = 0, len(text)
    while start < length:
        end = start + _PIECE
        end = next((at for at in range(end, min(end + _SEARCH, length)) if _begins(text[at])), end)
        pieces.append(unicodedata.normalize(form, text[start:end]))
        start = end
    return "".join(pieces)


def _begins(one: str) -> bool:
    """Whether this character joins none before it: it is no mark, and no vowel or final of a Korean syllable."""
    return one.isascii() or not ("\u1160" <= one <= "\u11ff" or unicodedata.category(one).startswith("M"))
