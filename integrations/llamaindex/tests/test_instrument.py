"""instrument: spans and monitors for the whole process."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core import MockEmbedding
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.schema import NodeWithScore
from llama_index.core.tools import FunctionTool
from opentelemetry.trace import StatusCode

from llmguard_llamaindex import attach, instrument, protect, uninstrument
from llmguard_middleware import Guardrail, Monitor, UnenforceableError
from llmguard_middleware.scorers import pii

from .conftest import Shelf

TREE = [("invoke_workflow RetrieverQueryEngine", None)] + [
    (name, "invoke_workflow RetrieverQueryEngine") for name in ("retrieval", "chat scripted")
]


def refuse(text: str) -> bool:
    """A scorer that flags bombs."""
    return "bomb" in text


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """After each test uninstrument() leaves LlamaIndex's dispatcher as it was."""
    root = get_dispatcher()
    before = list(root.span_handlers), list(root.event_handlers)
    yield
    uninstrument()
    assert (root.span_handlers, root.event_handlers) == before


@pytest.fixture(params=["query", "aquery"])
def way(request: pytest.FixtureRequest) -> str:
    """Sync or async."""
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["whole", "streaming"])
def streaming(request: pytest.FixtureRequest) -> bool:
    """Whole or streamed."""
    return bool(request.param)


async def test_one_span(llm: Any, mode: str, script: Any, telemetry: Any, ask: Any) -> None:
    """In every mode a call of any LLM is one span with its usage, even where the model's methods call each other."""
    instrument(telemetry.guard())
    script.answer = "Good morning."

    assert await ask(llm, mode, "Hello") == "Good morning."

    (span,) = telemetry.spans
    assert (span.name, span.parent) == ("chat scripted", None)
    assert span.attributes["gen_ai.response.id"] == "answer-1"
    assert span.attributes["gen_ai.usage.output_tokens"] == 2
    assert ("gen_ai.request.stream" in span.attributes) == ("stream" in mode)


async def test_tree(llm: Any, way: str, streaming: bool, script: Any, telemetry: Any, engine: Any, query: Any) -> None:
    """In every mode a query is one span with the retrieval and the model call below it."""
    seen: list[Any] = []

    def watch(question: str, output: str, context: Any) -> float:
        seen.append((question, output, context))
        return 1.0

    guard = telemetry.guard(Monitor(watch))
    instrument(guard)

    assert await query(engine(llm, streaming=streaming), way, "Hello") == "fine"

    assert telemetry.tree == TREE
    assert guard.flush() == 0
    assert seen == [("Hello", "fine", ("Bob lives in Ulm.", "Write to bob@example.com."))]


async def test_failed(llm: Any, mode: str, script: Any, telemetry: Any, ask: Any) -> None:
    """A failed call ends its span as failed, without the error's text."""
    instrument(telemetry.guard())
    script.error = RuntimeError("about bob@example.com")

    with pytest.raises(RuntimeError):
        await ask(llm, mode, "Hello")

    (span,) = telemetry.spans
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
    assert span.attributes["error.type"] == "RuntimeError"


def test_acting(telemetry: Any) -> None:
    """A guardrail that acts is refused at once, and nothing is instrumented."""
    with pytest.raises(UnenforceableError, match="protect"):
        instrument(
            telemetry.guard(
                Guardrail(refuse, stage="input", action="log"), Guardrail(pii(), stage="output", action="redact")
            )
        )

    assert not any(handler.class_name() == "llmguard" for handler in get_dispatcher().span_handlers)


async def test_shadow(llm: Any, mode: str, script: Any, telemetry: Any, ask: Any) -> None:
    """Guardrails that only record do so, once."""
    script.answer = "bomb"
    rules = [Guardrail(refuse, stage=stage, action="log", name=stage) for stage in ("input", "output")]
    instrument(telemetry.guard(*rules))

    await ask(llm, mode, "a bomb?")

    assert telemetry.flagged == [("input", "input"), ("output", "output")]


async def test_owned(llm: Any, way: str, streaming: bool, telemetry: Any, engine: Any, query: Any) -> None:
    """What is attached or protected already is traced by its own guard only."""
    instrument(telemetry.guard(name="process"))
    guard = telemetry.guard(name="own")

    await query(attach(engine(llm, streaming=streaming), guard), way, "Hello")

    assert telemetry.tree == TREE
    assert {span.attributes["llmguard.guard.name"] for span in telemetry.spans} == {"own"}


async def test_protected_below(llm: Any, way: str, streaming: bool, telemetry: Any, engine: Any, query: Any) -> None:
    """A protected LLM in an engine that is only instrumented is the query's child."""
    instrument(telemetry.guard(name="process"))

    await query(engine(protect(llm, telemetry.guard(name="own")), streaming=streaming), way, "Hello")

    assert telemetry.tree == TREE
    assert [span.attributes["llmguard.guard.name"] for span in telemetry.spans] == ["process", "process", "own"]


async def test_same_guard(
    llm: Any, way: str, streaming: bool, script: Any, telemetry: Any, engine: Any, query: Any
) -> None:
    """The same guard around the process and an LLM monitors a query once."""
    seen: list[str] = []

    def watch(output: str) -> float:
        seen.append(output)
        return 1.0

    guard = telemetry.guard(Monitor(watch))
    instrument(guard)
    instrument(guard)

    await query(engine(protect(llm, guard), streaming=streaming), way, "Hello")

    assert telemetry.tree == TREE
    assert guard.flush() == 0
    assert seen == ["fine"]


