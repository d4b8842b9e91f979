"""Whole trees of spans: what instrument makes of engines and agents, span by span."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from fakes_engines import threads_joined
from fakes_parts import LOOPS_CARRY, TOOLS_CARRY
from llama_index.core import Document, MockEmbedding, Settings, VectorStoreIndex
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.llms import MockLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.postprocessor import LLMRerank, SimilarityPostprocessor
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.query_engine import SubQuestionQueryEngine
from llama_index.core.question_gen import LLMQuestionGenerator
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.tools import FunctionTool, QueryEngineTool
from llama_index.core.workflow import StartEvent, StopEvent, Workflow, step
from opentelemetry.sdk.trace import ReadableSpan

from llmguard_llamaindex import attach, instrument, protect, uninstrument
from llmguard_middleware import Monitor

from .conftest import Chatting, Completing, Script

# LlamaIndex looks through all attributes of its agents, of which pydantic warns.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.PydanticDeprecationWarning")

TEXTS = ["Bob lives in Ulm.", "Carol lives in Bern."]
IDS = ["node-0", "node-1"]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """After each test uninstrument() leaves LlamaIndex's dispatcher as it was."""
    root = get_dispatcher()
    before = list(root.span_handlers), list(root.event_handlers)
    yield
    uninstrument()
    assert (root.span_handlers, root.event_handlers) == before


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """LlamaIndex asks its settings for a model even where one is given."""
    monkeypatch.setattr(Settings, "_llm", MockLLM())


@pytest.fixture
def index() -> VectorStoreIndex:
    """An index over two documents with known ids."""
    documents = [Document(text=text, id_=f"document-{id_}") for id_, text in zip(IDS, TEXTS, strict=True)]
    nodes = [document.model_copy(update={"id_": id_}) for document, id_ in zip(documents, IDS, strict=True)]
    return VectorStoreIndex(nodes=nodes, embed_model=MockEmbedding(embed_dim=8))


@pytest.fixture(params=["query", "aquery"])
def way(request: pytest.FixtureRequest) -> str:
    """Sync or async."""
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["whole", "streaming"])
def streaming(request: pytest.FixtureRequest) -> bool:
    """Whole or streamed."""
    return bool(request.param)


@pytest.fixture(params=[False, True], ids=["idle", "monitored"])
def guard(request: pytest.FixtureRequest, telemetry: Any) -> Any:
    """A guard that has nothing to judge, and one that has."""

    def watch(output: object) -> float:
        return 1.0

    return telemetry.guard(*[Monitor(watch)] * request.param)


def forest(telemetry: Any) -> list[Any]:
    """Every trace as (name, kind, status, own attributes, spans below), in the order of their start; no orphan."""
    spans: Sequence[ReadableSpan] = telemetry.spans
    ids = {span.context.span_id for span in spans}
    assert all(span.parent is None or span.parent.span_id in ids for span in spans)
    return _below(spans, None)


def _below(spans: Sequence[ReadableSpan], parent: int | None) -> list[Any]:
    return [
        (span.name, span.kind.name, span.status.status_code.name, _own(span), _below(spans, span.context.span_id))
        for span in spans
        if (span.parent.span_id if span.parent else None) == parent
    ]


def _own(span: ReadableSpan) -> dict[str, Any]:
    """Attributes without those that each span has, and those of which only the shape is known."""
    own = {key: value for key, value in (span.attributes or {}).items() if not key.startswith("llmguard.guard.")}
    operation = own.pop("gen_ai.operation.name")
    assert span.name.startswith(str(operation))
    if "gen_ai.retrieval.documents" in own:
        own["gen_ai.retrieval.documents"] = [one["id"] for one in json.loads(str(own["gen_ai.retrieval.documents"]))]
    for counted in ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"):
        own.pop(counted, None)
    return own


def workflow(name: str, *below: Any) -> Any:
    """The span of an engine or a workflow."""
    return (f"invoke_workflow {name}", "INTERNAL", "UNSET", {"gen_ai.workflow.name": name}, list(below))


