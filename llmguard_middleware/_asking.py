"""What scorers ask of models is marked, so that nobody judges and scores it in turn.

Inside any scorer, adapters leave calls alone. A judge says besides that it asks a model now: that call has a span,
which tells whose it is, and no rule, no monitor and no captured content.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["Asking", "asking", "inside_scorer", "judge_asking", "unseen"]

# Set while a scorer runs, so that a model it calls (a judge, say) is not judged and scored by the same guard again.
inside_scorer: ContextVar[bool] = ContextVar("llmguard_inside_scorer", default=False)


@dataclass(frozen=True, eq=False, slots=True)
class Asking:
    """A question of the judge called `judge` to its model."""

    judge: str


_asking: ContextVar[Asking | None] = ContextVar("llmguard_asking", default=None)


@contextmanager
def asking(judge: str) -> Iterator[None]:
    """Mark what is called inside as a judge's own."""
    token, within = _asking.set(Asking(judge)), inside_scorer.set(True)
    try:
        yield
    finally:
        with suppress(ValueError):  # thrown away, a coroutine unwinds in another context
            inside_scorer.reset(within)
            _asking.reset(token)


def judge_asking() -> Asking | None:
    """The judge's question that this code is part of; None if it is of none."""
    return _asking.get()


def unseen() -> bool:
    """Whether a call of a model made here is a scorer's own, and of no judge: then it has no span, either."""
    return inside_scorer.get() and _asking.get() is None
