"""What other instrumentations are told of our calls, and what the application's own word to be silent does."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from openinference.instrumentation.openai import OpenAIInstrumentor as OpenInference
from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.util.genai._inference_invocation import CLIENT_INFERENCE_CONTEXT_KEY, InferenceData

from llmguard_middleware import Call, Guard, Guardrail, GuardrailViolation, Message, Monitor
from llmguard_middleware._drive import drive
from llmguard_middleware._flow import Flow
from llmguard_middleware._unjudged import Unjudged
from llmguard_middleware.telemetry import TelemetryOptions
from llmguard_middleware.telemetry._beside import Hush, beneath, others, suppressed, told
from llmguard_middleware.testing import Flags

if TYPE_CHECKING:
    from llmguard_middleware.testing import CapturedTelemetry

TRACELOOP = "suppress_language_model_instrumentation"
SUPPRESS = otel._SUPPRESS_INSTRUMENTATION_KEY


@pytest.mark.parametrize("operation", ["chat", "text_completion", "generate_content", "embeddings"])
def test_below_a_models_call_others_read_that_it_is_traced(operation: str) -> None:
    """Traceloop's key and OpenTelemetry's record are in the context; what HTTP clients heed is not."""
    below = told(Context({"theirs": 1}), operation)
    assert below["theirs"] == 1
    assert below[TRACELOOP]
    assert not below.get(SUPPRESS)
    assert (CLIENT_INFERENCE_CONTEXT_KEY in below) == (operation != "embeddings")


@pytest.mark.parametrize("operation", ["invoke_workflow", "invoke_agent", "execute_tool", "retrieval", "rerank", ""])
def test_below_other_calls_nothing_is_said(operation: str) -> None:
    """Models below a workflow, an agent or a tool that are not ours are traced by whoever traces them."""
    context = Context()
    assert told(context, operation) is context


@pytest.mark.parametrize(
    ("option", "on", "expected"),
    [(None, True, True), (None, False, False), (False, True, False), (True, False, True)],
)
def test_all_instrumentation_is_suppressed_where_openinference_is_switched_on(
    monkeypatch: pytest.MonkeyPatch, option: bool | None, on: bool, expected: bool
) -> None:
    """Only then, unless the option says otherwise; and we do not take our own word for the application's."""
    monkeypatch.setattr(OpenInference(), "_is_instrumented_by_opentelemetry", on)
    below = told(Context(), "chat", option)
    assert bool(below.get(SUPPRESS)) is expected
    assert not suppressed(below)


def test_the_record_that_others_find_stays_theirs() -> None:
    """Where OpenTelemetry's instrumentation is around, its record is left to it."""
    theirs = InferenceData()
    assert told(Context({CLIENT_INFERENCE_CONTEXT_KEY: theirs}), "chat")[CLIENT_INFERENCE_CONTEXT_KEY] is theirs


def test_a_context_that_is_left_behind_says_nothing_once_the_call_is_over() -> None:
    """The task of a cancelled call keeps its context: others trace what comes after it."""
    before = otel.get_current()
    hush = Hush("chat", True)
    left = otel.get_current()
    assert left[TRACELOOP]
    assert left[SUPPRESS]
    assert isinstance(left[CLIENT_INFERENCE_CONTEXT_KEY], InferenceData)
    hush.over()
    assert otel.get_current() is before
    assert not left[TRACELOOP]
    assert not left[SUPPRESS]
    assert not isinstance(left[CLIENT_INFERENCE_CONTEXT_KEY], InferenceData)


def test_the_end_of_a_call_leaves_a_context_of_others_alone() -> None:
    """What somebody attached in between is not taken away."""
    before = otel.get_current()
    hush = Hush("chat", None)
    theirs = Context({"theirs": 1})
    otel.attach(theirs)
    hush.over()
    assert otel.get_current() is theirs
    otel.attach(before)


@pytest.mark.parametrize("judged", [True, False])
def test_a_calls_own_context_tells_others(telemetry: CapturedTelemetry, judged: bool) -> None:
    """With rules and without, what is inside the call reads that it is traced, and by which span."""
    assert others(), BaseInstrumentor.__module__
    guard = Guard(**telemetry.providers)
    call: Any = Flow(guard, Call("chat")) if judged else Unjudged(guard, Call("chat"), None)
    below = call.span.context if judged else call.context
    assert below[TRACELOOP]
    assert trace.get_current_span(below).is_recording()
    call.answered(output="x")


def test_in_a_process_without_instrumentations_nothing_is_told(
    telemetry: CapturedTelemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would read it."""
    monkeypatch.delitem(sys.modules, "opentelemetry.instrumentation.instrumentor", raising=False)
    guard = Guard(**telemetry.providers)
    with Flow(guard, Call("chat")) as flow:
        assert TRACELOOP not in flow.span.context
        assert guard.emitter.hush("chat") is None
        flow.answered(output="x")


def test_suppressed_calls_have_no_span_and_are_guarded(telemetry: CapturedTelemetry) -> None:
    """Under suppress_instrumentation() there are no spans, of guardrails and monitors neither; records there are."""
    guard = Guard(Guardrail(Flags(when="bad"), stage="input"), Monitor(Flags(), name="seen"), **telemetry.providers)
    tracer = telemetry.tracer_provider.get_tracer("app")
    with tracer.start_as_current_span("app") as app, suppress_instrumentation():
        with pytest.raises(GuardrailViolation), Flow(guard, Call("chat")) as flow:
            drive(flow.admit([Message("user", "bad")]), guard.workers)
        with Flow(guard, Call("chat")) as flow:
            flow.answered(output="fine")
        assert guard.check("bad", stage="input").outcome == "blocked"
        assert guard.emitter.hush("chat") is None
        assert guard.flush(30) == 0
    assert [span.name for span in telemetry.spans] == ["app"]
    assert {record.span_id for record in telemetry.records} == {app.get_span_context().span_id}
    assert "blocked" in [record.attributes.get("llmguard.verdict") for record in telemetry.records]


def test_our_own_word_does_not_silence_calls_inside(telemetry: CapturedTelemetry) -> None:
    """A guarded call inside a model's call, which is under our own suppression, has its span."""
    guard = Guard(**telemetry.providers, telemetry=TelemetryOptions(suppress_below=True))
    with Flow(guard, Call("chat", model="outer")) as outer:
        with outer.active(), Flow(guard, Call("chat", model="inner")) as inner:
            inner.answered(output="x")
        outer.answered(output="x")
    assert [(span.name, span.parent) for span in telemetry.spans] == [
        ("chat inner", "chat outer"),
        ("chat outer", None),
    ]


def test_what_lies_beneath_a_hush_is_known() -> None:
    """Whoever attached a context finds it again under one that a call put upon it and did not take back."""
    before = otel.get_current()
    hush = Hush("chat", None)
    assert otel.get_current() is not before
    assert beneath(otel.get_current()) is before
    hush.over()
    assert beneath(before) is before


def test_a_context_made_inside_a_hush_is_its_makers_own() -> None:
    """Beneath the context of a call that begins while another stream waits lies nothing else."""
    hush = Hush("chat", None)
    theirs = otel.set_value("theirs", 1)
    assert beneath(theirs) is theirs
    hush.over()


def test_streams_that_wait_together_end_in_any_order() -> None:
    """The last of them to end leaves the context that was there before the first."""
    before = otel.get_current()
    first, second, third = (Hush("chat", None) for _ in range(3))
    second.over()
    first.over()
    assert beneath(otel.get_current()) is before
    third.over()
    assert otel.get_current() is before