def agent(name: str, *below: Any) -> Any:
    """The span of an agent."""
    return (f"invoke_agent {name}", "INTERNAL", "UNSET", {"gen_ai.agent.name": name}, list(below))


def retrieval(*below: Any) -> Any:
    """The span of the index's retriever."""
    told = {
        "gen_ai.retrieval.top_k": 2,
        "gen_ai.retrieval.documents": IDS,
    }
    return ("retrieval", "CLIENT", "UNSET", told, list(below))


def embeddings(count: int = 1) -> Any:
    """The span of the embedding model."""
    told = {
        "gen_ai.provider.name": "mockembedding",
        "gen_ai.embeddings.dimension.count": 8,
        "llmguard.embeddings.input.count": count,
    }
    return ("embeddings", "CLIENT", "UNSET", told, [])


def chat(llm: Any, *, streamed: bool = False) -> Any:
    """The span of a model."""
    told = {
        "gen_ai.provider.name": type(llm).__name__.lower(),
        "gen_ai.request.model": "scripted",
        "gen_ai.response.id": "answer-1",
        "gen_ai.response.model": "scripted-2",
        "gen_ai.response.finish_reasons": ("stop",),
        **(
            {"gen_ai.request.stream": True, "gen_ai.response.time_to_first_chunk": pytest.approx(30, abs=30)}
            if streamed
            else {}
        ),
    }
    return ("chat scripted", "CLIENT", "UNSET", told, [])


def tool(name: str, call_id: str, *below: Any, error: str = "") -> Any:
    """The span of a tool."""
    told = {"gen_ai.tool.name": name, "gen_ai.tool.type": "function", "gen_ai.tool.call.id": call_id}
    if error:
        told["error.type"] = error
    return (f"execute_tool {name}", "INTERNAL", "ERROR" if error else "UNSET", told, list(below))


async def test_query(
    llm: Any, way: str, streaming: bool, guard: Any, telemetry: Any, index: VectorStoreIndex, query: Any
) -> None:
    """A query is a tree of four spans and nothing else, sync or async, its streamed answer included."""
    instrument(guard)

    assert await query(index.as_query_engine(llm=llm, streaming=streaming), way, "Hello") == "fine"

    engine = workflow("RetrieverQueryEngine", retrieval(embeddings()), chat(llm, streamed=streaming))
    assert forest(telemetry) == [engine]


@pytest.mark.parametrize("mode", ["simple", "context", "condense_question", "condense_plus_context"])
@pytest.mark.parametrize("call", ["chat", "achat", "stream_chat", "astream_chat"])
async def test_chat_engine(
    llm: Any, mode: str, call: str, guard: Any, telemetry: Any, index: VectorStoreIndex, turn: Any
) -> None:
    """A turn of a chat engine is one tree, though a thread writes down its streamed answer; a second one condenses."""
    instrument(guard)
    memory = ChatMemoryBuffer.from_defaults(token_limit=1000)
    engine: Any = index.as_chat_engine(llm=llm, chat_mode=mode, memory=memory)

    assert await turn(engine, call) == "fine"
    assert await turn(engine, call) == "fine"

    name, asked = type(engine).__name__, chat(llm, streamed="stream" in call)
    answered: list[Any] = [retrieval(embeddings()), asked]
    condensed = [chat(llm)] if mode.startswith("condense") else []
    if mode == "simple":
        answered = [asked]
    elif mode == "condense_question":
        answered = [workflow("RetrieverQueryEngine", *answered)]
    assert forest(telemetry) == [workflow(name, *answered), workflow(name, *condensed, *answered)]


@pytest.fixture
def turn() -> Callable[..., Any]:
    """A turn of a chat engine in one of its four ways; returns the answer's text."""

    async def taking(engine: Any, call: str) -> str:
        if call == "stream_chat":
            with threads_joined():
                return "".join(engine.stream_chat("Hello").response_gen)
        reply = getattr(engine, call)("Hello")
        if call.startswith("a"):
            reply = await reply
        if call == "astream_chat":
            return "".join([piece async for piece in reply.async_response_gen()])
        return str(reply)

    return taking


