"""What is captured of calls, by rule: off by default, what the guardrails let pass, nothing of what they stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.instrumentation.utils import suppress_instrumentation

from llmguard_middleware import (
    Call,
    ConfigurationError,
    Guard,
    Guardrail,
    GuardrailViolation,
    Message,
    Monitor,
    Score,
    scorer,
)
from llmguard_middleware._drive import drive
from llmguard_middleware._flow import Flow
from llmguard_middleware._score import TextSpan
from llmguard_middleware._unjudged import Unjudged
from llmguard_middleware.telemetry import TelemetryOptions

if TYPE_CHECKING:
    from llmguard_middleware.testing import CapturedTelemetry

WORD = "secret-canary"
Make = Callable[..., Guard]


@scorer(name="canary", cheap=True)
def canary(text: str) -> Score:
    """Finds the word."""
    at = text.find(WORD)
    spans = () if at < 0 else (TextSpan(at, at + len(WORD), "CANARY"),)
    return Score(flagged=bool(spans), spans=spans)


@scorer(name="broken")
def broken(text: str) -> Score:
    """Cannot score."""
    raise ValueError(text)


@pytest.fixture
def make(telemetry: CapturedTelemetry) -> Make:
    """Makes guards with content on."""

    def made(*rules: Guardrail | Monitor, content: Any = "SPAN_ONLY", **options: Any) -> Guard:
        told = {name: options.pop(name) for name in ("max_content", "upload") if name in options}
        return Guard(*rules, **telemetry.providers, telemetry=TelemetryOptions(content, **told), **options)

    return made


def contents(telemetry: CapturedTelemetry, name: str) -> dict[str, Any]:
    """What the one span of this name tells of its content."""
    told = telemetry.span(name).attributes
    return {key: value for key, value in told.items() if key.endswith(("messages", "instructions")) or "call." in key}


def chat(guard: Guard, *messages: Message, output: str = "fine") -> str:
    """One model call, as an adapter makes it."""
    with Flow(guard, Call("chat", model="m")) as flow:
        drive(flow.admit(messages), guard.workers)
        (told,) = drive(flow.release([output]), guard.workers)
        flow.answered(output=told, finish_reasons=("stop",))
    return told


def redact(stage: Any, **options: Any) -> Guardrail:
    """A rule that takes the word out."""
    return Guardrail(canary, stage=stage, action="redact", name=f"redact-{stage}", **options)


def test_nothing_is_captured_unless_asked_for(telemetry: CapturedTelemetry) -> None:
    """By default no attribute and no record holds a word of what is said."""
    chat(Guard(**telemetry.providers), Message("user", "hello"), output="world")
    assert "hello" not in repr((telemetry.spans, telemetry.records))
    assert "world" not in repr((telemetry.spans, telemetry.records))


def test_a_guard_without_rules_stays_idle_unless_content_is_on(telemetry: CapturedTelemetry, make: Make) -> None:
    """What adapters leave out for a guard that has nothing to do, they leave out still; with content on they look."""
    idle = Guard(**telemetry.providers)
    assert idle.in_force.idle
    with Flow(idle, Call("chat")) as flow:
        assert flow.unheeded
        assert flow.content is None
        flow.answered()
    heeding = make()
    assert not heeding.in_force.idle
    heeding.swap(Guard().policy)
    assert not heeding.in_force.idle
    assert not heeding.without([]).in_force.idle


def test_without_rules_all_is_captured(telemetry: CapturedTelemetry, make: Make) -> None:
    """Messages, system instructions and the answer are on the span as JSON, in the shapes of the conventions."""
    chat(make(), Message("system", "be kind"), Message("user", "hello"), output="world")
    assert {key: json.loads(value) for key, value in contents(telemetry, "chat m").items()} == {
        "gen_ai.system_instructions": [{"type": "text", "content": "be kind"}],
        "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "hello"}]}],
        "gen_ai.output.messages": [
            {"role": "assistant", "parts": [{"type": "text", "content": "world"}], "finish_reason": "stop"}
        ],
    }


@pytest.mark.parametrize("content", ["EVENT_ONLY", "SPAN_AND_EVENT"])
def test_events_hold_content_as_structures(telemetry: CapturedTelemetry, make: Make, content: str) -> None:
    """An event in the span's context tells of the call and its content; the span only if it is asked to, too."""
    chat(make(content=content), Message("user", "hello"))
    (record,) = telemetry.records
    span = telemetry.span("chat m")
    assert (record.event_name, record.span_id) == ("gen_ai.client.inference.operation.details", span.span_id)
    assert record.attributes["gen_ai.operation.name"] == "chat"
    assert record.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    (said,) = record.attributes["gen_ai.input.messages"]
    assert said["parts"][0]["content"] == "hello"
    assert bool(contents(telemetry, "chat m")) == (content == "SPAN_AND_EVENT")


