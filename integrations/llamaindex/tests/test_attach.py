"""attach: a query engine guarded in place."""

from __future__ import annotations

import asyncio
import copy
import gc
from typing import Any

import pytest
from llama_index.core.base.response.schema import Response
from llama_index.core.postprocessor import LLMRerank
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.query_engine import CustomQueryEngine, RouterQueryEngine
from llama_index.core.response_synthesizers.no_text import NoText
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.tools import QueryEngineTool
from opentelemetry.trace import SpanKind

from llmguard_llamaindex import GuardPostprocessor, attach, detach, protect
from llmguard_middleware import ConfigurationError, Guardrail, GuardrailViolation, Monitor, UnenforceableError, scorer
from llmguard_middleware.scorers import pii, secrets

KEY = "sk-abcdefghijklmnopqrstuvwx"
TREE = [("invoke_workflow RetrieverQueryEngine", None)] + [
    (name, "invoke_workflow RetrieverQueryEngine") for name in ("retrieval", "chat scripted")
]


def redacting(telemetry: Any, *more: Any, **options: Any) -> Any:
    """A guard that redacts both ways."""
    rules = Guardrail(pii(), stage="input", action="redact"), Guardrail(secrets(), stage="output", action="redact")
    return telemetry.guard(*rules, *more, **options)


def refuse(text: str) -> bool:
    """A scorer that flags bombs."""
    return "bomb" in text


@pytest.fixture(params=["query", "aquery"])
def way(request: pytest.FixtureRequest) -> str:
    """Sync or async."""
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["whole", "streaming"])
def streaming(request: pytest.FixtureRequest) -> bool:
    """Whole or streamed."""
    return bool(request.param)


async def test_guarded(
    llm: Any, way: str, streaming: bool, script: Any, shelf: Any, telemetry: Any, engine: Any, query: Any
) -> None:
    """In every mode retriever and model see redacted texts only, and the caller gets a redacted answer."""
    script.answer = f"Key {KEY}."
    guarded = attach(engine(llm, streaming=streaming), redacting(telemetry))

    answer = await query(guarded, way, "Who is carol@example.com?")

    assert answer == "Key <OPENAI_API_KEY>."
    assert shelf.asked == ["Who is <EMAIL_ADDRESS>?"]
    (asked,) = script.asked
    assert "Who is <EMAIL_ADDRESS>?" in asked
    assert "Write to <EMAIL_ADDRESS>" in asked
    assert "@" not in asked
    assert telemetry.flagged == [("pii", "input"), ("pii", "input"), ("secrets", "output")]


async def test_tree(llm: Any, way: str, streaming: bool, script: Any, telemetry: Any, engine: Any, query: Any) -> None:
    """In every mode a query is one span with the retrieval and the model call below it, and HTTP below that."""
    script.tracer = telemetry.tracer_provider.get_tracer("http")
    script.size = 10
    guard = telemetry.guard()

    await query(attach(engine(llm, streaming=streaming), guard), way, "Hello")

    assert telemetry.tree == [*TREE, ("POST", "chat scripted")]
    root, retrieval, *_ = telemetry.spans
    own = {"llmguard.guard.name": "default", "llmguard.guard.digest": guard.digest}
    assert root.kind == SpanKind.INTERNAL
    assert dict(root.attributes) == {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": "RetrieverQueryEngine",
        **own,
    }
    assert retrieval.kind == SpanKind.CLIENT
    assert dict(retrieval.attributes) == {"gen_ai.operation.name": "retrieval", "gen_ai.retrieval.top_k": 2, **own}


async def test_blocked_question(
    llm: Any, way: str, streaming: bool, script: Any, shelf: Any, telemetry: Any, engine: Any, query: Any
) -> None:
    """A blocked question raises before anything is retrieved."""
    guarded = attach(engine(llm, streaming=streaming), telemetry.guard(Guardrail(refuse, stage="input")))

    with pytest.raises(GuardrailViolation):
        await query(guarded, way, "How to build a bomb?")

    assert (shelf.asked, script.asked) == ([], [])
    assert len(telemetry.spans) == 1


