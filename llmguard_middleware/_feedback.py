"""What is said about a call once it is over: scores that are asked for, and ratings by people."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from time import time_ns
from typing import Any, Literal

from opentelemetry.context import Context

from ._bound import BoundScorer
from ._call import Call
from ._checks import is_number
from ._drive import inside_scorer
from ._guard import Guard
from ._leaves import texts_in
from ._score import Score, as_score
from ._scorer import bind, check_name
from .errors import ConfigurationError

__all__ = ["Feedback", "RecordedCall"]


@dataclass(frozen=True, slots=True)
class Feedback:
    """One score of one call. `source` is who gave it; `by` and `comment` are a person's, and are not exported."""

    name: str
    score: Score
    source: Literal["scorer", "person"]
    by: str = ""
    comment: str = field(default="", repr=False)


class RecordedCall(Call):
    """A call that is over, and can be scored. Scores are recorded in the context of the call's span."""

    _guard: Guard
    _context: Context
    _feedback: list[Feedback]

    @classmethod
    def of(cls, call: Call, guard: Guard, context: Context) -> RecordedCall:
        """This call, to be scored with the guard's telemetry."""
        recorded = object.__new__(cls)
        recorded.__dict__.update(call.__dict__, _guard=guard, _context=context, _feedback=[])
        return recorded

    @property
    def feedback(self) -> tuple[Feedback, ...]:
        """Every score and rating so far, in order."""
        return tuple(self._feedback)

    async def apply_scorer(
        self, scorer: Any, *, additional_scorer_kwargs: Mapping[str, Any] | None = None, name: str = ""
    ) -> Score:
        """Score this call now, and record the score.

        Args:
            scorer: what a rule takes: a function, an object with `score(...)`, or what `@scorer` made. A sync one runs
                on a thread of the guard.
            additional_scorer_kwargs: values by the names of the scorer's parameters, such as a reference answer.
            name: how telemetry calls the score; the scorer's name if not given.

        Raises:
            ConfigurationError: if it is no scorer.
            ScorerInputError: if it asks for what the call does not have.
            Exception: what the scorer raised.
        """
        bound, named = self._bound(scorer, name)
        started = time_ns()
        try:
            score = as_score(await self._ascore(bound, additional_scorer_kwargs), bound.name)
        except Exception as error:
            self._record(named, None, error, started)
            raise
        return self._record(named, score, None, started)

    def apply_scorer_sync(
        self, scorer: Any, *, additional_scorer_kwargs: Mapping[str, Any] | None = None, name: str = ""
    ) -> Score:
        """`apply_scorer`, for sync callers; an async scorer runs on the guard's own event loop."""
        bound, named = self._bound(scorer, name)
        started = time_ns()
        try:
            score = as_score(self._score(bound, additional_scorer_kwargs), bound.name)
        except Exception as error:
            self._record(named, None, error, started)
            raise
        return self._record(named, score, None, started)

    def add_feedback(
        self, name: str, *, value: float | None = None, label: str = "", comment: str = "", by: str = ""
    ) -> Feedback:
        """Record what a person says of this call.

        Args:
            name: of what is rated, such as "helpful".
            value: a number; for thumbs up and down, 1 and 0.
            label: or a class.
            comment: kept here and exported nowhere, since it may quote the call.
            by: who says so; kept here likewise.

        Raises:
            ConfigurationError: for an unusable name, or neither a value nor a label nor a comment.
        """
        check_name(name, "feedback")
        given: Any = value
        if (given is not None and not is_number(given)) or (given is None and not label and not comment):
            msg = f'feedback "{name}" needs value= (a number), label= or comment='
            raise ConfigurationError(msg)
        feedback = Feedback(name, Score(value=value, label=label, explanation=comment), "person", by, comment)
        self._guard.emitter.rated(self, self._context, name, feedback.score)
        self._feedback.append(feedback)
        return feedback

    def _bound(self, scorer: Any, name: str) -> tuple[BoundScorer, str]:
        bound = bind(scorer, name)
        return bound, check_name(name or bound.name, "score")

    def _available(self) -> dict[str, Any]:
        return {**self.available(), "text": "\n".join(texts_in(self.output))}

    def _score(self, bound: BoundScorer, extra: Mapping[str, Any] | None) -> Any:
        context = copy_context()
        context.run(inside_scorer.set, True)
        work = partial(bound, self._available(), extra)
        if bound.is_async:
            return self._guard.workers.submit_async(context, partial(_awaited, work)).result()
        return context.run(work)

    async def _ascore(self, bound: BoundScorer, extra: Mapping[str, Any] | None) -> Any:
        context = copy_context()
        context.run(inside_scorer.set, True)
        work = partial(bound, self._available(), extra)
        if bound.is_async:
            return await context.run(asyncio.ensure_future, _awaited(work))
        return await asyncio.wrap_future(self._guard.workers.submit(context, work))

    def _record(self, name: str, score: Score | None, error: Exception | None, started: int) -> Score:
        self._guard.emitter.monitored(self, self._context, name, score, error, started, what="score")
        told = score if score is not None else Score.not_scored(type(error).__name__)
        self._feedback.append(Feedback(name, told, "scorer"))
        return told


async def _awaited(work: Any) -> Any:
    raw = work()
    return await raw if inspect.isawaitable(raw) else raw
