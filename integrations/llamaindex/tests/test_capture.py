"""What is captured of LlamaIndex's calls: every kind of part, documents, tools and agents; and nothing unjudged."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.base.llms import types
from llama_index.core.base.llms.types import AudioBlock, ChatMessage, DocumentBlock, ImageBlock, TextBlock
from llama_index.core.llms import MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.schema import TextNode
from llama_index.core.tools import FunctionTool

from llmguard_llamaindex import attach, instrument, protect, uninstrument
from llmguard_middleware import Guard, Guardrail, GuardrailViolation
from llmguard_middleware.telemetry import TelemetryOptions
from llmguard_middleware.testing import CapturedTelemetry, Flags, captured_telemetry

ROOT = Path(__file__).parents[3]
WORD = "secret-canary"


@pytest.fixture
def telemetry() -> Iterator[CapturedTelemetry]:
    """What is written."""
    with captured_telemetry() as captured:
        yield captured


def guarded(telemetry: CapturedTelemetry, *stages: Any, action: Any = "redact", **options: Any) -> Guard:
    """A guard with content on, and a rule for each of these stages."""
    rules = [Guardrail(Flags(when=WORD), stage=stage, action=action, name=f"at-{stage}") for stage in stages]
    return Guard(*rules, **telemetry.providers, telemetry=TelemetryOptions("SPAN_ONLY"), **options)


@pytest.fixture
def instrumented() -> Iterator[Callable[[Guard], None]]:
    """Instruments the process for a test."""
    yield lambda guard: instrument(guard) and None
    uninstrument()


# LlamaIndex 0.14.0 has neither thoughts nor tool calls as blocks.
THOUGHT: list[Any] = [
    getattr(types, kind)(**fields)
    for kind, fields in (
        ("ThinkingBlock", {"content": "hm"}),
        ("ToolCallBlock", {"tool_call_id": "1", "tool_name": "find", "tool_kwargs": {"q": "x"}}),
    )
    if hasattr(types, kind)
] or [TextBlock(text="hm")]
ASKED = [
    ChatMessage(role="system", content="be kind"),
    ChatMessage(
        role="user",
        blocks=[
            TextBlock(text="look"),
            ImageBlock(url="https://example.com/a.png"),
            ImageBlock(image=b"hello hello!", image_mimetype="image/png"),
            AudioBlock(audio=b"hello hello!", format="wav"),
            DocumentBlock(data=b"hello hello!", document_mimetype="application/pdf"),
        ],
    ),
    ChatMessage(role="assistant", blocks=THOUGHT),
    ChatMessage(role="tool", content="found", additional_kwargs={"tool_call_id": "1"}),
]


@pytest.mark.parametrize("way", ["protect", "instrument"])
def test_every_kind_of_part_is_told_and_no_bytes(
    telemetry: CapturedTelemetry, instrumented: Callable[[Guard], None], way: str
) -> None:
    """Texts, thoughts, tool calls and results as they are, binary parts by type and size; valid by the schemas."""
    guard, llm = guarded(telemetry), MockLLM()
    if way == "protect":
        llm = protect(llm, guard)
    else:
        instrumented(guard)
    llm.chat(ASKED)
    told = telemetry.span("chat").attributes
    messages = json.loads(told["gen_ai.input.messages"])
    assert [one["role"] for one in messages] == ["user", "assistant", "tool"]
    kinds = [[(part["type"], part.get("mime_type"), part.get("size")) for part in one["parts"]] for one in messages]
    assert kinds == [
        [
            ("text", None, None),
            ("uri", "image/png", None),
            ("blob", "image/png", 12),
            ("blob", "audio/wav", 12),
            ("blob", "application/pdf", 12),
        ],
        [("reasoning", None, None), ("tool_call", None, None)] if len(THOUGHT) > 1 else [("text", None, None)],
        [("tool_call_response", None, None)],
    ]
    call = {"type": "tool_call", "id": "1", "name": "find", "arguments": {"q": "x"}}
    assert messages[1]["parts"][-1] == (call if len(THOUGHT) > 1 else {"type": "text", "content": "hm"})
    assert json.loads(told["gen_ai.system_instructions"]) == [{"type": "text", "content": "be kind"}]
    for key, name in (("input.messages", "input-messages"), ("output.messages", "output-messages")):
        schema = json.loads((ROOT / f"tests/data/semconv/schemas/gen-ai-{name}.json").read_text())
        jsonschema.validate(json.loads(told[f"gen_ai.{key}"]), schema, jsonschema.Draft202012Validator)


def engine(guard: Guard | None, text: str) -> Any:
    """A query engine over one document."""
    index = VectorStoreIndex([TextNode(text=text, id_="one")], embed_model=MockEmbedding(4))
    bare = index.as_query_engine(llm=MockLLM())
    return bare if guard is None else attach(bare, guard)


def test_a_query_tells_question_documents_and_answer(telemetry: CapturedTelemetry) -> None:
    """Without rules, the whole of a query is on its spans."""
    engine(guarded(telemetry), "the document").query("the question")
    found = telemetry.span("retrieval").attributes
    assert found["gen_ai.retrieval.query.text"] == "the question"
    (document,) = json.loads(found["gen_ai.retrieval.documents"])
    assert document["content"] == "the document"
    told = telemetry.span("invoke_workflow RetrieverQueryEngine").attributes
    assert "the question" in told["gen_ai.input.messages"]
    assert "the document" in told["gen_ai.output.messages"]


def test_documents_keep_ids_and_scores(telemetry: CapturedTelemetry, instrumented: Callable[[Guard], None]) -> None:
    """Content is added to what is told of documents anyway."""
    instrumented(guarded(telemetry))
    engine(None, "the document").query("the question")
    (document,) = json.loads(telemetry.span("retrieval").attributes["gen_ai.retrieval.documents"])
    assert document.keys() == {"id", "score", "content"}


@pytest.mark.parametrize("action", ["redact", "block"])
@pytest.mark.parametrize("where", ["question", "document"])
def test_nothing_around_a_query_tells_what_a_guardrail_removed(
    telemetry: CapturedTelemetry, where: str, action: str
) -> None:
    """Query text, documents, messages and answers are told without it, and not at all where it stopped the query."""
    guard = guarded(telemetry, "input", "retrieval", "output", action=action)
    asked = f"what of {WORD}" if where == "question" else "what of it"
    subject = engine(guard, f"it is {WORD}" if where == "document" else "it is so")
    if action == "block":
        with pytest.raises(GuardrailViolation):
            subject.query(asked)
    else:
        subject.query(asked)
        told = telemetry.span("invoke_workflow RetrieverQueryEngine").attributes["gen_ai.input.messages"]
        assert ("<FAKE>" in told) == (where == "question")
    assert WORD not in repr(telemetry.spans)


def test_chat_history_is_told_as_it_was_let_pass(telemetry: CapturedTelemetry) -> None:
    """A second turn tells the first one's messages without what was removed."""
    guard = guarded(telemetry, "input", "output")
    index = VectorStoreIndex([TextNode(text="it is so")], embed_model=MockEmbedding(4))
    subject = attach(
        index.as_chat_engine(chat_mode="context", llm=MockLLM(), memory=ChatMemoryBuffer.from_defaults()), guard
    )
    guard.covers("retrieval")
    for text in (f"I am {WORD}", "who am I?"):
        subject.chat(text)
    assert WORD not in repr(telemetry.spans)
    told = [span for span in telemetry.spans if span.name == "chat"][-1].attributes["gen_ai.input.messages"]
    assert "<FAKE>" in told


def test_a_tool_tells_its_arguments_and_result(telemetry: CapturedTelemetry) -> None:
    """As its guardrails let them pass."""

    def find(q: str) -> str:
        """Finds it."""
        return f"{q} is {WORD}"

    tool = protect(FunctionTool.from_defaults(find), guarded(telemetry, "tool_call", "tool_result"))
    tool(q=f"a {WORD}")
    told = telemetry.span("execute_tool find").attributes
    assert json.loads(told["gen_ai.tool.call.arguments"]) == {"q": "a <FAKE>"}
    assert json.loads(told["gen_ai.tool.call.result"]) == {"result": "a <FAKE> is <FAKE>"}
    assert WORD not in repr(telemetry.spans)


def test_instrument_captures_nothing_of_a_stage_whose_rules_it_cannot_enforce(
    telemetry: CapturedTelemetry, instrumented: Callable[[Guard], None]
) -> None:
    """Told to go on without its rules, it leaves content out where they would have acted."""
    guard = guarded(telemetry, "input", "output", "retrieval", unenforceable="warn")
    with pytest.warns(UserWarning, match="cannot"):
        instrumented(guard)
    engine(None, f"it is {WORD}").query(f"what of {WORD}")
    assert WORD not in repr(telemetry.spans)
