"""Score: one measurement of one call, and how whatever a scorer returns becomes one."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from .errors import ScorerError

__all__ = ["Score", "TextSpan", "as_score"]


class TextSpan(NamedTuple):
    """A stretch of the scored text: `start` inclusive, `end` exclusive, in characters; `kind` names what was found."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class Score:
    """The result of one scorer on one call.

    `value` is a number or None, `label` a class, `explanation` a sentence for people. `flagged` says that a
    guardrail on this score should act. `spans` are where in the scored text. `unscored` is explicit: a scorer that
    could not score has no value, which is not the same as zero. `result` is what the scorer returned, if
    that was not a Score.
    """

    value: float | None = None
    flagged: bool = False
    label: str = ""
    explanation: str = ""
    spans: tuple[TextSpan, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    unscored: bool = False
    result: Any = None

    @classmethod
    def not_scored(cls, explanation: str) -> Score:
        """A score that says "could not score" and why."""
        return cls(unscored=True, explanation=explanation)


def as_score(raw: Any, scorer: str) -> Score:
    """Normalise what the scorer called `scorer` returned.

    A bool means flagged. A number is a value (NaN: unscored). A mapping is read by the names `flagged` or
    `passed`, `score` or `value`, `label`, `explanation` or `reason`, `spans`, `metadata`, `unscored`; where it
    names no value and holds exactly one other number, that number is the value.

    Raises:
        ScorerError: for anything else, and for what cannot be read.
    """
    try:
        score = _read(raw)
    except Exception as error:  # a foreign value may fail in its own way when it is looked at
        msg = f'scorer "{scorer}" returned what cannot be read: a value is a number, a span is (start, end, kind)'
        raise ScorerError(msg) from error
    if score is not None:
        return score
    if inspect.isawaitable(raw):
        if inspect.iscoroutine(raw):
            raw.close()  # it will never be awaited
        msg = f'scorer "{scorer}" returned an awaitable; declare it with "async def"'
        raise ScorerError(msg)
    msg = f'scorer "{scorer}" returned {type(raw).__name__}; return a dict, a bool, a number or a Score'
    raise ScorerError(msg)


def _read(raw: Any) -> Score | None:
    if isinstance(raw, Score):
        missing = raw.value is not None and math.isnan(raw.value)
        if missing or raw.spans:
            unscored = missing or raw.unscored
            return replace(raw, value=None if missing else raw.value, unscored=unscored, spans=_spans(raw.spans))
        return raw
    if isinstance(raw, bool):
        return Score(flagged=raw, result=raw)
    if isinstance(raw, (int, float)):
        return _number(float(raw), raw)
    if isinstance(raw, Mapping):
        return _mapping(raw)
    return None


def _number(value: float, raw: Any) -> Score:
    if math.isnan(value):
        return Score(unscored=True, explanation="the scorer returned NaN", result=raw)
    return Score(value=value, result=raw)


def _spans(raw: Iterable[Any] | None) -> tuple[TextSpan, ...]:
    spans = tuple(span if isinstance(span, TextSpan) else TextSpan(*span) for span in raw or ())
    if not all(0 <= operator.index(s.start) < operator.index(s.end) and isinstance(s.kind, str) for s in spans):
        msg = "a span starts at 0 or later, ends after its start and has a text as its kind"
        raise ValueError(msg)
    return spans


_READ = frozenset(
    {"flagged", "passed", "score", "value", "label", "explanation", "reason", "spans", "metadata", "unscored"}
)


def _mapping(raw: Mapping[str, Any]) -> Score:
    rest = {key: value for key, value in raw.items() if key not in _READ}
    value = raw.get("score", raw.get("value"))
    if value is None:
        numbers = [v for v in rest.values() if isinstance(v, (int, float)) and not isinstance(v, bool)]
        value = numbers[0] if len(numbers) == 1 else None
    number = None if value is None else float(value)
    unscored = bool(raw.get("unscored", False)) or (number is not None and math.isnan(number))
    return Score(
        value=None if unscored else number,
        flagged=bool(raw["flagged"]) if "flagged" in raw else not raw.get("passed", True),
        label=str(raw.get("label") or ""),
        explanation=str(raw.get("explanation") or raw.get("reason") or ""),
        spans=_spans(raw.get("spans")),
        metadata={**rest, **(raw.get("metadata") or {})},
        unscored=unscored,
        result=raw,
    )
