"""What scorers ask of models is marked, so that nobody judges and scores it in turn.

Inside any scorer, adapters leave calls alone. A judge says besides that it asks a model now: that call has a span,
which tells whose it is, and no rule, no monitor and no captured content.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

__all__ = ["Asking", "asking", "inside_scorer", "judge_asking", "scoring", "unseen"]


class Scoring:
    """A mark that is true until its scorer is done: a task that was begun meanwhile, and goes on, has it for ever."""

    __slots__ = ("live",)

    def __init__(self) -> None:
        self.live = True

    def __bool__(self) -> bool:
        return self.live


class Asking(Scoring):
    """A question of the judge called `judge` to its model."""

    __slots__ = ("judge",)

    def __init__(self, judge: str) -> None:
        super().__init__()
        self.judge = judge


# True while a scorer runs, so that a model it calls (a judge, say) is not judged and scored by the same guard again.
inside_scorer: ContextVar[Scoring | bool] = ContextVar("llmguard_inside_scorer", default=False)
_asking: ContextVar[Asking | None] = ContextVar("llmguard_asking", default=None)


@contextmanager
def asking(judge: str) -> Iterator[None]:
    """Mark what is called inside as a judge's own."""
    question = Asking(judge)
    token, within = _asking.set(question), inside_scorer.set(question)
    try:
        yield
    finally:
        question.live = False
        with suppress(ValueError):  # thrown away, a coroutine unwinds in another context
            inside_scorer.reset(within)
            _asking.reset(token)


@contextmanager
def scoring() -> Iterator[None]:
    """Mark what is called inside as a scorer's own."""
    mark = Scoring()
    token = inside_scorer.set(mark)
    try:
        yield
    finally:
        mark.live = False
        with suppress(ValueError):  # as above
            inside_scorer.reset(token)


def judge_asking() -> Asking | None:
    """The judge's question that this code is part of; None if it is of none."""
    return _asking.get() or None


def unseen() -> bool:
    """Whether a call of a model made here is a scorer's own, and of no judge: then it has no span, either."""
    return bool(inside_scorer.get()) and not _asking.get()