@pytest.mark.parametrize(
    "in_loop", [False, True] if LOOPS_CARRY else [False], ids=lambda one: "loop" if one else "sync"
)
@pytest.mark.parametrize("use_async", [False, True], ids=["one by one", "at once"])
def test_sub_questions(
    llm: Any, in_loop: bool, use_async: bool, guard: Any, script: Any, telemetry: Any, index: VectorStoreIndex
) -> None:
    """Questions that an engine asks at the same time, on a loop of its own or in a thread, lie under its query."""
    asked = [{"sub_question": text, "tool_name": "index"} for text in ("one?", "two?")]
    script.answer = json.dumps({"items": asked})
    described = QueryEngineTool.from_defaults(index.as_query_engine(llm=llm), name="index", description="all of it")
    engine = SubQuestionQueryEngine.from_defaults(
        [described],
        question_gen=LLMQuestionGenerator.from_defaults(llm=llm),
        response_synthesizer=get_response_synthesizer(llm=llm, use_async=use_async),
        use_async=use_async,
        verbose=False,
    )
    instrument(guard)

    async def inside() -> None:
        engine.query("Hello")

    _run(inside) if in_loop else engine.query("Hello")

    sub = workflow("RetrieverQueryEngine", retrieval(embeddings()), chat(llm))
    assert forest(telemetry) == [workflow("SubQuestionQueryEngine", chat(llm), sub, sub, chat(llm))]


def _run(function: Callable[[], Any]) -> None:
    import asyncio  # noqa: PLC0415 - here only

    asyncio.run(function())


def test_rerank(llm: Any, guard: Any, script: Any, telemetry: Any, index: VectorStoreIndex) -> None:
    """A reranker with a model has a span with the documents' order, and its LLM below; a filter by scores has none."""
    script.answer = "Doc: 2, Relevance: 9\nDoc: 1, Relevance: 3"
    instrument(guard)
    parts = [SimilarityPostprocessor(similarity_cutoff=0.1), LLMRerank(llm=llm)]

    index.as_query_engine(llm=llm, node_postprocessors=parts).query("Hello")

    told = {"gen_ai.retrieval.documents": IDS[::-1]}
    rerank = ("rerank LLMRerank", "INTERNAL", "UNSET", told, [chat(llm)])
    assert forest(telemetry) == [workflow("RetrieverQueryEngine", retrieval(embeddings()), rerank, chat(llm))]


class CrossEncoder(BaseNodePostprocessor):
    """A reranker with a model of its own."""

    model: str = "cross-1"

    def _postprocess_nodes(self, nodes: Any, query_bundle: Any = None) -> Any:
        return nodes[::-1]


async def test_rerank_model(
    completing: Any, way: str, guard: Any, telemetry: Any, index: VectorStoreIndex, query: Any
) -> None:
    """A reranker with a model of its own names it; an async query runs it in a thread, and it lies in its place."""
    instrument(guard)
    engine = index.as_query_engine(llm=completing, node_postprocessors=[CrossEncoder()])

    await query(engine, way, "Hello")

    told = {
        "gen_ai.request.model": "cross-1",
        "gen_ai.retrieval.documents": IDS[::-1],
    }
    rerank = ("rerank cross-1", "INTERNAL", "UNSET", told, [])
    assert forest(telemetry) == [workflow("RetrieverQueryEngine", retrieval(embeddings()), rerank, chat(completing))]


async def test_embeddings(guard: Any, telemetry: Any) -> None:
    """Embeddings of a query, of a text and of many are one span each, sync and async, however they are batched."""
    instrument(guard)
    model = MockEmbedding(embed_dim=8, embed_batch_size=2)

    model.get_query_embedding("a")
    model.get_text_embedding("a")
    model.get_text_embedding_batch(["a", "b", "c"])
    await model.aget_query_embedding("a")
    await model.aget_text_embedding("a")
    await model.aget_text_embedding_batch(["a", "b", "c"])

    assert forest(telemetry) == [embeddings(count) for count in (1, 1, 3, 1, 1, 3)]