def test_what_a_guardrail_redacts_is_captured_as_the_model_got_it(telemetry: CapturedTelemetry, make: Make) -> None:
    """Input and answer are captured as they went on; the word is in no byte."""
    chat(make(redact("input"), redact("output")), Message("user", f"a {WORD}"), output=f"b {WORD}")
    told = contents(telemetry, "chat m")
    assert "a <CANARY>" in told["gen_ai.input.messages"]
    assert "b <CANARY>" in told["gen_ai.output.messages"]
    assert WORD not in repr((telemetry.spans, telemetry.records))


def test_pseudonyms_are_captured_as_placeholders(telemetry: CapturedTelemetry, make: Make) -> None:
    """The caller gets the original back, the span tells the placeholder."""
    rule = Guardrail(canary, stage="input", action="pseudonymize")
    guard = make(rule)
    with Flow(guard, Call("chat", model="m")) as flow:
        (asked,) = drive(flow.admit([Message("user", f"a {WORD}")]), guard.workers)
        (told,) = drive(flow.release([f"you said {asked}"]), guard.workers)
        flow.answered(output=told)
    assert WORD in told
    assert WORD not in repr(telemetry.spans)
    assert "<CANARY_1_" in contents(telemetry, "chat m")["gen_ai.output.messages"]


def test_a_blocked_prompt_is_captured_nowhere(telemetry: CapturedTelemetry, make: Make) -> None:
    """Neither the call that was stopped nor the op around it tells anything of what was said."""
    guard = make(Guardrail(canary, stage="input"))

    @guard.op
    def around(text: str) -> str:
        return chat(guard, Message("user", f"{text}-canary"))

    with pytest.raises(GuardrailViolation):
        around("secret")
    assert "secret" not in repr((telemetry.spans, telemetry.records))
    assert contents(telemetry, "invoke_workflow around") == {}


def test_in_refusal_mode_nothing_around_tells_of_it_either(telemetry: CapturedTelemetry, make: Make) -> None:
    """What was stopped and answered with a refusal is not captured by the op above, whose answer is one."""
    guard = make(Guardrail(canary, stage="input"), refusal="no")
    inner = guard.op(lambda text: text, name="inner")

    @guard.op
    def around(text: str) -> dict[str, str]:
        return {"asked": text, "answer": inner(f"{text}-canary")}

    assert around("secret")["answer"] == "no"
    assert "secret" not in repr((telemetry.spans, telemetry.records))


def test_a_blocked_answer_is_captured_nowhere(telemetry: CapturedTelemetry, make: Make) -> None:
    """The answer that was stopped is on no span."""
    with pytest.raises(GuardrailViolation):
        chat(make(Guardrail(canary, stage="output")), Message("user", "hello"), output=WORD)
    assert WORD not in repr((telemetry.spans, telemetry.records))


def test_what_is_only_logged_is_captured(telemetry: CapturedTelemetry, make: Make) -> None:
    """A rule that changes nothing leaves what is captured as it is."""
    chat(make(Guardrail(canary, stage="input", action="log")), Message("user", WORD))
    assert WORD in contents(telemetry, "chat m")["gen_ai.input.messages"]


