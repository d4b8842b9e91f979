"""The names of the conventions' draft on guardrails: behind a switch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from llmguard_middleware import Call, Finding, Guard, Score, Verdict
from llmguard_middleware.errors import ConfigurationError
from llmguard_middleware.telemetry import TelemetryOptions
from llmguard_middleware.testing import CapturedRecord, CapturedSpan

if TYPE_CHECKING:
    from llmguard_middleware.testing import CapturedTelemetry

FINDING = Finding("pii", "log", "flagged", Score(value=1.0, flagged=True, label="PII", explanation="user text"))


def _told(telemetry: CapturedTelemetry, **options: Any) -> Guard:
    guard = Guard(**telemetry.providers, telemetry=TelemetryOptions(**options))
    call = Call("chat", provider="p")
    span = guard.emitter.start(call)
    span.judged(Verdict("flagged", "input", "user text", (FINDING,)), guard.emitter)
    span.answered(call)
    return guard


def test_a_notable_guardrail_has_the_names_of_the_draft(telemetry: CapturedTelemetry) -> None:
    """With the switch: the draft's span name and attributes beside ours, and its event in the guarded context."""
    guard = _told(telemetry, draft_guardrail_names=True)
    said = {
        "gen_ai.guardrail.component.name": "pii",
        "gen_ai.guardrail.policy.id": "default",
        "gen_ai.guardrail.policy.version": guard.digest,
        "gen_ai.guardrail.source": "input",
        "gen_ai.guardrail.result.type": "outcome",
        "gen_ai.guardrail.result.value": "flagged",
        "gen_ai.guardrail.risk.score": 1.0,
    }
    ours = {"llmguard.guard.name": "default", "llmguard.guard.digest": guard.digest}
    assert telemetry.spans[0] == CapturedSpan(
        "apply_guardrail pii",
        parent="chat",
        attributes={
            **ours,
            **said,
            "gen_ai.operation.name": "apply_guardrail",
            "gen_ai.provider.name": "llmguard",
            "llmguard.guardrail.name": "pii",
            "llmguard.stage": "input",
            "llmguard.action": "log",
            "llmguard.verdict": "flagged",
        },
    )
    chat = telemetry.span("chat")
    record = CapturedRecord("gen_ai.guardrail.result", {**said, **ours}, chat.trace_id, chat.span_id)
    assert telemetry.records == (record,)
    assert "user text" not in repr(telemetry.spans) + repr(telemetry.records)


def test_by_default_the_drafts_names_are_nowhere(telemetry: CapturedTelemetry) -> None:
    """Without the switch a guardrail's span has our name, and there is no event of the draft's."""
    _told(telemetry)
    assert [span.name for span in telemetry.spans] == ["llmguard.guardrail pii", "chat"]
    assert "gen_ai.guardrail" not in repr(telemetry.spans) + repr(telemetry.records)


@pytest.mark.parametrize("option", ["draft_guardrail_names", "suppress_below"])
def test_switches_are_true_or_false(option: str) -> None:
    """A word in place of a bool is refused, by the name of the option."""
    with pytest.raises(ConfigurationError, match=f"{option} of TelemetryOptions"):
        TelemetryOptions(**{option: "yes"})  # type: ignore[arg-type]  # what the test is about