async def test_blocked_answer(
    llm: Any, way: str, streaming: bool, script: Any, telemetry: Any, engine: Any, query: Any
) -> None:
    """A blocked answer raises in every mode, and is judged once although it passes the model and the engine."""
    judged: list[str] = []

    def judging(text: str) -> bool:
        judged.append(text)
        return refuse(text)

    script.answer = "Take a bomb and"
    guarded = attach(engine(llm, streaming=streaming), telemetry.guard(Guardrail(judging, stage="output")))

    with pytest.raises(GuardrailViolation):
        await query(guarded, way, "Hello")

    assert judged == ["Take a bomb and"]
    assert [span.attributes["error.type"] for span in telemetry.spans if "error.type" in span.attributes] == [
        "blocked",
        "blocked",
    ]


@pytest.mark.parametrize("size", range(1, 20))
async def test_split_secret(
    llm: Any, way: str, size: int, script: Any, telemetry: Any, engine: Any, query: Any
) -> None:
    """However a secret is cut by chunks, a streamed answer equals the whole one."""
    script.answer, script.size = f"The key: {KEY}. Another: {KEY}", size
    guard = redacting(telemetry)

    streamed = await query(attach(engine(llm, streaming=True), guard), way, "Hello")

    assert (
        streamed
        == await query(attach(engine(llm), guard), way, "Hello")
        == "The key: <OPENAI_API_KEY>. Another: <OPENAI_API_KEY>"
    )


@pytest.mark.parametrize(
    "response_mode",
    ["compact", "refine", "tree_summarize", "simple_summarize", "generation", "accumulate", "compact_accumulate"],
)
async def test_response_modes(
    llm: Any, way: str, response_mode: str, script: Any, telemetry: Any, engine: Any, query: Any
) -> None:
    """In every response mode the model gets redacted texts only and the answer is redacted."""
    script.answer = f"Key {KEY}"
    guarded = attach(engine(llm, response_mode=response_mode), redacting(telemetry))

    answer = await query(guarded, way, "Who is carol@example.com?")

    assert "<OPENAI_API_KEY>" in answer
    assert "sk-" not in answer
    assert script.asked
    assert all("@" not in asked for asked in script.asked)


async def test_async_synthesis(completing: Any, script: Any, telemetry: Any, engine: Any) -> None:
    """A synthesizer that asks the model on threads of its own is guarded, and its calls are below the query."""
    # Inline, because LlamaIndex leaves the other tasks of a failed call pending on a loop that it closes.
    inline = scorer(name="refuse", cheap=True)(refuse)
    guarded = attach(
        engine(completing, response_mode="accumulate", use_async=True),
        redacting(telemetry, Guardrail(inline, stage="output")),
    )

    guarded.query("Hello")

    assert telemetry.tree == [*TREE, TREE[-1]]
    script.answer = "bomb"
    with pytest.raises(GuardrailViolation):
        guarded.query("Hello")


async def test_monitor(
    llm: Any, way: str, streaming: bool, script: Any, telemetry: Any, engine: Any, query: Any
) -> None:
    """Monitors score the query once, with the retrieved documents as context."""
    seen: list[Any] = []

    def watch(question: str, query: str, output: str, context: Any) -> float:
        seen.append((question, query, output, context))
        return 1.0

    guard = redacting(telemetry, Monitor(watch))

    await query(attach(engine(llm, streaming=streaming), guard), way, "Hello")

    assert guard.flush() == 0
    assert seen == [("Hello", "Hello", "fine", ("Bob lives in Ulm.", "Write to <EMAIL_ADDRESS>."))]


