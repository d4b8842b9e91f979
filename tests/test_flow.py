"""Flow: one guarded call from its request to the end of its answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from llmguard_middleware import Call, Guard, Guardrail, GuardrailViolation, Message, Monitor, Usage
from llmguard_middleware._drive import adrive, drive
from llmguard_middleware._flow import Flow, reentered
from llmguard_middleware.scorers import pii
from llmguard_middleware.testing import CapturedRecord, CapturedSpan, Flags, Raises

if TYPE_CHECKING:
    from llmguard_middleware.testing import CapturedTelemetry

ASKED = Call(
    "chat",
    provider="openai",
    model="gpt",
    server_address="localhost",
    server_port=8080,
    settings={"temperature": 0.5, "top_p": None, "stop": ("a",), "other": 3},
)
REQUEST = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt",
    "server.address": "localhost",
    "server.port": 8080,
    "gen_ai.request.temperature": 0.5,
    "gen_ai.request.stop_sequences": ("a",),
}


def guarded(telemetry: CapturedTelemetry, *rules: Any, **options: Any) -> Guard:
    """A guard whose telemetry is captured."""
    return Guard(*rules, **telemetry.providers, **options)


def policy(guard: Guard, verdict: str) -> dict[str, Any]:
    """What every judged span says of its guard."""
    return {"llmguard.guard.name": guard.name, "llmguard.guard.digest": guard.digest, "llmguard.verdict": verdict}


def test_an_answered_call_is_one_span(telemetry: CapturedTelemetry) -> None:
    """Request and response attributes follow the conventions; passing rules share one record and have no spans."""
    guard = guarded(
        telemetry, Guardrail(Flags(when="bad"), stage="input"), Guardrail(pii(), stage="output", action="redact")
    )
    with Flow(guard, ASKED) as flow:
        assert drive(flow.admit([Message("system", "s"), Message("user", "u")]), guard.workers) == ["s", "u"]
        assert drive(flow.release(["fine"]), guard.workers) == ["fine"]
        flow.answered(
            output="fine",
            response_id="r",
            response_model="gpt-1",
            finish_reasons=("stop",),
            usage=Usage(3, 4),
            streamed=True,
        )
    assert telemetry.spans == (
        CapturedSpan(
            "chat gpt",
            "CLIENT",
            attributes={
                **REQUEST,
                **policy(guard, "passed"),
                "gen_ai.request.stream": True,
                "gen_ai.response.id": "r",
                "gen_ai.response.model": "gpt-1",
                "gen_ai.response.finish_reasons": ("stop",),
                "gen_ai.usage.input_tokens": 3,
                "gen_ai.usage.output_tokens": 4,
            },
        ),
    )
    span = telemetry.spans[0]
    assert telemetry.records == (
        CapturedRecord(
            "gen_ai.evaluation.result",
            {
                "gen_ai.evaluation.name": "default",
                "gen_ai.evaluation.score.label": "passed",
                "llmguard.guardrail.names": ("flags", "pii"),
                "gen_ai.response.id": "r",
                "llmguard.guard.name": "default",
                "llmguard.guard.digest": guard.digest,
            },
            span.trace_id,
            span.span_id,
        ),
    )


def test_guardrails_that_pass_add_no_span(telemetry: CapturedTelemetry) -> None:
    """However many are asked at both stages, there is the span of the call and no other."""
    rules = (
        Guardrail(pii(), stage="input"),
        Guardrail(Flags(when="bad"), stage="input"),
        Guardrail(pii(), stage="output", name="out"),
    )
    guard = guarded(telemetry, *rules)
    with Flow(guard, ASKED) as flow:
        drive(flow.admit([Message("user", "fine")]), guard.workers)
        drive(flow.release(["fine"]), guard.workers)
        flow.answered(output="fine")
    assert [(span.name, span.attributes["llmguard.verdict"]) for span in telemetry.spans] == [("chat gpt", "passed")]


async def test_a_blocked_call_is_a_failed_span(telemetry: CapturedTelemetry) -> None:
    """A block ends the span as failed with the violation's sentence, and shows the guardrail as a child span."""
    guard = guarded(telemetry, Guardrail(Flags(when="bad"), stage="input"))
    with pytest.raises(GuardrailViolation), Flow(guard, ASKED) as flow:
        await adrive(flow.admit([Message("user", "bad user text")]), guard.workers)
    found = {
        "llmguard.guard.name": "default",
        "llmguard.guard.digest": guard.digest,
        "llmguard.guardrail.name": "flags",
        "llmguard.stage": "input",
        "llmguard.action": "block",
        "llmguard.verdict": "blocked",
    }
    assert telemetry.spans == (
        CapturedSpan("llmguard.guardrail flags", parent="chat gpt", attributes=found),
        CapturedSpan(
            "chat gpt",
            "CLIENT",
            attributes={
                **REQUEST,
                **policy(guard, "blocked"),
                "llmguard.flagged_by": ("flags",),
                "error.type": "blocked",
            },
            status="ERROR",
            status_description='guardrail "flags" of guard "default" blocked the input',
        ),
    )
    assert [record.attributes for record in telemetry.records] == [
        {
            **found,
            "gen_ai.evaluation.name": "flags",
            "gen_ai.evaluation.score.value": 1.0,
            "gen_ai.evaluation.score.label": "blocked",
            "llmguard.guard.digest": guard.digest,
        }
    ]


