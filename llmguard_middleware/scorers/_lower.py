"""A text in lower case, place by place."""

from __future__ import annotations

__all__ = ["lower"]


def lower(text: str) -> str:
    """`text` in lower case, as long as it was: what has more letters in lower case (the Turkish I) is no letter."""
    low = text.lower()
    return low if len(low) == len(text) else "".join(one if len(one) == 1 else "\0" for one in map(str.lower, text))
