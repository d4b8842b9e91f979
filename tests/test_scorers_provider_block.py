"""provider_block(): how a provider tells that it refused, filtered or cut an answer."""

from __future__ import annotations

from enum import Enum
from types import SimpleNamespace
from typing import Any

import pytest

from llmguard_middleware import (
    Call,
    ConfigurationError,
    Guard,
    Guardrail,
    GuardrailViolation,
    Score,
    UnenforceableError,
    scorer,
)
from llmguard_middleware._flow import Flow
from llmguard_middleware.scorers import load, provider_block
from llmguard_middleware.testing import CapturedTelemetry


class Reason(Enum):
    """As Google's clients give it."""

    SAFETY = 3
    STOP = 1


def flagged(label: str) -> Score:
    """The score of a call that the provider stopped."""
    return Score(value=1.0, flagged=True, label=label, explanation=f"the provider stopped the answer: {label}")


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ({"finish_reasons": ("content_filter",)}, "content_filter"),
        ({"finish_reasons": ("stop", "content_filter")}, "content_filter"),
        ({"finish_reasons": ("content_filtered",)}, "content_filtered"),
        ({"finish_reasons": ("guardrail_intervened",)}, "guardrail_intervened"),
        ({"finish_reasons": ("refusal",)}, "refusal"),
        ({"finish_reasons": ("PROHIBITED_CONTENT",)}, "prohibited_content"),
        ({"finish_reasons": ("FinishReason.SAFETY",)}, "safety"),
        ({"finish_reasons": (Reason.SAFETY,)}, "safety"),
        ({"block_reason": "PROHIBITED_CONTENT"}, "prohibited_content"),
        ({"block_reason": "OTHER"}, "blocked"),
        ({"block_reason": "BLOCK_REASON_UNSPECIFIED"}, ""),
        ({"finish_reasons": ("stop", "length", "tool_calls", "end_turn", "MAX_TOKENS")}, ""),
        ({"finish_reasons": (Reason.STOP,)}, ""),
        ({}, ""),
    ],
)
def test_finish_and_block_reasons_are_known(answer: dict[str, Any], label: str) -> None:
    """The providers' words, in whatever case, as texts and as members of enums; a new reason to block is "blocked"."""
    score = provider_block().score(Call("chat", **answer))
    assert score == (flagged(label) if label else Score(value=0.0))


def error(name: str = "BadRequestError", cause: BaseException | None = None, **fields: Any) -> Exception:
    """An exception of a client's class of this name, with these fields."""
    made: Exception = type(name, (Exception,), {})("Kim Minsu asked for it")
    made.__cause__ = cause
    for field, value in fields.items():
        setattr(made, field, value)
    return made


class Hostile(Exception):  # noqa: N818 - what it is called does not matter
    """One whose fields cannot be looked at."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


AZURE = {"code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation"}}


@pytest.mark.parametrize(
    ("raised", "label"),
    [
        (error(code="content_filter"), "content_filter"),
        (error(code=None, body=AZURE), "content_filter"),
        (error(body={"error": {"innererror": AZURE["innererror"]}}), "content_filter"),
        (error("HttpResponseError", error=SimpleNamespace(code="content_filter")), "content_filter"),
        (error(code="content_policy_violation"), "content_policy_violation"),
        (error("ContentFilterFinishReasonError"), "content_filter"),
        (error("ContentPolicyViolationError"), "content_policy_violation"),
        (error("OpenAIRefusalError"), "refusal"),
        (error("BlockedPromptException"), "blocked"),
        (error("Wrapped", error("Wrapped", error(code="content_filter"))), "content_filter"),
        (error(code="rate_limit_exceeded", body={"code": "rate_limit_exceeded"}), ""),
        (error(code=400, body="content_filter"), ""),
        (error(body={"error": "text"}), ""),
        (TimeoutError(), ""),
    ],
)
def test_errors_of_clients_are_known(raised: Exception, label: str) -> None:
    """By class, code and body, and by what caused them; their texts are not looked at, nor told."""
    score = provider_block().score(Call("chat"), error=raised)
    assert score == (flagged(label) if label else Score(value=0.0))


def test_an_exception_that_cannot_be_looked_at_is_none() -> None:
    """Its fields are foreign code."""
    assert provider_block().score(Call("chat"), error=Hostile("content_filter")) == Score(value=0.0)


def test_an_exception_that_causes_itself_is_looked_at_for_a_while() -> None:
    """And no longer."""
    one, other = error(), error()
    one.__cause__, other.__cause__ = other, one
    assert provider_block().score(None, error=one) == Score(value=0.0)


def test_it_is_for_models_and_once_for_each_answer(telemetry: CapturedTelemetry) -> None:
    """However many texts an answer has, and never for a call that is no model's."""
    guard = Guard(Guardrail(provider_block(), stage="output", action="log"), **telemetry.providers)
    with Flow(guard, Call("chat", model="m")) as flow:
        flow.told(finish_reasons=("content_filter",))
        flow.answered(output="Take the", finish_reasons=("content_filter",))
    with Flow(guard, Call("invoke_workflow", "w")) as flow:
        flow.answered(output="Take the", finish_reasons=("content_filter",))
    assert [record.attributes["gen_ai.evaluation.score.label"] for record in telemetry.records] == ["content_filter"]
    assert "llmguard.verdict" not in telemetry.span("invoke_workflow w").attributes