def test_a_redacted_call_goes_on(telemetry: CapturedTelemetry) -> None:
    """Redaction covers every message and the answer; the span counts it and holds no content."""
    guard = guarded(
        telemetry,
        Guardrail(pii(), stage="input", action="redact"),
        Guardrail(pii(), stage="output", action="redact", name="out"),
    )
    with Flow(guard, ASKED) as flow:
        messages = [Message("system", "a@b.co"), Message("user", "c@d.co"), Message("assistant", "")]
        assert drive(flow.admit(messages), guard.workers) == ["<EMAIL_ADDRESS>", "<EMAIL_ADDRESS>", ""]
        assert [m.text for m in flow.call.messages] == ["<EMAIL_ADDRESS>", "<EMAIL_ADDRESS>", ""]
        assert drive(flow.release(["e@f.co", "fine"]), guard.workers) == ["<EMAIL_ADDRESS>", "fine"]
        flow.answered(output="<EMAIL_ADDRESS>")
    span = telemetry.span("chat gpt")
    assert span.attributes == {
        **REQUEST,
        **policy(guard, "redacted"),
        "llmguard.flagged_by": ("out", "pii"),
        "llmguard.redacted.kinds": ("EMAIL_ADDRESS",),
        "llmguard.redactions": 3,
    }
    assert not re.search("@", repr(telemetry.spans) + repr(telemetry.records))


def test_a_shadow_rule_is_recorded_and_changes_nothing(telemetry: CapturedTelemetry) -> None:
    """A flagged rule that only logs shows on the span while the text passes."""
    guard = guarded(telemetry, Guardrail(Flags(when="bad"), stage="output", action="log"))
    with Flow(guard, ASKED) as flow:
        assert drive(flow.release(["bad"]), guard.workers) == ["bad"]
        flow.answered(output="bad")
    span = telemetry.span("chat gpt")
    assert span.attributes == {**REQUEST, **policy(guard, "flagged"), "llmguard.flagged_by": ("flags",)}
    assert span.status == "UNSET"


@pytest.mark.parametrize("error", [ValueError("user text"), KeyboardInterrupt("user text")])
def test_a_failed_call_keeps_the_text_of_its_error(telemetry: CapturedTelemetry, error: BaseException) -> None:
    """A foreign exception is told by its type alone, and passes."""
    with pytest.raises(type(error)), Flow(guarded(telemetry), ASKED):
        raise error
    span = telemetry.span("chat gpt")
    assert (span.status, span.status_description, span.events) == ("ERROR", None, ())
    assert span.attributes["error.type"] == type(error).__name__
    assert "user text" not in repr(telemetry.spans)


def test_an_abandoned_stream_is_marked(telemetry: CapturedTelemetry) -> None:
    """A reader who goes away ends the span, marked, and not as an error."""
    guard = guarded(telemetry)

    def read() -> Any:
        with Flow(guard, ASKED):
            yield "piece"

    reader = read()
    next(reader)
    reader.close()
    span = telemetry.span("chat gpt")
    assert (span.status, span.attributes["llmguard.abandoned"]) == ("UNSET", True)


def test_a_call_ends_once(telemetry: CapturedTelemetry) -> None:
    """Whatever is told after the end changes nothing."""
    watching = Flags()
    guard = guarded(telemetry, Monitor(watching))
    flow = Flow(guard, ASKED)
    flow.answered(output="x")
    flow.failed(ValueError())
    flow.abandoned()
    flow.answered(output="y")
    assert guard.flush(30) == 0
    assert watching.seen == ["x"]
    assert telemetry.span("chat gpt").status == "UNSET"


