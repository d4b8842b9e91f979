"""Clearance: which texts of a call may be captured, by what its guardrails did with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..._call import Call, Stage
from ..._policy import Policy
from ..._rules import Guardrail
from ..._verdict import Verdict
from .. import _names as names

__all__ = ["Clearance", "fails_to_judge"]

# Where a text goes next, or comes from: rules that act there would have looked at it.
_BESIDE: Mapping[Stage, tuple[Stage, ...]] = {
    "output": ("input",),
    "tool_call": ("output",),
    "tool_result": ("input",),
    "retrieval": ("input",),
}
_STAGES: Mapping[str, Stage] = {
    names.TOOL_ARGUMENTS: "tool_call",
    names.TOOL_RESULT: "tool_result",
    names.RETRIEVAL_DOCUMENTS: "retrieval",
    names.OUTPUT_MESSAGES: "output",
}


class Clearance:
    """What may be captured of one call.

    Args:
        call: the call.
        policy: its rules.
        left_out: those that are not enforced where its guard is attached.
        verdicts: on its texts.
    """

    def __init__(self, call: Call, policy: Policy, left_out: Sequence[Guardrail], verdicts: Sequence[Verdict]) -> None:
        self._call, self._policy, self._left_out, self._verdicts = call, policy, left_out, verdicts

    def of(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """Of content by attribute, what may be captured."""
        if not (self._policy.guardrails or self._left_out):
            return dict(told)
        kept = {name: value for name, value in told.items() if self._cleared(_STAGES.get(name, "input"))}
        kept.pop(names.TOOL_DEFINITIONS, None)
        if names.TOOL_DEFINITIONS in told:
            kept[names.TOOL_DEFINITIONS] = [self._definition(one) for one in told[names.TOOL_DEFINITIONS]]
        for name in (names.INPUT_MESSAGES, names.OUTPUT_MESSAGES):
            if name in kept:
                kept[name] = [self._message(one, _STAGES.get(name, "input")) for one in kept[name]]
        return kept

    def _acting(self, stage: Stage) -> set[str]:
        """The rules that act on texts of a stage, whether they are enforced here or not."""
        rules = [rule for rule in self._policy.at(stage) if rule.filter is None or rule.filter(self._call)]
        return {rule.name for rule in (*rules, *self._left_out) if rule.stage == stage and rule.acts}

    def _judged(self, stage: Stage, acting: set[str]) -> bool:
        """Whether all rules that act could, and one did look."""
        looked = {f.rule for verdict in self._verdicts if verdict.stage == stage for f in verdict.findings}
        return bool(looked & acting) and not acting & {rule.name for rule in self._left_out}

    def _cleared(self, stage: Stage) -> bool:
        acting = self._acting(stage)
        if acting:
            return self._judged(stage, acting)
        for other in _BESIDE.get(stage, ()):
            acting = self._acting(other)
            if acting and not (stage == "output" and self._judged(other, acting)):
                return False
        return True

    def _definition(self, one: dict[str, Any]) -> dict[str, Any]:
        """A tool: what is said of it goes to the model unjudged."""
        return {key: one[key] for key in ("type", "name") if key in one} if self._acting("input") else one

    def _message(self, one: dict[str, Any], stage: Stage) -> dict[str, Any]:
        """A message without what no guardrail can look at, and without arguments that are judged where a tool is."""
        tools = self._acting("tool_call")
        withheld = {"tool_call"} if tools and not self._judged("tool_call", tools) else set()
        if self._acting(stage):
            withheld |= {"uri", "file"}
        if not withheld:
            return one
        return {**one, "parts": [_bare(part) if part.get("type") in withheld else part for part in one["parts"]]}


def _bare(part: dict[str, Any]) -> dict[str, Any]:
    return {key: part[key] for key in ("type", "id", "name", "modality", "mime_type") if key in part}


def fails_to_judge(verdict: Verdict, acting: Sequence[Guardrail]) -> bool:
    """Whether a text goes on that a rule should have acted on and did not look at."""
    names_ = {rule.name for rule in acting}
    return any(finding.outcome in ("error", "skipped") and finding.rule in names_ for finding in verdict.findings)