def test_an_adapter_that_tells_nothing_before_is_judged_at_the_end(telemetry: CapturedTelemetry) -> None:
    """`answered` raises then, and the span says why."""
    guard = Guard(Guardrail(provider_block(), stage="output"), **telemetry.providers)
    with pytest.raises(GuardrailViolation), Flow(guard, Call("chat", model="m")) as flow:
        flow.answered(output="", block_reason="SAFETY")
    assert telemetry.span("chat m").attributes["llmguard.verdict"] == "blocked"


def test_an_exception_is_told_where_nobody_told_it_before(telemetry: CapturedTelemetry) -> None:
    """On the call of the model; on a function or a chain only if that call is not guarded. It is raised as it is."""
    guard = Guard(Guardrail(provider_block(), stage="output"), **telemetry.providers)
    guard.covers(ends=True)  # by the flow below
    raised = error(code="content_filter")

    @guard.op
    def plain(question: str) -> str:
        raise raised

    @guard.op
    def around(question: str) -> str:
        with Flow(guard, Call("chat", model="m")):
            raise raised

    for op in (plain, around):
        with pytest.raises(Exception, match="Kim Minsu") as caught:
            op("How?")
        assert caught.value is raised
    verdicts = [(span.name, span.attributes.get("llmguard.verdict")) for span in telemetry.spans]
    assert [one for one in verdicts if not one[0].startswith("llmguard.")] == [
        ("invoke_workflow plain", "blocked"),
        ("chat m", "blocked"),
        ("invoke_workflow around", None),
    ]
    assert len(telemetry.records) == 2


def test_an_op_alone_cannot_enforce_it() -> None:
    """An op whose guard reaches no model is refused at its first call, or warns; one that only logs is not."""

    def answer(question: str) -> str:
        return "Take the"

    rule = Guardrail(provider_block(), stage="output")
    guard = Guard(rule)
    op = guard.op(answer)
    with pytest.raises(UnenforceableError, match=r'op "answer" cannot .*: it is about how a model\'s call ended'):
        op("How?")
    guard.covers(ends=True)
    assert op("How?") == "Take the"
    assert set(guard.covered) == {"input", "output"}
    with pytest.warns(UserWarning, match="protect the model with the same guard first") as warned:
        assert Guard(rule, unenforceable="warn").op(answer)("How?") == "Take the"
    assert len(warned) == 1
    with pytest.warns(UserWarning, match="protect the model") as warned:
        Guard(rule, unenforceable="warn").op(stages=("tool_call", "tool_result"))(answer)("How?")
    assert len(warned) == 1
    logs = Guard(Guardrail(provider_block(), stage="output", action="log"))
    assert logs.op(answer)("How?") == "Take the"


def test_a_text_alone_tells_nothing() -> None:
    """guard.check() judges texts: there is no call that ended."""
    assert Guard(Guardrail(provider_block(), stage="output")).check("No.", stage="output").outcome == "passed"


def test_where_chooses_the_calls(telemetry: CapturedTelemetry) -> None:
    """As for every rule."""
    rule = Guardrail(provider_block(), stage="output", action="log", where={"model": "gpt-*"})
    guard = Guard(rule, **telemetry.providers)
    for model in ("gpt-9", "claude-9"):
        with Flow(guard, Call("chat", model=model)) as flow:
            flow.answered(output="", block_reason="SAFETY")
    assert [record.attributes["llmguard.verdict"] for record in telemetry.records] == ["flagged"]


@pytest.mark.parametrize(
    "options",
    [{"stage": "input"}, {"stage": "output", "action": "redact"}, {"stage": "output", "action": "reask"}],
)
def test_what_it_cannot_do_is_refused(options: dict[str, Any]) -> None:
    """It neither edits nor asks again: a provider's refusal is never turned into a retry."""
    with pytest.raises(ConfigurationError) as caught:
        Guardrail(provider_block(), **options)
    assert str(caught.value) == (
        'scorer "provider_block" is about how a call ended, so rule "provider_block" is for the output stage, '
        "and for block or log"
    )


def test_a_scorer_of_ones_own_may_be_about_calls() -> None:
    """A class that says so; it has to be cheap, since it runs where a call ends."""

    @scorer
    class Slow:
        of_call = True
        cheap = True

        def score(self, call: Call, error: BaseException | None = None) -> bool:
            return error is not None

    class Async(Slow):
        async def score(self, call: Call) -> bool:  # type: ignore[override]  # which is refused
            return False

    assert Guard(Guardrail(Slow(), stage="output", action="log")).policy.of_call
    with pytest.raises(ConfigurationError, match="is about how a call ended"):
        Guardrail(Async(), stage="output", action="log")


def test_it_is_loaded_by_name() -> None:
    """As plug-ins are."""
    assert load("provider_block").score(Call("chat", finish_reasons=("refusal",))) == flagged("refusal")
