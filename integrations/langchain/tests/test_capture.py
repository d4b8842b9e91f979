"""What is captured of LangChain's calls: every kind of part, in the shapes of the conventions; and by whom."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool

from llmguard_langchain import GuardCallback, protect
from llmguard_middleware import Guard, Guardrail, GuardrailViolation
from llmguard_middleware.telemetry import TelemetryOptions
from llmguard_middleware.testing import CapturedTelemetry, Flags, captured_telemetry

ROOT = Path(__file__).parents[3]
WORD = "secret-canary"


def _schema(name: str) -> Any:
    return json.loads((ROOT / f"tests/data/semconv/schemas/gen-ai-{name}.json").read_text())


@pytest.fixture
def telemetry() -> Any:
    """What is written."""
    with captured_telemetry() as captured:
        yield captured


def guarded(telemetry: CapturedTelemetry, *rules: Guardrail, content: Any = "SPAN_ONLY", **options: Any) -> Guard:
    """A guard with content on."""
    return Guard(*rules, **telemetry.providers, telemetry=TelemetryOptions(content), **options)


def model(*answers: Any) -> GenericFakeChatModel:
    """A model that says this."""
    return GenericFakeChatModel(messages=iter(answers))


ASKED = [
    SystemMessage("be kind"),
    HumanMessage(
        [
            {"type": "text", "text": "look"},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}},
            {"type": "image", "base64": "aGVsbG8=", "mime_type": "image/jpeg"},
            {"type": "input_audio", "input_audio": {"data": "aGVsbG8=", "format": "wav"}},
            {"type": "file", "file": {"file_id": "file-1"}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": "aGVsbG8="}},
            {"type": "novel", "bytes": "aGVsbG8="},
        ]
    ),
    AIMessage(
        [{"type": "thinking", "thinking": "hm"}, {"type": "tool_use", "id": "1", "name": "find", "input": {"q": "x"}}],
        tool_calls=[{"name": "find", "args": {"q": "x"}, "id": "1"}],
    ),
    ToolMessage("found", tool_call_id="1"),
]
PARTS = [
    [
        {"type": "text", "content": "look"},
        {"type": "uri", "modality": "image", "uri": "https://example.com/a.png"},
        {"type": "blob", "mime_type": "image/png", "modality": "image", "size": 6},
        {"type": "blob", "mime_type": "image/jpeg", "modality": "image", "size": 6},
        {"type": "blob", "mime_type": "audio/wav", "modality": "audio", "size": 6},
        {"type": "file", "modality": "document", "file_id": "file-1"},
        {"type": "blob", "mime_type": "image/gif", "modality": "image", "size": 6},
        {"type": "novel"},
    ],
    [
        {"type": "reasoning", "content": "hm"},
        {"type": "tool_call", "id": "1", "name": "find", "arguments": {"q": "x"}},
    ],
    [{"type": "tool_call_response", "id": "1", "response": "found"}],
]


@pytest.mark.parametrize("way", ["protect", "callback"])
def test_every_kind_of_part_is_told_and_no_bytes(telemetry: CapturedTelemetry, way: str) -> None:
    """Texts, thoughts, tool calls and results as they are, binary parts by type and size; valid by the schemas."""
    guard = guarded(telemetry)
    subject: Any = protect(model(AIMessage("yes")), guard) if way == "protect" else model(AIMessage("yes"))
    subject.invoke(ASKED, config={"callbacks": [GuardCallback(guard)]})
    told = telemetry.span("chat").attributes
    messages = json.loads(told["gen_ai.input.messages"])
    assert [one["role"] for one in messages] == ["user", "assistant", "tool"]
    assert [one["parts"] for one in messages] == PARTS
    assert json.loads(told["gen_ai.system_instructions"]) == [{"type": "text", "content": "be kind"}]
    assert "aGVsbG8" not in repr(telemetry.spans)
    for name in ("input-messages", "output-messages", "system-instructions"):
        key = f"gen_ai.{name.replace('-messages', '.messages').replace('-', '_')}"
        jsonschema.validate(json.loads(told[key]), _schema(name), jsonschema.Draft202012Validator)


@pytest.mark.parametrize("way", ["protect", "callback"])
@pytest.mark.parametrize("streamed", [True, False])
def test_an_answer_is_told_once_whole(telemetry: CapturedTelemetry, way: str, streamed: bool) -> None:
    """Text and tool calls of an answer are told as one message, streamed or not."""
    guard = guarded(telemetry)
    said = AIMessage("two words", tool_calls=[{"name": "find", "args": {"q": "x"}, "id": "1"}])
    bare: Any = Chunked() if streamed else model(said)
    subject = protect(bare, guard) if way == "protect" else bare
    config: Any = {"callbacks": [GuardCallback(guard)]} if way == "callback" else None
    _ = list(subject.stream("q", config=config)) if streamed else subject.invoke("q", config=config)
    (answer,) = json.loads(telemetry.span("chat").attributes["gen_ai.output.messages"])
    assert answer == {
        "role": "assistant",
        "parts": [
            {"type": "text", "content": "two words"},
            {"type": "tool_call", "id": "1", "name": "find", "arguments": {"q": "x"}},
        ],
        "finish_reason": "stop",
    }


class Chunked(GenericFakeChatModel):
    """A model that says the same in pieces."""

    messages: Any = iter(())

    def _stream(self, *args: Any, **kwargs: Any) -> Any:
        from langchain_core.outputs import ChatGenerationChunk  # noqa: PLC0415 - of this fake

        part = {"name": "find", "args": '{"q": ', "id": "1", "index": 0}
        rest = {"name": None, "args": '"x"}', "id": None, "index": 0}
        pieces = [("two ", []), ("words", []), ("", [part]), ("", [rest])]
        for text, calls in pieces:
            yield ChatGenerationChunk(message=AIMessageChunk(content=text, tool_call_chunks=calls))


def test_tools_that_a_model_may_ask_for_are_told(telemetry: CapturedTelemetry) -> None:
    """Name, description and parameters of each; the name alone if a rule would act on what goes in."""

    @tool
    def find(q: str) -> str:
        """Finds it."""
        return q

    definition = {
        "type": "function",
        "function": {"name": "find", "description": "Finds it.", "parameters": {"type": "object", "properties": {}}},
    }
    for rules, told in (((), True), ((Guardrail(Flags(when=WORD), stage="input"),), False)):
        telemetry.clear()
        protect(model(AIMessage("yes")), guarded(telemetry, *rules)).bind(tools=[definition]).invoke("q")
        found = json.loads(telemetry.span("chat").attributes["gen_ai.tool.definitions"])
        jsonschema.validate(found, _schema("tool-definitions"), jsonschema.Draft202012Validator)
        assert found == [
            {
                "type": "function",
                "name": "find",
                "description": "Finds it.",
                "parameters": definition["function"]["parameters"],
            }  # type: ignore[index]  # a dict
            if told
            else {"type": "function", "name": "find"}
        ]


def test_a_chain_that_is_only_watched_tells_nothing_if_a_rule_acts(telemetry: CapturedTelemetry) -> None:
    """The span of the chain saw the raw question; that of its model, which was judged, tells what went on."""
    guard = guarded(telemetry, Guardrail(Flags(when=WORD), stage="input", action="redact"))
    chain = RunnableLambda(lambda text: f"please: {text}") | protect(model(AIMessage("yes")), guard)
    chain.invoke(WORD, config={"callbacks": [GuardCallback(guard)]})
    assert WORD not in repr(telemetry.spans)
    assert "please: <FAKE>" in telemetry.span("chat").attributes["gen_ai.input.messages"]
    assert "gen_ai.input.messages" not in telemetry.span("invoke_workflow RunnableSequence").attributes


def test_a_callback_that_blocks_captures_nothing_of_it(telemetry: CapturedTelemetry) -> None:
    """Neither the model's span nor the chain's tells what was blocked."""
    guard = guarded(telemetry, Guardrail(Flags(when=WORD), stage="input"), content="SPAN_AND_EVENT")
    chain = RunnableLambda(lambda text: f"please: {text}") | model(AIMessage("yes"))
    with pytest.raises(GuardrailViolation):
        chain.invoke(WORD, config={"callbacks": [GuardCallback(guard)]})
    assert WORD not in repr((telemetry.spans, telemetry.records))
    assert "please" not in repr((telemetry.spans, telemetry.records))


def test_a_callback_that_cannot_redact_captures_nothing_of_that_stage(telemetry: CapturedTelemetry) -> None:
    """Told to go on without its redaction, it leaves content out where that would have been."""
    guard = guarded(telemetry, Guardrail(Flags(when=WORD), stage="input", action="redact"), unenforceable="warn")
    with pytest.warns(UserWarning, match="cannot enforce"):
        model(AIMessage(f"I heard {WORD}")).invoke(WORD, config={"callbacks": [GuardCallback(guard)]})
    assert WORD not in repr(telemetry.spans)


@pytest.mark.parametrize("where", ["outer", "inner"])
def test_of_two_guards_neither_tells_what_the_other_takes_out(telemetry: CapturedTelemetry, where: str) -> None:
    """One only watches and captures, the other redacts: around it or inside."""
    watching = guarded(telemetry, name="watching")
    redacting = Guard(
        *(Guardrail(Flags(when=WORD), stage=stage, action="redact", name=stage) for stage in ("input", "output")),
        **telemetry.providers,
        name="redacting",
    )
    guards = [redacting, watching] if where == "outer" else [watching, redacting]
    subject: Any = model(AIMessage(f"I heard {WORD}"))
    for guard in guards:
        subject = protect(subject, guard)
    told = subject.invoke(f"a {WORD}")
    assert WORD not in told.content
    assert WORD not in repr(telemetry.spans)
    if where == "outer":
        assert "<FAKE>" in telemetry.span("chat").attributes["gen_ai.input.messages"]


class Failing(GenericFakeChatModel):
    """A model that fails."""

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        raise OSError

    def _stream(self, *args: Any, **kwargs: Any) -> Any:
        yield from super()._stream(*args, **kwargs)
        raise OSError


def _invoked(model: Any, config: Any) -> None:
    model.invoke([SystemMessage("be kind"), HumanMessage("look")], config)


def _streamed(model: Any, config: Any) -> None:
    list(model.stream("look", config))


def _left(model: Any, config: Any) -> None:
    stream = model.stream("look", config)
    next(stream)
    stream.close()


@pytest.mark.parametrize("kind", [GenericFakeChatModel, Failing])
@pytest.mark.parametrize("call", [_invoked, _streamed, _left])
def test_a_call_that_no_rule_is_for_tells_the_same(telemetry: CapturedTelemetry, kind: Any, call: Any) -> None:
    """Its content takes a shorter way to the span: answered, failed, streamed or left, it says the same there."""
    told = []
    for rules in ((), (Guardrail(Flags(when=WORD), stage="tool_call"),)):
        telemetry.clear()
        with contextlib.suppress(OSError):
            call(kind(messages=iter(["a b c"])), {"callbacks": [GuardCallback(guarded(telemetry, *rules))]})
        (span,) = telemetry.spans
        told.append({k: v for k, v in span.attributes.items() if k.endswith((".messages", ".system_instructions"))})
    assert told[0] == told[1]
    assert "gen_ai.input.messages" in told[0]
