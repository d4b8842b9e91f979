"""What is asked and answered in trials, and what of it must not be seen.

The secret is made of capitals and all other texts are not, so that a single character of it is noticed.
"""

from __future__ import annotations

from typing import Any

from .._fakes import Flags

__all__ = ["ANSWER", "CLEAN", "KIND", "QUESTION", "SECRET", "finds", "leaks", "shows"]

SECRET = "QXZWKVJYBGMTRPLDNHCS"  # noqa: S105 - of nobody
KIND = "found"
CLEAN = "please look at it and tell me more"
QUESTION = f"please look at {SECRET} and tell me more"
ANSWER = f"it says that {SECRET} is what you are looking for, and there is not much more to say"
_PART = 4


def finds(name: str = "finds", *, local: bool = False, **options: Any) -> Flags:
    """A scorer that finds the secret; a local one need not hold a stream."""
    if local:
        options |= {"cheap": True, "reach": len(SECRET) + 1}
    return Flags(when=SECRET, kind=KIND, name=name, **options)


def shows(text: str) -> bool:
    """Whether any character of the secret is in a text of a trial."""
    return not set(SECRET).isdisjoint(text)


def leaks(*things: object) -> bool:
    """Whether a part of the secret is in anything's repr."""
    seen = repr(things)
    return any(SECRET[at : at + _PART] in seen for at in range(len(SECRET) - _PART + 1))
