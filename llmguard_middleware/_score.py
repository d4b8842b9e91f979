"""Score: one measurement of one call, and how whatever a scorer returns becomes one."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, NamedTuple

from ._packed import Packed
from .errors import ScorerError

__all__ = ["Score", "TextSpan", "as_score", "says_verdict"]


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
    that was not a Score. `modified` is the text that the scorer proposes in place of the scored one, None if it
    proposes none. A repr shows nothing that may quote the scored text.
    """

    value: float | None = None
    flagged: bool = False
    label: str = ""
    explanation: str = field(default="", repr=False)
    spans: Sequence[TextSpan] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)
    unscored: bool = False
    result: Any = field(default=None, repr=False)
    modified: str | None = field(default=None, repr=False)

    @classmethod
    def not_scored(cls, explanation: str) -> Score:
        """A score that says "could not score" and why."""
        return cls(unscored=True, explanation=explanation)


def as_score(raw: Any, scorer: str) -> Score:
    """Normalise what the scorer called `scorer` returned.

    A bool means flagged. A number is a value (NaN: unscored). A mapping is read by the names `flagged` or
    `passed` (bools, or 0 and 1), `score` or `value`, `label`, `explanation` or `reason`, `spans`, `metadata`,
    `unscored`, `modified` or `modified_output`; spans alone mean flagged. Where it names no value and holds exactly one
    other number, that number is the value. An explanation and a modified text are also found in its `metadata`. A
    pydantic model, a dataclass and
    a named tuple are read as the mapping of their fields.

    Raises:
        ScorerError: for anything else, and for what cannot be read.
    """
    try:
        score = _read(raw)
    except Exception as error:  # a foreign value may fail in its own way when it is looked at
        msg = (
            f'scorer "{scorer}" returned what cannot be read: a value is a number, "flagged" and "passed" are bools, '
            "a span is (start, end, kind), a modified text is a text"
        )
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


def says_verdict(raw: Any) -> bool:
    """Whether what a scorer returned, and `as_score` can read, says itself if it is to be acted on.

    A bare number does not, nor does a mapping or object with none of `flagged`, `passed`, `spans` and `unscored`. A
    Score is taken as it is.
    """
    if isinstance(raw, (Score, bool)):
        return True
    found = raw if isinstance(raw, Mapping) else _fields(raw)
    return isinstance(found, Mapping) and any(found.get(name) is not None for name in _VERDICT)


def _read(raw: Any) -> Score | None:
    if isinstance(raw, Score):
        _text(raw.modified)
        missing = raw.value is not None and math.isnan(raw.value)
        if missing or raw.spans:
            unscored = missing or raw.unscored
            return replace(raw, value=None if missing else raw.value, unscored=unscored, spans=_spans(raw.spans))
        return raw
    if isinstance(raw, bool):
        return Score(flagged=raw, result=raw)
    if isinstance(raw, (int, float)):
        return _number(float(raw), raw)
    found = raw if isinstance(raw, Mapping) else _fields(raw)
    return _mapping(found, raw) if isinstance(found, Mapping) else None


def _fields(raw: Any) -> Any:
    if isinstance(raw, (type, TextSpan)):
        return None
    if callable(dump := getattr(raw, "model_dump", None)):  # pydantic, without importing it
        return dump()
    if is_dataclass(raw):
        return {f.name: getattr(raw, f.name) for f in fields(raw)}
    return raw._asdict() if isinstance(raw, tuple) and hasattr(raw, "_asdict") else None


def _number(value: float, raw: Any) -> Score:
    if math.isnan(value):
        return Score(unscored=True, explanation="the scorer returned NaN", result=raw)
    return Score(value=value, result=raw)


def _is_span(start: Any, end: Any, kind: Any) -> bool:
    """The slow way to see it, for integers and texts of other types."""
    whole = not isinstance(start, bool) and not isinstance(end, bool)
    return whole and 0 <= operator.index(start) < operator.index(end) and isinstance(kind, str)


def _spans(raw: Iterable[Any] | None) -> Sequence[TextSpan]:
    if isinstance(raw, Packed):  # of spans that were looked at
        return raw
    spans = tuple(span if isinstance(span, TextSpan) else TextSpan(*span) for span in raw or ())
    if not all(
        (type(a) is type(b) is int and 0 <= a < b and type(kind) is str) or _is_span(a, b, kind) for a, b, kind in spans
    ):
        msg = "a span starts at 0 or later, ends after its start and has a text as its kind"
        raise ValueError(msg)
    return spans


def _text(modified: Any) -> str | None:
    if modified is None or isinstance(modified, str):
        return modified
    msg = "a modified text is a text"
    raise TypeError(msg)


_VERDICT = ("flagged", "passed", "spans", "unscored")
_EXPLANATION = ("explanation", "reason")
_MODIFIED = ("modified", "modified_output")
_READ = frozenset({"score", "value", "label", "metadata", *_VERDICT, *_EXPLANATION, *_MODIFIED})


def _mapping(found: Mapping[str, Any], raw: Any) -> Score:
    rest = {key: value for key, value in found.items() if key not in _READ}
    metadata: Mapping[str, Any] = found.get("metadata") or {}
    value = found.get("score")
    if value is None:  # a model with optional fields holds them all
        value = found.get("value")
    if value is None:
        numbers = [v for v in rest.values() if isinstance(v, (int, float)) and not isinstance(v, bool)]
        value = numbers[0] if len(numbers) == 1 else None
    number = None if value is None else float(value)
    unscored = bool(found.get("unscored", False)) or (number is not None and math.isnan(number))
    flagged, passed = _bool(found.get("flagged")), _bool(found.get("passed"))
    spans = _spans(found.get("spans"))
    if flagged is None:  # whoever says where something is, and nothing else, has found something
        flagged = not passed if passed is not None else bool(spans)
    return Score(
        value=None if unscored else number,
        flagged=flagged,
        label=str(found.get("label") or ""),
        explanation=_explanation(found, metadata),
        spans=spans,
        metadata={**rest, **metadata},
        unscored=unscored,
        result=raw,
        modified=_modified(found, metadata),
    )


def _bool(said: Any) -> bool | None:
    """What a scorer said, or None; a text is refused, as "false" would count as true."""
    if said is None:
        return None
    if type(said).__name__ not in ("bool", "bool_") and operator.index(said) not in (0, 1):  # numpy's is no int
        msg = "a flag is a bool, 0 or 1"
        raise ValueError(msg)
    return bool(said)


def _explanation(found: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    if stated := next((found[name] for name in _EXPLANATION if found.get(name)), None):
        return str(stated)
    return next((metadata[name] for name in _EXPLANATION if isinstance(metadata.get(name), str) and metadata[name]), "")


def _modified(found: Mapping[str, Any], metadata: Mapping[str, Any]) -> str | None:
    if (stated := next((found[name] for name in _MODIFIED if found.get(name) is not None), None)) is not None:
        return _text(stated)
    # Metadata is the scorer's own: what is no text there ("modified": True) is a note, not a mistake.
    return next((metadata[name] for name in _MODIFIED if isinstance(metadata.get(name), str)), None)
