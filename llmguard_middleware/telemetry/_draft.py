"""Names of the conventions' draft on guardrails (semantic-conventions-genai #427, as of 2026-10): behind a switch.

The draft has a span for remote guardrail services and an event for local ones. What it calls a result is what the
guardrail itself said: here the outcome. Reasons and content are never told.
"""

from __future__ import annotations

from typing import Any

from .._verdict import Finding, Verdict

__all__ = ["COMPONENT", "EVENT", "OPERATION", "result_attributes"]

OPERATION = "apply_guardrail"
EVENT = "gen_ai.guardrail.result"
COMPONENT = "gen_ai.guardrail.component.name"
_POLICY = "gen_ai.guardrail.policy.id"
_VERSION = "gen_ai.guardrail.policy.version"
_SOURCE = "gen_ai.guardrail.source"
_TYPE = "gen_ai.guardrail.result.type"
_VALUE = "gen_ai.guardrail.result.value"
_RISK = "gen_ai.guardrail.risk.score"


def result_attributes(guard: str, digest: str, verdict: Verdict, finding: Finding) -> dict[str, Any]:
    """What one guardrail said of a text."""
    attributes: dict[str, Any] = {
        COMPONENT: finding.rule,
        _POLICY: guard,
        _VERSION: digest,
        _SOURCE: verdict.stage,
        _TYPE: "outcome",
        _VALUE: finding.outcome,
    }
    if finding.score is not None and finding.score.value is not None:
        attributes[_RISK] = float(finding.score.value)
    return attributes