async def test_context_for_the_model(completing: Any, telemetry: Any, engine: Any) -> None:
    """An output guardrail on the model's answer sees the documents retrieved for it."""
    seen: list[Any] = []

    def grounded(text: str, context: Any) -> bool:
        seen.append(context)
        return False

    attach(engine(completing), telemetry.guard(Guardrail(grounded, stage="output"))).query("Hello")

    assert seen == [("Bob lives in Ulm.", "Write to bob@example.com.")]


async def test_detach(llm: Any, script: Any, shelf: Any, telemetry: Any, engine: Any) -> None:
    """Detach puts the engine's class and parts back; what other engines share was never changed."""
    plain = engine(llm)
    before = (
        type(plain),
        dict(vars(plain)),
        dict(vars(plain._response_synthesizer)),
        dict(vars(shelf)),
        dict(vars(llm)),
    )

    guard = redacting(telemetry, Guardrail(pii(), stage="retrieval", action="redact", name="documents"))
    assert attach(plain, guard) is plain
    assert isinstance(plain, before[0])
    assert plain._response_synthesizer._llm is not llm
    assert attach(plain, guard) is plain
    assert detach(plain) is plain

    assert (type(plain), vars(plain), vars(plain._response_synthesizer), vars(shelf), vars(llm)) == before
    plain.query("bob@example.com")
    assert telemetry.spans == []
    assert detach(plain) is plain


async def test_two_engines(llm: Any, script: Any, telemetry: Any, engine: Any) -> None:
    """Two engines that share one LLM can have two guards."""
    one = attach(engine(llm), telemetry.guard(Guardrail(pii(), stage="output", action="redact"), name="one"))
    two = attach(engine(llm), telemetry.guard(Guardrail(secrets(), stage="output", action="redact"), name="two"))
    script.answer = f"{KEY} bob@example.com"

    assert str(one.query("Hello")) == f"{KEY} <EMAIL_ADDRESS>"
    assert str(two.query("Hello")) == "<OPENAI_API_KEY> bob@example.com"


async def test_two_guards(
    llm: Any, way: str, streaming: bool, script: Any, telemetry: Any, engine: Any, query: Any
) -> None:
    """Two guards on one engine both apply, and share its spans."""
    inner = telemetry.guard(Guardrail(pii(), stage="output", action="redact"), name="inner")
    outer = telemetry.guard(Guardrail(secrets(), stage="output", action="redact"), name="outer")
    script.answer = f"{KEY} bob@example.com"
    guarded = attach(attach(engine(llm, streaming=streaming), inner), outer)

    assert await query(guarded, way, "Hello") == "<OPENAI_API_KEY> <EMAIL_ADDRESS>"
    assert telemetry.tree == TREE
    assert detach(guarded)._response_synthesizer._llm is llm


async def test_protected_and_attached(
    llm: Any, way: str, streaming: bool, script: Any, telemetry: Any, engine: Any, query: Any
) -> None:
    """An engine attached to the guard that its LLM is protected by judges, traces and monitors everything once."""
    seen: list[str] = []

    def watch(output: str) -> float:
        seen.append(output)
        return 1.0

    guard = redacting(telemetry, Monitor(watch))
    script.answer = KEY

    await query(attach(engine(protect(llm, guard), streaming=streaming), guard), way, "Hello")

    assert telemetry.tree == TREE
    assert telemetry.flagged == [("pii", "input"), ("secrets", "output")]
    assert guard.flush() == 0
    assert seen == ["<OPENAI_API_KEY>"]


async def test_copies(completing: Any, script: Any, telemetry: Any, engine: Any) -> None:
    """Copies of an attached engine are guarded, and can be detached alone."""
    guarded = attach(engine(completing), redacting(telemetry))

    for clone in (copy.copy(guarded), copy.deepcopy(guarded)):
        clone.query("bob@example.com")
    detach(clone)
    guarded.query("bob@example.com")

    assert all("@" not in asked for asked in script.asked)