def test_uninstrument(llm: Any, script: Any, telemetry: Any) -> None:
    """uninstrument() ends open spans as abandoned, and nothing is traced any more."""
    instrument(telemetry.guard())
    script.answer = "a long answer"

    open_stream = llm.stream_complete("Hello")
    next(open_stream)
    uninstrument()
    list(open_stream)
    llm.complete("Hello")

    assert [span.attributes.get("llmguard.abandoned") for span in telemetry.spans] == [True]


async def test_abandoned(llm: Any, script: Any, telemetry: Any, engine: Any) -> None:
    """A stream whose reader leaves ends its spans as abandoned."""
    instrument(telemetry.guard())
    script.answer = "a long answer"

    stream = llm.stream_complete("Hello")
    next(stream)
    stream.close()
    source = engine(llm, streaming=True).query("Hello").response_gen
    next(source)
    source.close()
    gc.collect()

    ended = [
        (span.name, span.attributes.get("llmguard.abandoned")) for span in telemetry.spans if span.name != "retrieval"
    ]
    assert ended == [("chat scripted", True), ("invoke_workflow RetrieverQueryEngine", True), ("chat scripted", True)]


async def test_forgets(llm: Any, mode: str, telemetry: Any, ask: Any) -> None:
    """Nothing is kept of calls that are over."""
    instrument(telemetry.guard())
    (handler,) = (h for h in get_dispatcher().span_handlers if h.class_name() == "llmguard")

    await ask(llm, mode, "Hello")

    assert handler.guards[0].live == {}
    assert handler.guards[0].live == {}


async def test_same_prompt_at_once(llm: Any, telemetry: Any) -> None:
    """Streams at the same time with the very same prompt are calls of their own."""
    instrument(telemetry.guard())

    streams = [await llm.astream_complete("Hello") for _ in range(3)]
    for stream in streams:
        assert "".join([chunk.delta async for chunk in stream]) == "fine"

    assert telemetry.tree == [("chat scripted", None)] * 3


async def test_unread(llm: Any, way: str, telemetry: Any, engine: Any) -> None:
    """A streamed answer that nobody reads ends its query's span as abandoned."""
    instrument(telemetry.guard())
    plain = engine(llm, streaming=True)

    response = await plain.aquery("Hello") if way == "aquery" else plain.query("Hello")
    del response
    gc.collect()

    assert telemetry.spans[0].attributes["llmguard.abandoned"] is True


def test_judge(completing: Any, script: Any, telemetry: Any) -> None:
    """A recording guardrail that asks an instrumented LLM is not judged in turn."""

    def judging(text: str) -> bool:
        return "yes" in completing.complete("Is this bad?").text

    instrument(telemetry.guard(Guardrail(judging, stage="input", action="log")))

    completing.complete("Hello")

    assert script.asked == ["Is this bad?", "Hello"]


def test_warned(completing: Any, script: Any, telemetry: Any) -> None:
    """With unenforceable="warn" an acting guardrail is warned about, and is not said to have acted."""
    guard = telemetry.guard(Guardrail(refuse, stage="input"), unenforceable="warn")

    with pytest.warns(UserWarning, match="instrument"):
        instrument(guard)
    completing.complete("bomb")

    assert "llmguard.verdict" not in telemetry.spans[0].attributes


def test_shadow_parts(telemetry: Any) -> None:
    """Guardrails that only record see what embedding models and tools are given, and what tools give."""
    seen: list[tuple[str, str]] = []

    def noting(stage: str) -> Any:
        def note(text: str) -> bool:
            seen.append((stage, text))
            return False

        return note

    stages = ("embedding", "tool_call", "tool_result")
    rules = [Guardrail(noting(stage), stage=stage, action="log", name=stage) for stage in stages]
    instrument(telemetry.guard(*rules))

    MockEmbedding(embed_dim=8).get_text_embedding_batch(["one", "two"])
    FunctionTool.from_defaults(str.upper, name="upper").call("three")
    FunctionTool.from_defaults(lambda word: word * 2, name="double").call(word="four")

    assert seen == [
        ("embedding", "one"),
        ("embedding", "two"),
        ("tool_call", "three"),
        ("tool_result", "THREE"),
        ("tool_call", "four"),
        ("tool_result", "fourfour"),
    ]


def test_many_documents(telemetry: Any) -> None:
    """A retrieval names its first twenty documents, with the scores they have, and tells how many there are."""
    shelf = Shelf(*(f"document {number}" for number in range(25)))
    found = [NodeWithScore(node=node, score=None if number else 0.5) for number, node in enumerate(shelf.nodes)]
    shelf._retrieve = lambda query_bundle: found  # type: ignore[method-assign]  # scores that the fake cannot give
    instrument(telemetry.guard())

    shelf.retrieve("Hello")

    told = telemetry.spans[0].attributes
    named = json.loads(told["gen_ai.retrieval.documents"])
    assert [one["id"] for one in named] == [node.node_id for node in shelf.nodes[:20]]
    assert [one["score"] for one in named] == [0.5] + [None] * 19
    assert told["llmguard.retrieval.document.count"] == 25
