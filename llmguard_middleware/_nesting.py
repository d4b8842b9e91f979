"""Scorers that ask guards: how deep, and no deeper."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from .errors import ScorerError

__all__ = ["nested"]

# A scorer may have a guard judge something. One that asks the guard it belongs to would go on for ever: in a pool until
# no thread is left, on an event loop faster than it can be cancelled.
_MOST_NESTED = 4
_nesting: ContextVar[int] = ContextVar("llmguard_nesting", default=0)


@contextmanager
def nested() -> Iterator[None]:
    """What is judged here is judged for a scorer.

    Raises:
        ScorerError: if that scorer is itself at work for another, and so on.
    """
    depth = _nesting.get()
    if depth >= _MOST_NESTED:
        msg = f"scorers ask guards {_MOST_NESTED} deep; a scorer must not have the guard it belongs to judge its text"
        raise ScorerError(msg)
    token = _nesting.set(depth + 1)
    try:
        yield
    finally:
        with suppress(ValueError):  # thrown away, it unwinds in another context, where there is nothing to put back
            _nesting.reset(token)