def test_monitors_score_the_outermost_call_only(telemetry: CapturedTelemetry) -> None:
    """A call inside another of the same guard is traced below it and not scored; the outer one is."""
    watching = Flags()
    guard = guarded(telemetry, Monitor(watching))
    with Flow(guard, Call("invoke_workflow", name="chain")) as outer, outer.active():
        with Flow(guard, ASKED) as inner, inner.active():
            inner.answered(output="inner")
        outer.answered(output="outer")
    assert guard.flush(30) == 0
    assert watching.seen == ["outer"]
    assert telemetry.span("chat gpt").parent == "invoke_workflow chain"
    workflow = telemetry.span("invoke_workflow chain")
    assert (workflow.kind, workflow.parent) == ("INTERNAL", None)
    assert workflow.attributes == {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": "chain",
        "llmguard.guard.name": "default",
        "llmguard.guard.digest": guard.digest,
    }
    assert telemetry.span("llmguard.monitor flags").links == ("invoke_workflow chain",)


def test_two_guards_on_one_owner_share_a_span(telemetry: CapturedTelemetry) -> None:
    """The inner guard of one object joins the outer guard's span and still has its say."""
    outer, inner, owner = guarded(telemetry, name="outer"), guarded(telemetry, name="inner"), object()
    with Flow(outer, ASKED, owner=owner) as one, one.active():
        assert reentered(owner, outer)
        assert not reentered(owner, inner)
        with Flow(inner, ASKED, owner=owner) as two:
            two.answered(output="x")
        one.answered(output="x")
    assert [span.name for span in telemetry.spans] == ["chat gpt"]


def test_a_guardrail_that_fails_and_is_allowed_shows(telemetry: CapturedTelemetry) -> None:
    """A failed guardrail that may fail lets the call pass, with a span and an unscored record that name the error."""
    guard = guarded(telemetry, Guardrail(Raises(ValueError("user text")), stage="input", on_error="allow"))
    with Flow(guard, ASKED) as flow:
        assert drive(flow.admit([Message("user", "u")]), guard.workers) == ["u"]
        flow.answered(output="x")
    span = telemetry.span("llmguard.guardrail raises")
    assert span.attributes["error.type"] == "ValueError"
    assert telemetry.records[0].attributes["gen_ai.evaluation.score.label"] == "unscored"
    assert telemetry.span("chat gpt").attributes["llmguard.verdict"] == "error"
    assert "user text" not in repr(telemetry.spans) + repr(telemetry.records)


def test_a_call_may_turn_out_to_be_another(telemetry: CapturedTelemetry) -> None:
    """Where a framework tells late what was called, its span has the new name; a span that was joined keeps its own."""
    guard = guarded(telemetry, Guardrail(Flags(when="bad"), stage="input"))
    with Flow(guard, Call("invoke_workflow", name="helper")) as flow:
        joining = Flow(guard, Call("invoke_workflow", name="helper"), span=flow.span)
        joining.turned_out(joining.call.but(operation="execute_tool"))
        flow.turned_out(flow.call.but(operation="invoke_agent"))
        joining.answered()
        flow.answered()
    assert list(telemetry.spans) == [
        CapturedSpan(
            "invoke_agent helper",
            attributes={
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.agent.name": "helper",
                "gen_ai.workflow.name": "helper",
                "llmguard.guard.name": guard.name,
                "llmguard.guard.digest": guard.digest,
            },
        )
    ]
    assert joining.call.operation == "execute_tool"


def test_the_span_is_current_while_the_call_is_active(telemetry: CapturedTelemetry) -> None:
    """Spans made by the framework or the provider's SDK nest under the guarded call, and after it do not."""
    tracer = telemetry.tracer_provider.get_tracer("app")
    with Flow(guarded(telemetry), ASKED) as flow:
        with flow.active():
            tracer.start_span("http").end()
        tracer.start_span("after").end()
        flow.answered(output="x")
    assert (telemetry.span("http").parent, telemetry.span("after").parent) == ("chat gpt", None)


def test_without_an_sdk_a_flow_still_guards() -> None:
    """With OpenTelemetry's no-op providers rules act as ever, and nothing is recorded."""
    guard = Guard(Guardrail(Flags(when="bad"), stage="input"))
    with pytest.raises(GuardrailViolation), Flow(guard, ASKED) as flow, flow.active():
        drive(flow.admit([Message("user", "bad")]), guard.workers)
    assert flow.call.span_id == 0
