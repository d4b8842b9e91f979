"""The decision: pure, without I/O, clocks or threads.

`judge` is a generator (as httpx's auth flow is): it yields what has to be scored, is sent what came of it, and
returns a Verdict. `_drive` runs it for sync and for async callers, so that there is one engine and no second copy.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ._call import Stage
from ._edits import redact
from ._rules import Guardrail
from ._score import TextSpan, as_score
from ._verdict import Finding, Verdict, worst
from .errors import LLMGuardError, ScorerError

__all__ = ["Completion", "Launch", "Plan", "judge", "settle"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Launch:
    """Ask the driver to score with all these rules at once; `available` is what their scorers may ask for."""

    rules: Sequence[Guardrail]
    available: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Completion:
    """One rule of the last Launch is done: what its scorer returned, or how it failed."""

    index: int
    raw: Any = None
    error: Exception | None = None
    seconds: float = 0.0


# A plan yields Launch (start scoring, send the first completion) or None (send the next completion), and returns T.
Plan = Generator["Launch | None", Completion, T]


def judge(
    rules: Sequence[Guardrail], text: str, stage: Stage, available: Mapping[str, Any], guard: str, digest: str
) -> Plan[Verdict]:
    """Judge one text by all `rules` at once; the first finding that stops the call ends the rest."""
    if not rules:
        return Verdict("passed", stage, text, guard=guard, digest=digest)
    findings = [Finding(rule.name, rule.action, "skipped") for rule in rules]
    step: Launch | None = Launch(rules, {**available, "text": text, **({"output": text} if stage == "output" else {})})
    spans: list[TextSpan] = []
    for _ in rules:
        done = yield step
        step = None
        rule = rules[done.index]
        finding = findings[done.index] = settle(rule, done, len(text))
        if finding.stops:
            break
        if finding.outcome == "redacted" and finding.score is not None:
            spans += finding.score.spans or (TextSpan(0, len(text), rule.name.upper()),)
    return Verdict(
        worst([finding.outcome for finding in findings]), stage, text, tuple(findings), redact(spans), guard, digest
    )


def settle(rule: Guardrail, done: Completion, length: int) -> Finding:
    """What one rule found, from what its scorer returned for a text of this length or how it failed."""
    score, error = None, done.error
    if error is None:
        try:
            score = as_score(done.raw, rule.bound.name)
        except LLMGuardError as raised:
            error = raised
        else:
            if score.unscored:
                error = ScorerError(f'scorer "{rule.bound.name}" could not score')
            elif any(span.end > length for span in score.spans):
                error = ScorerError(f'scorer "{rule.bound.name}" returned a span that ends after the text')
    if error is not None:
        return Finding(
            rule.name, rule.action, "error", score, error, stops=rule.on_error == "block", seconds=done.seconds
        )
    assert score is not None
    if not score.flagged:
        return Finding(rule.name, rule.action, "passed", score, seconds=done.seconds)
    if rule.action == "block":
        return Finding(rule.name, rule.action, "blocked", score, stops=True, seconds=done.seconds)
    return Finding(rule.name, rule.action, "redacted" if rule.edits else "flagged", score, seconds=done.seconds)