async def test_abandoned(completing: Any, script: Any, telemetry: Any, engine: Any) -> None:
    """A streamed answer whose reader leaves ends all its spans as abandoned, an unread one too."""
    script.answer = "a long answer"
    guarded = attach(engine(completing, streaming=True), telemetry.guard())

    source = guarded.query("Hello").response_gen
    next(source)
    source.close()
    guarded.query("Hello")
    gc.collect()

    ended = [
        (span.name, span.attributes.get("llmguard.abandoned")) for span in telemetry.spans if span.name != "retrieval"
    ]
    assert ended[:3] == [
        ("invoke_workflow RetrieverQueryEngine", True),
        ("chat scripted", True),
        ("invoke_workflow RetrieverQueryEngine", True),
    ]
    assert set(ended[3:]) <= {("chat scripted", True)}  # the first releases ask the model before anybody reads


# Engines of other kinds


class Own(CustomQueryEngine):
    """An engine that answers by itself."""

    answer: Any = KEY

    def custom_query(self, query_str: str) -> Any:
        """The answer."""
        return self.answer


async def test_custom_engine(way: str, telemetry: Any, query: Any) -> None:
    """An engine's own answer, which no guarded LLM let go, is judged at its boundary."""
    assert await query(attach(Own(), redacting(telemetry)), way, "Hello") == "<OPENAI_API_KEY>"
    assert telemetry.tree == [("invoke_workflow Own", None)]


def test_strange_answer(telemetry: Any) -> None:
    """An answer of an unknown type is refused where an output guardrail acts."""
    with pytest.raises(UnenforceableError, match="int"):
        attach(Own(answer=3), redacting(telemetry)).query("Hello")
    assert attach(Own(answer=3), telemetry.guard()).query("Hello") == 3


async def test_no_text(completing: Any, shelf: Any, telemetry: Any, engine: Any) -> None:
    """An engine that returns sources only returns them redacted, and its store stays as it is."""
    guarded = attach(
        engine(completing, response_synthesizer=NoText(llm=completing)),
        telemetry.guard(Guardrail(pii(), stage="retrieval", action="redact")),
    )

    response = guarded.query("Hello")

    assert [item.node.get_content() for item in response.source_nodes] == [
        "Bob lives in Ulm.",
        "Write to <EMAIL_ADDRESS>.",
    ]
    assert shelf.nodes[1].text == "Write to bob@example.com."
    assert telemetry.flagged == [("pii", "retrieval")]


def test_swallowed(completing: Any, script: Any, telemetry: Any) -> None:
    """An engine that swallows the violation of its LLM does not get away with it."""

    class Careless(CustomQueryEngine):
        llm: Any

        def custom_query(self, query_str: str) -> Any:
            """The answer."""
            try:
                return self.llm.complete(query_str).text
            except Exception:  # noqa: BLE001 - that is its carelessness
                return "never mind"

    script.answer = "bomb"
    with pytest.raises(GuardrailViolation):
        attach(Careless(llm=completing), telemetry.guard(Guardrail(refuse, stage="output"))).query("Hello")


async def test_router(completing: Any, script: Any, telemetry: Any, engine: Any) -> None:
    """An engine over engines is guarded down to their LLMs, and the inner engines themselves stay unguarded."""
    inner = engine(completing)
    script.answer = '[{"choice": 1, "reason": "only one"}]'
    router = RouterQueryEngine.from_defaults([QueryEngineTool.from_defaults(inner, description="all")], llm=completing)

    attach(router, redacting(telemetry)).query("bob@example.com")
    guarded, script.asked[:] = list(script.asked), []
    inner.query("bob@example.com")

    assert len(guarded) == 2
    assert all("@" not in asked for asked in guarded)
    assert "bob@example.com" in script.asked[0]


def test_not_an_engine(telemetry: Any, completing: Any) -> None:
    """attach() refuses what is not a query engine and names what to use."""
    with pytest.raises(ConfigurationError, match="protect"):
        attach(completing, telemetry.guard())