class _Both(BaseRetriever):
    """A retriever that asks another one."""

    def __init__(self, inner: BaseRetriever) -> None:
        super().__init__()
        self._inner = inner

    def _retrieve(self, query_bundle: Any) -> Any:
        return self._inner.retrieve(query_bundle)


def test_retriever_inside(guard: Any, telemetry: Any, index: VectorStoreIndex) -> None:
    """A retriever inside a retriever is a retrieval of its own."""
    instrument(guard)

    _Both(index.as_retriever()).retrieve("Hello")

    told = {"gen_ai.retrieval.documents": IDS}
    assert forest(telemetry) == [("retrieval", "CLIENT", "UNSET", told, [retrieval(embeddings())])]


async def test_synthesis(
    llm: Any, way: str, streaming: bool, guard: Any, telemetry: Any, index: VectorStoreIndex, query: Any
) -> None:
    """With synthesis=True the response synthesizer has a span, too, around the model's, streamed or not."""
    instrument(guard, synthesis=True)

    await query(index.as_query_engine(llm=llm, streaming=streaming), way, "Hello")

    synthesis = ("synthesize CompactAndRefine", "INTERNAL", "UNSET", {}, [chat(llm, streamed=streaming)])
    assert forest(telemetry) == [workflow("RetrieverQueryEngine", retrieval(embeddings()), synthesis)]


# Agents


def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


class Calling(Chatting):
    """A model that asks for `add` first, and then answers."""

    def _message(self, text: str) -> ChatMessage:
        return ChatMessage(role="assistant", content=text)

    def get_tool_calls_from_response(self, response: Any, error_on_no_tool_call: bool = True, **kwargs: Any) -> Any:
        """One call, as long as no tool has answered."""
        if len(self.script.asked) % 2 == 0:
            return []
        return [ToolSelection(tool_id="call-1", tool_name="add", tool_kwargs={"a": 1, "b": 2})]

    def _prepare_chat_with_tools(self, tools: Any, user_msg: Any = None, chat_history: Any = None, **_: Any) -> Any:
        return {"messages": [*(chat_history or ()), *([user_msg] if user_msg else ())]}


@pytest.fixture
def calling(script: Any) -> Calling:
    """A model that calls a tool."""
    return Calling(script=script)


async def _agent_run(made: Any) -> str:
    handler = made.run(user_msg="What is 1 + 2?")
    async for _ in handler.stream_events():
        pass
    return str(await handler)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streaming"])
async def test_agent(calling: Any, streamed: bool, guard: Any, telemetry: Any) -> None:
    """An agent's run is one tree: the model, the tool under the id that the model gave the call, the model again."""
    instrument(guard)

    assert await _agent_run(FunctionAgent(name="adder", tools=[add], llm=calling, streaming=streamed)) == "fine"

    asked = chat(calling, streamed=streamed)
    assert forest(telemetry) == [agent("adder", asked, tool("add", "call-1"), asked)]


async def test_agents(calling: Any, guard: Any, telemetry: Any) -> None:
    """In a workflow of agents each turn is a span with its model below, and tools lie under the workflow."""
    instrument(guard)
    one = FunctionAgent(name="adder", description="adds", tools=[add], llm=calling)

    assert await _agent_run(AgentWorkflow(agents=[one])) == "fine"

    said = agent("adder", chat(calling, streamed=True))
    assert forest(telemetry) == [workflow("AgentWorkflow", said, tool("add", "call-1"), said)]


async def test_failed_tool(calling: Any, guard: Any, telemetry: Any) -> None:
    """A tool that fails has a failed span; the agent, which is told and goes on, has not."""

    def failing(a: int, b: int) -> int:
        raise ValueError("about bob@example.com")

    instrument(guard)

    await _agent_run(FunctionAgent(tools=[FunctionTool.from_defaults(failing, name="add")], llm=calling))

    asked = chat(calling, streamed=True)
    assert forest(telemetry) == [agent("Agent", asked, tool("add", "call-1", error="ValueError"), asked)]