def test_a_stage_without_rules_is_captured_raw(telemetry: CapturedTelemetry, make: Make) -> None:
    """Rules for answers say nothing of prompts: capture follows the rules of each stage."""
    chat(make(redact("output")), Message("user", f"a {WORD}"), output="fine")
    assert WORD in contents(telemetry, "chat m")["gen_ai.input.messages"]


def test_what_failed_to_be_judged_is_not_captured(telemetry: CapturedTelemetry, make: Make) -> None:
    """A text that goes on because its guardrail failed (on_error="allow") is told nowhere."""
    guard = make(Guardrail(broken, stage="input", on_error="allow"))
    assert chat(guard, Message("user", WORD)) == "fine"
    assert WORD not in repr((telemetry.spans, telemetry.records))
    assert contents(telemetry, "chat m") == {}


def test_what_is_bypassed_is_not_captured(telemetry: CapturedTelemetry, make: Make) -> None:
    """In a bypass no rule looks, so nothing is told."""
    guard = make(redact("input"))
    with guard.bypass(reason="test"):
        chat(guard, Message("user", WORD))
    assert WORD not in repr((telemetry.spans, telemetry.records))


def test_a_guard_without_a_rule_does_not_capture_what_the_rule_is_for(telemetry: CapturedTelemetry, make: Make) -> None:
    """A rule that cannot be enforced where its guard is attached still says that its stage is not captured."""
    guard = make(redact("input"), unenforceable="warn")
    chat(guard.without(guard.guardrails), Message("user", WORD))
    assert WORD not in repr((telemetry.spans, telemetry.records))


def test_what_one_guard_takes_out_is_in_no_content_of_another(telemetry: CapturedTelemetry, make: Make) -> None:
    """A guard that only watches, around one that redacts, tells what it saw without it."""
    watching, redacting = make(name="watching"), Guard(redact("input"), **telemetry.providers, name="redacting")

    @watching.op
    def around(text: str) -> str:
        chat(redacting, Message("user", text))
        return text

    around(f"a {WORD}")
    assert WORD not in repr((telemetry.spans, telemetry.records))
    assert "a <CANARY>" in contents(telemetry, "invoke_workflow around")["gen_ai.input.messages"]


def test_a_tool_tells_arguments_and_result(telemetry: CapturedTelemetry, make: Make) -> None:
    """Arguments are an object; so is a result, under a name if it is none."""
    guard = make(redact("tool_call"), redact("tool_result"))

    @guard.op(stages=("tool_call", "tool_result"))
    def look(what: str, many: int) -> str:
        return f"found {what} and {WORD}"

    look(f"a {WORD}", 3)
    assert contents(telemetry, "execute_tool look") == {
        "gen_ai.tool.call.arguments": '{"what":"a <CANARY>","many":3}',
        "gen_ai.tool.call.result": '{"result":"found a <CANARY> and <CANARY>"}',
    }


def test_a_tool_result_that_input_rules_would_look_at_is_not_captured(telemetry: CapturedTelemetry, make: Make) -> None:
    """What goes to the model next, and would be redacted there, is not told before."""
    guard = make(redact("input"))
    guard.covers("input")

    @guard.op(stages=("tool_call", "tool_result"))
    def look(what: str) -> str:
        return WORD

    look("x")
    assert "gen_ai.tool.call.result" not in contents(telemetry, "execute_tool look")


def test_a_call_that_failed_tells_what_it_was_asked(telemetry: CapturedTelemetry, make: Make) -> None:
    """The input of a call that raised is captured; what it raised is told by type."""
    guard = make()
    failing: Any = guard.op(lambda text: 1 / 0, name="failing")
    with pytest.raises(ZeroDivisionError):
        failing("hello")
    assert list(contents(telemetry, "invoke_workflow failing")) == ["gen_ai.input.messages"]


