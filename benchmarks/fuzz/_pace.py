"""How slow this machine is just now, against a quiet one: several programs on two cores take each other's time."""

from __future__ import annotations

import gc
import re
from time import thread_time

__all__ = ["pace"]

# The floor of every scorer: what a text is made of, each with where it is. As large as the dense texts, so that what
# else is in the caches slows both alike.
_WORDS = re.compile("[a-z0-9]+")
_TEXT = ("forty thousand words of five letters " * 8000)[: 256 * 1024]
_QUIET = 0.0086  # seconds on the quiet machine of 2026-12-01, the fewest of many


def pace() -> float:
    """1 on a quiet machine, 2 where the same work takes twice the CPU time; never less than 1."""
    collecting = gc.isenabled()
    gc.disable()  # what else is alive has nothing to do with it
    try:
        before = thread_time()
        found = [(word.start(), word.end(), word[0]) for word in _WORDS.finditer(_TEXT)]
        taken = thread_time() - before
        del found
    finally:
        if collecting:
            gc.enable()
    return max(1.0, taken / _QUIET)