async def test_agent_with_engine(calling: Any, telemetry: Any, index: VectorStoreIndex) -> None:
    """A query engine that is an agent's tool has its tree below the tool's span."""
    instrument(telemetry.guard())
    completing = Completing(script=Script())
    engine = index.as_query_engine(llm=completing)

    def find(a: int, b: int) -> str:
        return str(engine.query("Hello"))

    async def afind(a: int, b: int) -> str:
        return find(a, b)

    function = {"fn": find} if TOOLS_CARRY else {"async_fn": afind}  # before, a thread has a trace of its own
    await _agent_run(FunctionAgent(tools=[FunctionTool.from_defaults(**function, name="add")], llm=calling))

    tree = forest(telemetry)
    query = workflow("RetrieverQueryEngine", retrieval(embeddings()), chat(completing))
    assert tree[0][4][1] == tool("add", "call-1", query)
    assert len(tree) == 1


class _Fails(Workflow):
    """A workflow that fails."""

    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        """The only step."""
        raise ValueError("about bob@example.com")


async def test_failed_workflow(guard: Any, telemetry: Any) -> None:
    """A workflow that fails has one failed span, and nothing of what its steps said."""
    instrument(guard)

    with pytest.raises(ValueError, match="bob"):
        await _Fails().run()

    told = {"gen_ai.workflow.name": "_Fails", "error.type": "ValueError"}
    assert forest(telemetry) == [("invoke_workflow _Fails", "INTERNAL", "ERROR", told, [])]
    assert "bob" not in str([span.to_json() for span in telemetry.spans])


async def test_no_content(calling: Any, telemetry: Any) -> None:
    """Nothing that a user, a model or a tool says is in any span, though LlamaIndex's own tags hold it."""
    instrument(telemetry.guard())

    await _agent_run(FunctionAgent(tools=[add], llm=calling))

    assert "1 + 2" not in str([span.to_json() for span in telemetry.spans])


# Together with attach and protect


async def test_two_engines(
    way: str, streaming: bool, script: Any, telemetry: Any, index: VectorStoreIndex, query: Any
) -> None:
    """Two attached engines on one index in an instrumented process: each its own guard, embeddings the process's."""
    llm = Completing(script=script)
    instrument(telemetry.guard(name="process"))
    engines = {
        name: attach(index.as_query_engine(llm=llm, streaming=streaming), telemetry.guard(name=name))
        for name in ("one", "two")
    }

    for name in ("one", "two", "one"):
        await query(engines[name], way, "Hello")

    tree = workflow("RetrieverQueryEngine", retrieval(embeddings()), chat(llm, streamed=streaming))
    assert [(name, [below[0] for below in spans]) for name, *_, spans in forest(telemetry)] == [
        (tree[0], [below[0] for below in tree[4]])
    ] * 3
    guards = [(span.name.split()[0], span.attributes["llmguard.guard.name"]) for span in telemetry.spans]
    assert guards == [
        (operation, "process" if operation == "embeddings" else name)
        for name in ("one", "two", "one")
        for operation in ("invoke_workflow", "retrieval", "embeddings", "chat")
    ]


async def test_protected_in_agent(calling: Any, telemetry: Any) -> None:
    """A protected model in an agent that is only instrumented lies in its tree, once."""
    instrument(telemetry.guard(name="process"))

    await _agent_run(FunctionAgent(tools=[add], llm=protect(calling, telemetry.guard(name="own"))))

    (tree,) = forest(telemetry)
    assert [span[0] for span in tree[4]] == ["chat scripted", "execute_tool add", "chat scripted"]
    guards = [span.attributes["llmguard.guard.name"] for span in telemetry.spans]
    assert guards == ["process", "own", "process", "own"]


def test_two_guards(completing: Any, telemetry: Any) -> None:
    """Two guards around the process have a span each for a call, one in the other."""
    instrument(telemetry.guard(name="one"))
    instrument(telemetry.guard(name="two"))

    SimpleChatEngine.from_defaults(llm=completing, memory=ChatMemoryBuffer.from_defaults(token_limit=1000)).chat(
        "Hello"
    )

    name = "invoke_workflow SimpleChatEngine"
    assert telemetry.tree == [(name, None), (name, name), ("chat scripted", name), ("chat scripted", "chat scripted")]