def test_the_preset_for_tempo_keeps_each_attribute_below_its_limit(telemetry: CapturedTelemetry, make: Make) -> None:
    """With max_content="tempo" no attribute is longer than 2,048 bytes, and its JSON can be read."""
    chat(make(max_content="tempo"), *[Message("user", "긴 질문 " * 500)] * 5, output="x" * 9000)
    for value in contents(telemetry, "chat m").values():
        assert len(value.encode()) <= 2048
        json.loads(value)


@pytest.mark.odd_telemetry("key_")
@pytest.mark.parametrize("content", ["NO_CONTENT", "SPAN_AND_EVENT"])
def test_the_operation_name_survives_200_attributes(telemetry: CapturedTelemetry, make: Make, content: str) -> None:
    """What an application says of its calls never pushes out what the conventions require."""
    guard = make(content=content)
    with guard.attributes(**{f"key_{number}": number for number in range(200)}):
        chat(guard, Message("user", "hello"))
    told = telemetry.span("chat m").attributes
    assert told["gen_ai.operation.name"] == "chat"
    assert told["llmguard.dropped_attributes"] == 160
    assert len(told) < 128


class Unprintable:
    """Cannot be written down."""

    def __repr__(self) -> str:
        raise RuntimeError(WORD)


HOSTILE: dict[str, Any] = {
    "unprintable": Unprintable(),
    "half a character": "\ud800",
    "bytes": b"\xff",
    "no number": {"\x00": float("inf")},
    "a huge number": 10**5000,
}


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_no_value_breaks_a_call(telemetry: CapturedTelemetry, make: Make, value: Any) -> None:
    """Whatever a function takes and gives, its op works as it did, and its span ends."""
    guard = make()
    assert guard.op(lambda one: one, name="same")(value) is value
    assert telemetry.span("invoke_workflow same").status == "UNSET"
    assert WORD not in repr(telemetry.spans)


# Options.


def test_the_environment_turns_it_on() -> None:
    """OpenTelemetry's variables say what is captured, in any case, and where it is uploaded."""
    prefix = "OTEL_INSTRUMENTATION_GENAI"
    told = TelemetryOptions.from_environment(
        {
            f"{prefix}_CAPTURE_MESSAGE_CONTENT": "span_and_event",
            "LLMGUARD_MAX_CONTENT": "tempo",
            f"{prefix}_UPLOAD_BASE_PATH": "memory://x",
            f"{prefix}_UPLOAD_FORMAT": "jsonl",
            f"{prefix}_UPLOAD_MAX_QUEUE_SIZE": "3",
        }
    )
    assert told == TelemetryOptions("SPAN_AND_EVENT", "old", "tempo", "memory://x", "jsonl", 3)


def test_the_older_values_of_the_variable_capture_nothing() -> None:
    """`false` is no content; so is `true`, with a warning that says what to write."""
    variable = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
    assert TelemetryOptions.from_environment({variable: "false"}) == TelemetryOptions()
    with pytest.warns(UserWarning, match=f"{variable}=true captures nothing any more: write SPAN_ONLY, EVENT_ONLY"):
        assert TelemetryOptions.from_environment({variable: "true"}) == TelemetryOptions()


def test_a_place_for_uploads_alone_captures_nothing() -> None:
    """The variable may be there for other instrumentations."""
    told = TelemetryOptions.from_environment({"OTEL_INSTRUMENTATION_GENAI_UPLOAD_BASE_PATH": "memory://x"})
    assert told == TelemetryOptions()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_content": 5}, 'max_content of TelemetryOptions must be "tempo" or a number of bytes, at least 128'),
        ({"max_content": "big"}, 'must be "tempo" or a number of bytes'),
        ({"max_content": True}, "and is True"),
        ({"upload": "file:///x"}, "upload= has nothing to upload: say content="),
        ({"upload": 5, "content": "SPAN_ONLY"}, "upload of TelemetryOptions is int; give a text"),
        ({"upload_queue": 0}, "upload_queue of TelemetryOptions must be a whole number from 1 on"),
        ({"upload_format": "xml"}, "upload_format"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, Any], sentence: str) -> None:
    """One sentence says what is wrong and what would be right."""
    with pytest.raises(ConfigurationError, match=sentence):
        TelemetryOptions(**options)


