"""Ways round the core's promises that were tried and must stay closed."""

from __future__ import annotations

import asyncio
import pickle
import threading

import pytest

from llmguard_middleware import (
    Call,
    ConfigurationError,
    Finding,
    Guard,
    Guardrail,
    GuardrailViolation,
    Message,
    Monitor,
    Score,
    Verdict,
    scorer,
)
from llmguard_middleware._drive import adrive, drive
from llmguard_middleware._flow import Flow
from llmguard_middleware.scorers import pii, prompt_injection
from llmguard_middleware.testing import Flags, Returns

PERSONAL = "I am 900101-1234567"


def test_a_monitor_sees_no_personal_data_however_deep(telemetry):
    """What the guard redacts is redacted for its monitors in nested inputs, lists, messages, context and outputs."""
    seen = []

    @scorer
    def watch(inputs: dict, messages: tuple, context: tuple, output: dict) -> float:
        seen.append((inputs, messages, context, output))
        return 1.0

    guard = Guard(
        Guardrail(pii(), stage="input", action="redact"),
        Guardrail(pii(), stage="output", action="redact", name="pii-out"),
        Monitor(watch),
        **telemetry.providers,
    )
    deep = {"a": [PERSONAL, {"b": (PERSONAL, 3)}], "object": object()}
    flow = Flow(guard, Call("invoke_workflow", inputs=deep, messages=(Message("user", PERSONAL),)))
    flow.answered(output={"answer": [PERSONAL]}, context=(PERSONAL,))
    assert guard.flush() == 0
    redacted = "I am <KR_RRN>"
    assert seen == [
        (
            {"a": [redacted, {"b": (redacted, 3)}], "object": "<object>"},
            (Message("user", redacted),),
            (redacted,),
            {"answer": [redacted]},
        )
    ]


@pytest.mark.parametrize("label", [PERSONAL, "hong@example.com", "900101-1234567", "a" * 200, "call 01012345678"])
def test_a_label_that_may_be_content_is_not_told(telemetry, label):
    """A scorer that puts text into its label does not put it into telemetry."""
    guard = Guard(
        Guardrail(Returns({"flagged": True, "label": label}), stage="input", action="log"), **telemetry.providers
    )
    with Flow(guard, Call("chat")) as flow:
        drive(flow.admit([Message("user", "Hi")]), guard.workers)
        flow.answered(output="")
    assert label not in repr(telemetry.spans) + repr(telemetry.records)


COPIED = ["AKIAIOSFODNN7EXAMPLE", "hong.gildong.example.com", "홍길동/서울", "Hong-Gildong", "akiaiosfodnn7example"]


@pytest.mark.parametrize("label", COPIED)
@pytest.mark.parametrize("action", ["log", "block"])
def test_a_label_that_is_copied_from_the_text_is_not_told(telemetry, label, action):
    """Whatever it looks like: what the judged text holds is content, in another case too."""
    rule = Guardrail(Returns({"flagged": True, "label": label}), stage="input", action=action)
    Guard(rule, **telemetry.providers).check(f"I am {label.upper()}!", stage="input")
    assert telemetry.records
    assert label not in repr(telemetry.spans) + repr(telemetry.records)


class Unreadable:
    """An output whose texts cannot be had."""

    def model_dump(self):
        """Fails."""
        raise RuntimeError(PERSONAL)


def test_a_label_is_not_told_if_nobody_can_say_what_the_call_held(telemetry):
    """The score is recorded all the same."""
    guard = Guard(**telemetry.providers)
    guard.emitter.monitored(Call("op", output=Unreadable()), None, "m", Score(value=1.0, label=COPIED[0]), None, 1)
    (record,) = telemetry.records
    assert record.attributes["gen_ai.evaluation.score.value"] == 1.0
    assert "gen_ai.evaluation.score.label" not in record.attributes


@pytest.mark.parametrize("answer", [lambda text: {"deep": [text]}, lambda text: "ok"], ids=["output", "inputs"])
def test_a_monitors_label_that_is_copied_from_the_call_is_not_told(telemetry, answer):
    """What is in the inputs or the output of the call is content; the same of a scorer that is applied later."""
    copied = Returns({"value": 1, "label": COPIED[0]})
    guard = Guard(Monitor(copied, name="m"), **telemetry.providers)

    @guard.op
    def op(text):
        return answer(text)

    _, call = op.call(f"I am {COPIED[0]}!")
    call.apply_scorer_sync(copied, name="later")
    assert guard.flush(30) == 0
    assert len([one for one in telemetry.records if one.attributes["gen_ai.evaluation.name"] in ("m", "later")]) == 2
    assert COPIED[0] not in repr(telemetry.spans) + repr(telemetry.records)


@pytest.mark.parametrize("label", ["toxic", "hate_speech,self-harm", "EMAIL_ADDRESS,KR_RRN"])
def test_a_plain_word_is_told_even_if_the_text_has_it(telemetry, label):
    """Words are how classes are called; that a text has one says little."""
    guard = Guard(Guardrail(Returns({"flagged": True, "label": label}), stage="input"), **telemetry.providers)
    guard.check(f"so {label}", stage="input")
    assert telemetry.records[0].attributes["gen_ai.evaluation.score.label"] == label


