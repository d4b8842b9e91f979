"""What CPU a score may take: so much for each megabyte, on a quiet machine."""

from __future__ import annotations

__all__ = ["FLOOR", "MEGABYTE", "limit"]

MEGABYTE = 1024 * 1024
FLOOR = 0.005  # seconds, whatever the size: first uses, and what the clock and the machine add
_SECONDS = 0.1  # for each megabyte of UTF-8

# Dearer ones, on texts that are made of nothing but what they look for, and why.
_DEARER: dict[str, float] = {}


def limit(scorer: str, size: int) -> float:
    """Seconds of CPU for a text of so many bytes; `scorer` may be one of several ways in which it is made."""
    return FLOOR + _DEARER.get(scorer.partition("#")[0], _SECONDS) * size / MEGABYTE
