"""Capturing: what may be told of a call's content, by what its own guardrails and those around it did or may yet do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ._call import Call
from ._policy import Policy
from ._verdict import Verdict
from .telemetry._boundary import unwritten
from .telemetry._call_span import CallSpan
from .telemetry._content import Clearance, Content, Ledger, fails_to_judge

if TYPE_CHECKING:
    from ._flow import Flow

__all__ = ["capture", "close", "take_out"]


def take_out(span: CallSpan, verdict: Verdict, policy: Policy) -> None:
    """What a verdict took out of its text is told nowhere in the same run; nor anything, if it failed to look."""
    if not Ledger.wanted or verdict.outcome == "passed":
        return
    if verdict.edits:
        span.ledger.take((verdict.text[edit.start : edit.end], edit.replacement) for edit in verdict.edits)
    if fails_to_judge(verdict, [rule for rule in policy.at(verdict.stage) if rule.acts]):
        span.ledger.close()


def close(span: CallSpan) -> None:
    """A call was stopped: nothing is told of it."""
    if Ledger.wanted:
        span.ledger.close()


def capture(
    flow: Flow, call: Call, content: Content | None, hide: Callable[[str], str] | None, *, answered: bool
) -> None:
    """Tell the content of a call that is over, if somebody wants it; never raises.

    Args:
        flow: the call under its guard.
        call: as far as it is known.
        content: what its adapter told.
        hide: puts pseudonyms in the place of originals, if any were given back.
        answered: whether there is an answer.
    """
    emitter = flow.guard.emitter
    if emitter.capture is None:
        return
    left_out = flow.guard.left_out
    try:
        watched = left_out or not flow.policy.bare
        clearance = Clearance(call, flow.policy, left_out, flow.verdicts) if watched else None
        answered = answered and not any(_may_change(other, flow) for other in flow.outside)
        emitter.capture.take(flow.span, call, content, clearance, hide, answered=answered)
    except Exception as error:  # noqa: BLE001 - whatever a foreign object raises
        flow.span.content = None
        unwritten(error)


def _may_change(other: Flow, flow: Flow) -> bool:
    """Whether a guard further out may yet act on this call's answer, when its span will be gone."""
    if other.span is flow.span or other.bypassed:
        return False
    rules = [*other.rules("output"), *(rule for rule in other.guard.left_out if rule.stage == "output")]
    same = other.guard.identity is flow.guard.identity
    looked = {found.rule for v in flow.verdicts if same and v.stage == "output" for found in v.findings}
    return any(rule.acts and rule.name not in looked for rule in rules)
