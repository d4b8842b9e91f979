"""Asking the model again: when it may be, and what it is told."""

from __future__ import annotations

from collections.abc import Sequence

from ._actions import Reask
from ._rules import Guardrail
from ._verdict import Verdict
from .errors import LLMGuardError

__all__ = ["AskAgain", "feedback"]


class AskAgain(LLMGuardError):  # noqa: N818 - an event, not a mistake
    """The model may be asked again: it is to be told `feedback` about its `answer`, which was turned down."""

    def __init__(self, answer: str, feedback: str) -> None:
        super().__init__("the answer was turned down; ask the model again")
        self.answer, self.feedback = answer, feedback


def feedback(verdict: Verdict, rules: Sequence[Guardrail], asked: int) -> str | None:
    """What the model is told, if only rules that may ask again stop this answer; None if it is not to be asked.

    Args:
        verdict: on the answer.
        rules: that judged it.
        asked: how often the model was asked again already.
    """
    stopping = {finding.rule: finding for finding in verdict.findings if finding.stops}
    asking = [rule for rule in rules if rule.name in stopping]
    remedies = [rule.remedy for rule in asking if isinstance(rule.remedy, Reask)]
    failed = any(finding.error is not None for finding in stopping.values())
    if not asking or failed or len(remedies) < len(asking):
        return None
    if asked >= max(remedy.attempts for remedy in remedies):
        return None
    why = [stopping[rule.name].score for rule in asking]
    told = [score.explanation for score in why if score is not None and score.explanation]
    return " ".join([*dict.fromkeys(remedy.feedback for remedy in remedies), *told])