DETAILS = "gen_ai.client.inference.operation.details"
ASKED: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "p",
    "gen_ai.request.model": "m",
    "llmguard.guard.name": "g",
}


def details(telemetry: CapturedTelemetry, guard: Guard) -> list[dict[str, Any]]:
    """What the events say of calls, but for the digest."""
    told = [dict(record.attributes) for record in telemetry.records if record.event_name == DETAILS]
    assert {one.pop("llmguard.guard.digest") for one in told} <= {guard.digest}
    return told


@pytest.mark.parametrize("content", ["NO_CONTENT", "SPAN_ONLY"])
def test_an_event_can_be_asked_for_without_content(telemetry: CapturedTelemetry, content: Any) -> None:
    """With emit_event each model call that ends has one, in its span's context, which says how it was answered."""
    guard = Guard(**telemetry.providers, name="g", telemetry=TelemetryOptions(content, emit_event=True))
    call = Call("chat", provider="p", model="m")
    Unjudged(guard, call, None).answered(response_id="r")
    Flow(guard, call).answered(output=WORD, response_id="r")
    Flow(guard, call).failed(ConnectionError(WORD))
    Unjudged(guard, call, None).failed(ConnectionError(WORD))
    Flow(guard, Call("execute_tool", name="t")).answered(output="x")
    with suppress_instrumentation():
        Flow(guard, call).answered(output="x")
    answered, failed = {**ASKED, "gen_ai.response.id": "r"}, {**ASKED, "error.type": "ConnectionError"}
    assert details(telemetry, guard) == [answered, answered, failed, failed]
    spans = [span.span_id for span in telemetry.spans if span.name == "chat m"]
    assert [record.span_id for record in telemetry.records if record.event_name == DETAILS] == spans


@pytest.mark.parametrize("content", ["EVENT_ONLY", "SPAN_AND_EVENT"])
@pytest.mark.parametrize("emit", [None, True, False])
def test_events_of_content_can_be_switched_off(telemetry: CapturedTelemetry, content: Any, emit: bool | None) -> None:
    """With emit_event=False there is none, whatever the capture mode; else there is one, with the content."""
    guard = Guard(**telemetry.providers, name="g", telemetry=TelemetryOptions(content, emit_event=emit))
    Flow(guard, Call("chat", provider="p", model="m")).answered(output="fine")
    found = details(telemetry, guard)
    assert len(found) == (0 if emit is False else 1)
    assert all("gen_ai.output.messages" in one for one in found)
    assert ("gen_ai.output.messages" in telemetry.span("chat m").attributes) is (content == "SPAN_AND_EVENT")


@pytest.mark.parametrize(("said", "emits"), [("true", True), (" False ", False), ("", None)])
def test_the_environment_says_whether_there_are_events(said: str, emits: bool | None) -> None:
    """OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT is true or false; without it the capture mode says so."""
    variable = "OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT"
    assert TelemetryOptions.from_environment({variable: said}) == TelemetryOptions(emit_event=emits)
    with pytest.raises(ConfigurationError, match=variable):
        TelemetryOptions.from_environment({variable: "yes"})


@pytest.mark.parametrize("said", ["no", "0", "-1", "nan", "inf"])
def test_what_is_slow_is_said_in_seconds(said: str) -> None:
    """By the variable or the option; what is no time is refused with the name of the variable."""
    variable = "LLMGUARD_SLOW_GUARDRAIL"
    assert TelemetryOptions.from_environment({variable: "0.5"}) == TelemetryOptions(slow_guardrail=0.5)
    with pytest.raises(ConfigurationError, match=f"{variable} must be a number of seconds greater than 0 and is"):
        TelemetryOptions.from_environment({variable: said})
    with pytest.raises(ConfigurationError, match="slow_guardrail of TelemetryOptions is 0; give seconds"):
        TelemetryOptions(slow_guardrail=0)
