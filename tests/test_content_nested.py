"""Content of calls inside of others: nothing of it leaves before a guard further out has had its say."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from llmguard_middleware import Call, Guard, Guardrail, GuardrailViolation, Message, Score, scorer
from llmguard_middleware._drive import drive
from llmguard_middleware._flow import Flow
from llmguard_middleware._score import TextSpan
from llmguard_middleware.telemetry import TelemetryOptions
from llmguard_middleware.testing import CapturedTelemetry

WORD = "secret-canary"


@scorer(name="canary", cheap=True)
def canary(text: str) -> Score:
    """Finds the word."""
    at = text.find(WORD)
    spans = () if at < 0 else (TextSpan(at, at + len(WORD), "CANARY"),)
    return Score(flagged=bool(spans), spans=spans)


def guard(telemetry: CapturedTelemetry, *rules: Guardrail, content: str = "SPAN_AND_EVENT") -> Guard:
    """With content on."""
    options = TelemetryOptions(content)  # type: ignore[arg-type]  # a word of Content
    return Guard(*rules, **telemetry.providers, telemetry=options)


def asked(inner: Guard, outer: Guard) -> str:
    """A model's call under one guard inside of a chain's under another."""
    with Flow(outer, Call("invoke_workflow", name="chain")) as chain:
        with chain.active(), Flow(inner, Call("chat", model="m")) as chat:
            drive(chat.admit([Message("user", "hello")]), inner.workers)
            (said,) = drive(chat.release([f"it is {WORD}"]), inner.workers)
            chat.answered(output=said)
        (told,) = drive(chain.release([said]), outer.workers)
        chain.answered(output=told)
    return told


@pytest.mark.parametrize("action", ["redact", "mask", "replace", "block"])
@pytest.mark.parametrize("content", ["NO_CONTENT", "SPAN_AND_EVENT"])
def test_an_answer_waits_for_no_guard_that_may_yet_change_it(
    telemetry: CapturedTelemetry, action: str, content: str
) -> None:
    """A guard that only captures, inside of one that acts on the answer, tells what was asked and not the answer."""
    rule = Guardrail(canary, stage="output", action=action)  # type: ignore[arg-type]  # a word of Action
    outer = guard(telemetry, rule, content=content)
    with pytest.raises(GuardrailViolation) if action == "block" else nullcontext():
        assert WORD not in asked(guard(telemetry), outer)
    assert WORD not in repr((telemetry.spans, telemetry.records))
    assert "gen_ai.input.messages" in telemetry.span("chat m").attributes


def test_a_rule_for_some_calls_only_counts_where_it_is_not_for_the_model(telemetry: CapturedTelemetry) -> None:
    """The same guard is around both, and its rule is for chains only: the model's answer is not told."""
    rule = Guardrail(canary, stage="output", action="redact", where={"operation": "invoke_workflow"})
    both = guard(telemetry, rule)
    asked(both, both)
    assert WORD not in repr((telemetry.spans, telemetry.records))


def test_an_answer_that_the_same_rules_looked_at_is_told(telemetry: CapturedTelemetry) -> None:
    """One guard around a chain and its model redacts both answers, and both are captured."""
    both = guard(telemetry, Guardrail(canary, stage="output", action="redact"))
    asked(both, both)
    assert "it is <CANARY>" in telemetry.span("chat m").attributes["gen_ai.output.messages"]
    assert "it is <CANARY>" in telemetry.span("invoke_workflow chain").attributes["gen_ai.output.messages"]


def test_a_rule_that_only_logs_withholds_nothing(telemetry: CapturedTelemetry) -> None:
    """A guard around that changes no answer leaves the inner one's where it is."""
    asked(guard(telemetry), guard(telemetry, Guardrail(canary, stage="output", action="log")))
    assert WORD in telemetry.span("chat m").attributes["gen_ai.output.messages"]


def test_calls_share_what_was_taken_out_where_nothing_is_traced() -> None:
    """With events only and no tracer, a call inside does not tell what the call around it had taken out."""
    telemetry = CapturedTelemetry()
    options = TelemetryOptions("EVENT_ONLY")
    outer = Guard(Guardrail(canary, stage="input", action="redact"), telemetry=options)
    inner = Guard(logger_provider=telemetry.logger_provider, telemetry=options)
    with Flow(outer, Call("invoke_workflow", name="chain")) as chain:
        drive(chain.admit([Message("user", f"I am {WORD}")]), outer.workers)
        with chain.active(), Flow(inner, Call("chat", model="m")) as chat:
            drive(chat.admit([Message("user", f"a document says {WORD}")]), inner.workers)
            chat.answered(output="fine")
        chain.answered(output="fine")
    assert telemetry.records
    assert WORD not in repr(telemetry.records)


def test_a_guard_that_captures_nothing_tells_those_inside_what_it_took_out(telemetry: CapturedTelemetry) -> None:
    """Wherever the outer call became the current one before its texts were judged."""
    outer = Guard(Guardrail(canary, stage="input", action="redact"), **telemetry.providers)
    inner = guard(telemetry)
    with Flow(outer, Call("invoke_workflow", name="chain")) as chain, chain.active():
        drive(chain.admit([Message("user", f"I am {WORD}")]), outer.workers)
        with Flow(inner, Call("chat", model="m")) as chat:
            drive(chat.admit([Message("user", f"a document says {WORD}")]), inner.workers)
            chat.answered(output="fine")
        chain.answered(output="fine")
    assert WORD not in repr((telemetry.spans, telemetry.records))
