"""Forks: a child has none of its parent's threads, a lock may be held for ever, what waited stays with the parent.

So whatever has a thread, a lock or a queue begins anew in a forked child.
"""

from __future__ import annotations

import os
import weakref
from itertools import count
from typing import Protocol

__all__ = ["renewed_in_children"]


class Renewable(Protocol):
    """What can begin anew."""

    def begin_anew(self) -> None:
        """Forget what is the parent's. No other thread is there yet."""


_ALIVE: weakref.WeakValueDictionary[int, Renewable] = weakref.WeakValueDictionary()
_NUMBERS = count()


def renewed_in_children(one: Renewable) -> None:
    """Have this begin anew in each forked child, in the order in which all were told, as long as it is alive."""
    _ALIVE[next(_NUMBERS)] = one


def _after_fork() -> None:
    for one in list(_ALIVE.values()):
        one.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