@pytest.mark.parametrize("stage", ["tool_call", "tool_result", "embedding"])
def test_unenforceable(completing: Any, telemetry: Any, engine: Any, stage: Any) -> None:
    """A guardrail of a stage that is not enforced here is refused, and the engine is left as it was."""
    plain = engine(completing)
    before = type(plain), dict(vars(plain))

    with pytest.raises(UnenforceableError, match=stage):
        attach(plain, telemetry.guard(Guardrail(refuse, stage=stage)))

    assert (type(plain), vars(plain)) == before
    with pytest.raises(UnenforceableError, match="retriever"):
        attach(Own(), telemetry.guard(Guardrail(refuse, stage="retrieval")))


# GuardPostprocessor


async def test_postprocessor_alone(
    way: str, completing: Any, script: Any, telemetry: Any, engine: Any, query: Any
) -> None:
    """A GuardPostprocessor in an engine that is not attached redacts what the model sees, in copies."""
    guard = telemetry.guard(Guardrail(pii(), stage="retrieval", action="redact"))

    await query(engine(completing, node_postprocessors=[GuardPostprocessor(guard)]), way, "Hello")

    assert "Write to <EMAIL_ADDRESS>." in script.asked[0]
    assert telemetry.flagged == [("pii", "retrieval")]


async def test_document_blocked(
    way: str, completing: Any, script: Any, telemetry: Any, engine: Any, query: Any
) -> None:
    """A blocked document stops the query before the model is asked."""
    guard = telemetry.guard(Guardrail(pii(), stage="retrieval"))

    for guarded in (
        engine(completing, node_postprocessors=[GuardPostprocessor(guard)]),
        attach(engine(completing), guard),
    ):
        with pytest.raises(GuardrailViolation):
            await query(guarded, way, "Hello")

    assert script.asked == []


async def test_new_text(completing: Any, script: Any, telemetry: Any, engine: Any) -> None:
    """Text that a postprocessor brings in is judged too, what was judged is not judged again."""

    class Adding(BaseNodePostprocessor):
        def _postprocess_nodes(
            self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
        ) -> list[NodeWithScore]:
            return [*nodes, NodeWithScore(node=TextNode(text="Or to eve@example.com"))]

    judged: list[str] = []

    def look(text: str) -> bool:
        judged.append(text)
        return False

    guard = telemetry.guard(Guardrail(pii(), stage="retrieval", action="redact"), Guardrail(look, stage="retrieval"))
    response = attach(engine(completing, node_postprocessors=[Adding()]), guard).query("Hello")

    assert [item.node.get_content() for item in response.source_nodes][1:] == [
        "Write to <EMAIL_ADDRESS>.",
        "Or to <EMAIL_ADDRESS>",
    ]
    assert judged == ["Bob lives in Ulm.", "Write to bob@example.com.", "Or to eve@example.com"]
    assert isinstance(response, Response)


async def test_many_at_once(chatting: Any, script: Any, telemetry: Any, engine: Any, query: Any) -> None:
    """Streamed queries at the same time on one engine do not mix up."""
    script.answer = f"Key {KEY} and more. " * 5
    guarded = attach(engine(chatting, streaming=True), redacting(telemetry))

    answers = await asyncio.gather(*(query(guarded, "aquery", "Hello") for _ in range(8)))

    assert set(answers) == {"Key <OPENAI_API_KEY> and more. " * 5}
    assert len(telemetry.spans) == 3 * 8


async def test_rerank(completing: Any, script: Any, telemetry: Any, engine: Any) -> None:
    """The LLM of a postprocessor is guarded too."""
    script.answer = "Doc: 1, Relevance: 9"
    rerank = LLMRerank(llm=completing)

    attach(engine(completing, node_postprocessors=[rerank]), redacting(telemetry)).query("carol@example.com?")

    assert len(script.asked) == 2
    assert all("@" not in asked for asked in script.asked)
    assert rerank.llm is completing
