"""A text in lower case, place by place."""

from __future__ import annotations

__all__ = ["lower"]

_LONGER = "\u0130"  # the only letter that has two characters in lower case


def lower(text: str) -> str:
    """`text` in lower case, as long as it was: what has more letters in lower case (the Turkish I) is no letter."""
    low = text.lower()
    return low if len(low) == len(text) else text.replace(_LONGER, "\0").lower()
