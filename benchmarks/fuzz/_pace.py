"""How slow this machine is just now, against a quiet one: several programs on two cores take each other's time."""

from __future__ import annotations

import re
from time import thread_time

__all__ = ["pace"]

# What scorers do most, and its seconds on the quiet machine of 2026-12-01, the fewest of 200.
_WORDS = re.compile("[a-z0-9]+")
_TEXT = "forty thousand words of five letters " * 1000
_QUIET = 0.00042


def pace() -> float:
    """1 on a quiet machine, 2 where the same work takes twice the CPU time; never less than 1."""
    taken = []
    for _ in range(5):
        before = thread_time()
        _WORDS.findall(_TEXT)
        taken.append(thread_time() - before)
    return max(1.0, min(taken) / _QUIET)