@pytest.mark.parametrize("label", ["toxic", "혐오", "EMAIL_ADDRESS,KR_RRN", "policy/3.2"])
def test_a_label_that_names_a_class_is_told(telemetry, label):
    """A class's name is kept, Korean ones too."""
    guard = Guard(
        Guardrail(Returns({"flagged": True, "label": label}), stage="input", action="log"), **telemetry.providers
    )
    with Flow(guard, Call("chat")) as flow:
        drive(flow.admit([Message("user", "Hi")]), guard.workers)
        flow.answered(output="")
    assert telemetry.records[0].attributes["gen_ai.evaluation.score.label"] == label


def test_a_violation_can_be_pickled_whatever_the_scorer_returned():
    """What cannot be pickled is left behind; the sentence, the code and the outcome stay."""
    guard = Guard(Guardrail(Returns({"flagged": True, "lock": threading.Lock()}), stage="input"))
    violation = pickle.loads(pickle.dumps(GuardrailViolation(guard.check("Hi", stage="input"))))
    assert violation.to_dict()["message"] == 'guardrail "returns" of guard "default" blocked the input'
    assert violation.verdict.outcome == "blocked"


@pytest.mark.parametrize("use_async", [True, False])
def test_a_scorer_that_cancels_itself_has_failed(use_async):
    """A CancelledError of the scorer's own is a failure like another, and on_error decides."""

    @scorer
    async def quits(text: str) -> bool:
        raise asyncio.CancelledError

    allowed = Guard(Guardrail(quits, stage="input", on_error="allow"))
    plan = allowed.plan("Hi", "input")
    verdict = asyncio.run(adrive(plan, allowed.workers)) if use_async else drive(plan, allowed.workers)
    assert verdict.outcome == "error"
    assert str(verdict.findings[0].error) == 'scorer "quits" was cancelled'


def test_the_digest_changes_with_the_policy():
    """Two policies that judge differently have different digests; the same policy has the same."""
    digests = [
        Guard(Guardrail(made, stage="input", action=action, name="x")).digest
        for made in (pii(), pii("US_SSN"), prompt_injection())
        for action in ("block", "redact")
    ]
    assert len(set(digests)) == 6
    assert Guard(Guardrail(pii(), stage="input")).digest == Guard(Guardrail(pii(), stage="input")).digest


def test_a_failing_tracer_does_not_break_the_call(caplog):
    """A provider that raises at the start of a span costs the span, not the call."""

    class Broken:
        def get_tracer(self, *args, **kwargs):
            return self

        def start_span(self, *args, **kwargs):
            raise RuntimeError(PERSONAL)

    guard = Guard(Guardrail(Flags(when="x"), stage="input"), tracer_provider=Broken())
    with Flow(guard, Call("chat")) as flow:
        assert drive(flow.admit([Message("user", "Hi")]), guard.workers) == ["Hi"]
        flow.answered(output="")
    assert caplog.messages == ["telemetry could not be written: RuntimeError"]


def test_a_monitor_of_texts_works_on_a_structured_answer():
    """Where the answer is no text, `text` is every text in it."""
    seen = []

    @scorer
    def watch(text: str) -> float:
        seen.append(text)
        return 1.0

    guard = Guard(Monitor(watch))
    guard.observe(Call("chat", answered=True, output={"a": "one", "b": ["two", 3]}))
    assert guard.flush() == 0
    assert seen == ["one\ntwo"]


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        (lambda: Guardrail(pii, stage="input"), "pii makes a scorer; call it: pii()"),
        (lambda: pii(["EMAIL_ADDRESS"]), 'pii() knows no kind ["EMAIL_ADDRESS"]: '),
        (
            lambda: Guard(tracer_provider="console"),
            "tracer_provider= takes an OpenTelemetry provider and was given str",
        ),
        (lambda: Guard().check(None, stage="input"), "what check() judges is NoneType; give a text"),
        (
            lambda: Guardrail(Flags(reach=-1), stage="input"),
            'reach of scorer "flags" is -1; give a number of characters',
        ),
    ],
)
def test_a_likely_mistake_is_told_in_a_sentence(mistake, sentence):
    """What a user gets wrong most easily is a configuration error that says what to write."""
    with pytest.raises(ConfigurationError) as raised:
        mistake()
    assert sentence in str(raised.value)


def test_a_portable_verdict_holds_nothing_foreign():
    """A verdict's portable copy keeps what it says and drops what scorers returned."""
    finding = Finding("r", "block", "error", Score(result=object(), metadata={"a": object()}), ValueError(PERSONAL))
    portable = Verdict("error", "input", "Hi", (finding,)).portable()
    assert (portable.findings[0].score, str(portable.findings[0].error)) == (Score(), "ValueError")
