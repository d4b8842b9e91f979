"""The decision, which is pure: what is scored, what comes of it, and the verdict."""

from __future__ import annotations

from typing import Any

import pytest

from llmguard_middleware import Finding, Guardrail, Score, ScorerError, TextSpan, Verdict
from llmguard_middleware._edits import Edit
from llmguard_middleware._judge import Case, Completion, Launch, judge
from llmguard_middleware._verdict import worst
from llmguard_middleware.testing import Flags


def rules(*actions: Any) -> tuple[Guardrail, ...]:
    """One guardrail for each action, called by its number."""
    return tuple(Guardrail(Flags(), stage="output", action=a, name=str(i)) for i, a in enumerate(actions))


def decide(chosen: tuple[Guardrail, ...], text: str, *completions: Completion) -> Verdict:
    """Drive the plan by hand."""
    plan = judge(Case(chosen, text, "output", {"question": "q"}, "g", "d"))
    assert next(plan) == Launch(list(enumerate(chosen)), {"question": "q", "text": text, "output": text})
    for completion in completions[:-1]:
        assert plan.send(completion) is None
    with pytest.raises(StopIteration) as stop:
        plan.send(completions[-1])
    verdict = stop.value.value
    assert isinstance(verdict, Verdict)
    return verdict


def test_no_rules_pass() -> None:
    """Without rules nothing is scored and the text passes."""
    plan = judge(Case((), "text", "input", {}, "g", "d"))
    with pytest.raises(StopIteration) as stop:
        next(plan)
    assert stop.value.value == Verdict("passed", "input", "text", guard="g", digest="d")


def test_a_clean_text_passes() -> None:
    """An unflagged score passes, and is kept."""
    verdict = decide(rules("block"), "text", Completion(0, False, None, 0.5))
    finding = Finding("0", "block", "passed", Score(result=False), seconds=0.5)
    assert verdict == Verdict("passed", "output", "text", (finding,), guard="g", digest="d")
    assert (verdict.stops, verdict.guarded, verdict.cause) == (False, "text", finding)


def test_the_first_block_ends_the_rest() -> None:
    """After a rule that stops the call no other completion is asked for; those not judged are skipped."""
    verdict = decide(rules("block", "block", "log"), "text", Completion(1, True))
    assert [finding.outcome for finding in verdict.findings] == ["skipped", "blocked", "skipped"]
    assert (verdict.outcome, verdict.stops, verdict.cause.rule) == ("blocked", True, "1")


def test_redactions_of_all_rules_are_made() -> None:
    """Spans of several rules are redacted together, on the offsets of the original."""
    verdict = decide(
        rules("redact", "redact"),
        "0123456789",
        Completion(1, Score(flagged=True, spans=(TextSpan(4, 6, "B"),))),
        Completion(0, Score(flagged=True, spans=(TextSpan(0, 2, "A"), TextSpan(5, 8, "A")))),
    )
    assert verdict.edits == (Edit(0, 2, "<A>"), Edit(4, 8, "<B>"))
    assert (verdict.outcome, verdict.guarded) == ("redacted", "<A>23<B>89")


def test_a_redaction_without_spans_takes_the_whole_text() -> None:
    """A flagged score that does not say where redacts everything."""
    assert decide(rules("redact"), "text", Completion(0, True)).guarded == "<0>"


def test_a_shadow_rule_changes_nothing() -> None:
    """A flagged rule that only logs is recorded, and the text passes as it is."""
    verdict = decide(rules("log"), "text", Completion(0, Score(flagged=True, spans=(TextSpan(0, 4, "A"),))))
    assert (verdict.outcome, verdict.stops, verdict.guarded) == ("flagged", False, "text")


@pytest.mark.parametrize(
    "completion",
    [
        Completion(0, None, RuntimeError("boom")),
        Completion(0, "nonsense"),
        Completion(0, Score.not_scored("no idea")),
        Completion(0, Score(flagged=True, spans=(TextSpan(0, 5, "A"),))),
        Completion(0, Score(flagged=True, spans=((0, 1),))),  # type: ignore[arg-type]
        Completion(0, {"metadata": 3}),
    ],
)
@pytest.mark.parametrize(("on_error", "stops"), [("block", True), ("allow", False)])
def test_a_failed_score_is_what_on_error_makes_of_it(completion: Completion, on_error: Any, stops: bool) -> None:
    """Raised, unreadable, unscored, or with a span outside the text: an error finding, which stops the call or not."""
    rule = Guardrail(Flags(), stage="output", action="redact", on_error=on_error)
    verdict = decide((rule,), "text", completion)
    assert (verdict.outcome, verdict.stops, verdict.guarded) == ("error", stops, "text")
    assert isinstance(verdict.cause.error, completion.error.__class__ if completion.error else ScorerError)


def test_an_error_that_is_allowed_lets_other_rules_act() -> None:
    """A rule that may fail does not keep the next one from redacting; the outcome says error, the text is redacted."""
    one = Guardrail(Flags(), stage="output", on_error="allow", name="one")
    two = Guardrail(Flags(), stage="output", action="redact", name="two")
    done = Score(flagged=True, spans=(TextSpan(0, 2, "A"),))
    verdict = decide((one, two), "text", Completion(0, None, ValueError()), Completion(1, done))
    assert (verdict.outcome, verdict.stops, verdict.guarded) == ("error", False, "<A>xt")


def test_the_worst_outcome_decides() -> None:
    """blocked, error, replaced, redacted, flagged, passed: in this order; skipped counts only where it is all."""
    assert worst(["passed", "flagged", "redacted", "replaced", "error", "blocked", "skipped"]) == "blocked"
    assert worst(["passed", "flagged", "redacted", "replaced"]) == "replaced"
    assert worst(["passed", "flagged", "redacted", "error"]) == "error"
    assert worst(["passed", "flagged", "redacted"]) == "redacted"
    assert worst(["skipped", "flagged", "passed"]) == "flagged"
    assert (worst(["skipped"]), worst([])) == ("skipped", "passed")


def test_a_verdict_shows_no_content() -> None:
    """Neither the text nor what a foreign scorer says about it is in the repr of a verdict."""
    verdict = decide(
        rules("redact"),
        "my password",
        Completion(0, {"flagged": True, "reason": "my password", "spans": [(0, 2, "A")]}),
    )
    failed = decide(rules("block"), "my password", Completion(0, None, ValueError("my password")))
    assert "password" not in repr(verdict) + repr(failed)
    assert repr(verdict).startswith(
        "Verdict(outcome='redacted', stage='output', findings=(Finding(rule='0', action='redact',"
    )
