"""What a config says of a call is on the span of whatever is protected, as it is on that of a callback."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from langchain_core._api.beta_decorator import LangChainBetaWarning
from langchain_core.documents import Document
from langchain_core.language_models import LLM
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import GenerationChunk
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph

from llmguard_langchain import GuardCallback, protect
from llmguard_middleware import Guard, Guardrail, scorer

CONFIG = {"metadata": {"session_id": "s-1", "user_id": "u-1"}, "tags": ["fast"]}
KEYS = ("gen_ai.conversation.id", "user.id", "llmguard.tags", "llmguard.run.name")
TOLD = {"gen_ai.conversation.id": "s-1", "user.id": "u-1", "llmguard.tags": ("fast",)}
PROMPT = ChatPromptTemplate.from_template("{question}")


class FakeText(LLM):
    """A text model that cannot stream."""

    @property
    def _llm_type(self) -> str:
        return "fake"

    def _call(self, prompt: str, *args: Any, **kwargs: Any) -> str:
        return "Hello."


class StreamingText(FakeText):
    """One that can."""

    def _stream(self, prompt: str, *args: Any, **kwargs: Any) -> Any:
        yield GenerationChunk(text="Hel")
        yield GenerationChunk(text="lo.")


class Finds(BaseRetriever):
    """Finds one document."""

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return [Document("It is so.")]


@tool
def looks_up(who: str) -> str:
    """Look somebody up."""
    return "found"


async def _later(made: Any) -> None:
    if isinstance(made, AsyncIterator):
        async for _ in made:
            pass
    else:
        await made


ASK: dict[str, Callable[[Any, Any, Any], Any]] = {
    "invoke": lambda thing, given, config: thing.invoke(given, config),
    "ainvoke": lambda thing, given, config: asyncio.run(_later(thing.ainvoke(given, config))),
    "batch": lambda thing, given, config: thing.batch([given], config),
    "abatch": lambda thing, given, config: asyncio.run(_later(thing.abatch([given], config))),
    "stream": lambda thing, given, config: list(thing.stream(given, config)),
    "astream": lambda thing, given, config: asyncio.run(_later(thing.astream(given, config))),
    "astream_events": lambda thing, given, config: asyncio.run(
        _later(thing.astream_events(given, config, version="v2"))
    ),
}
MODELS: dict[str, Callable[[Any], Any]] = {
    "chat": lambda chat: chat,
    "text": lambda _: FakeText(),
    "streaming text": lambda _: StreamingText(),
}
OTHERS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "retriever": (lambda _: Finds(), "Hi"),
    "tool": (lambda _: looks_up, {"who": "me"}),
    "chain": (lambda chat: PROMPT | chat | StrOutputParser(), {"question": "Hi"}),
    "function": (lambda _: RunnableLambda(lambda _: "Hello.", name="says"), "Hi"),
}


def session(span: Any) -> dict[str, Any]:
    """What a span says of its session."""
    return {key: span.attributes[key] for key in KEYS if key in span.attributes}


@pytest.mark.parametrize("mode", ASK)
@pytest.mark.parametrize("kind", MODELS)
def test_a_models_span_tells_what_the_config_says(captured, provider, kind, mode):
    """In every call mode, and the run's name besides; a config that says nothing leaves nothing."""
    thing = MODELS[kind](provider())
    guarded = protect(thing, Guard(**captured.providers))
    ASK[mode](guarded, "Hi", {**CONFIG, "run_name": "draft"})
    ASK[mode](guarded, "Hi", None)
    callback = GuardCallback(Guard(**captured.providers))
    ASK[mode](thing, "Hi", {**CONFIG, "run_name": "draft", "callbacks": [callback]})
    assert [session(span) for span in captured.spans] == [
        {**TOLD, "llmguard.run.name": "draft"},
        {},
        {**TOLD, "llmguard.run.name": "draft"},
    ]


@pytest.mark.parametrize("mode", ASK)
@pytest.mark.parametrize("kind", OTHERS)
def test_other_spans_tell_what_the_config_says(captured, fake_chat, kind, mode):
    """Those of retrievers, tools and any Runnable, in every call mode, as a callback's."""
    make, given = OTHERS[kind]
    thing = make(fake_chat())
    guarded = protect(thing, Guard(**captured.providers))
    ASK[mode](guarded, given, CONFIG)
    ASK[mode](guarded, given, None)
    first = len(captured.spans)
    ASK[mode](thing, given, {**CONFIG, "callbacks": [GuardCallback(Guard(**captured.providers))]})
    assert [session(span) for span in captured.spans[:first]] == [TOLD, {}]
    assert session(captured.spans[-1]) == TOLD


@pytest.mark.parametrize("mode", ASK)
def test_a_model_in_a_chain_tells_what_was_said_of_the_chain(captured, provider, mode):
    """What a chain was called with reaches the protected model in it; its own tags are added, LangChain's are not."""
    model = protect(provider(), Guard(**captured.providers)).with_config(tags=["own"])
    ASK[mode](PROMPT | model | StrOutputParser(), {"question": "Hi"}, CONFIG)
    (span,) = captured.spans
    assert {**session(span), "llmguard.tags": sorted(span.attributes["llmguard.tags"])} == {
        **TOLD,
        "llmguard.tags": ["fast", "own"],
    }


@pytest.mark.parametrize("kind", [*MODELS, "retriever", "tool"])
def test_metadata_and_tags_of_a_thing_itself_count(captured, fake_chat, kind):
    """Which a model, retriever or tool may be made with; they win over those of the config, as for callbacks."""
    made, given = OTHERS.get(kind) or (MODELS[kind], "Hi")
    thing = made(fake_chat()).model_copy(update={"metadata": {"thread_id": "own"}, "tags": ["own"]})
    for one, config in (
        (protect(thing, Guard(**captured.providers)), CONFIG),
        (thing, {**CONFIG, "callbacks": [GuardCallback(Guard(**captured.providers))]}),
    ):
        one.invoke(given, config)
        if kind in MODELS:
            list(one.stream(given, config))
    assert captured.spans
    assert [session(span) for span in captured.spans] == [
        {"gen_ai.conversation.id": "own", "user.id": "u-1", "llmguard.tags": ("fast", "own")}
    ] * len(captured.spans)


@pytest.mark.parametrize("mode", ["batch", "abatch"])
@pytest.mark.parametrize("kind", MODELS)
def test_of_several_inputs_each_has_its_own_session(captured, fake_chat, kind, mode):
    """A batch with a config for each, also where a text model answers all prompts at once."""
    guarded = protect(MODELS[kind](fake_chat()), Guard(**captured.providers))
    configs: Any = [
        {"metadata": {"session_id": "a"}, "tags": ["x"], "run_name": "one"},
        {"metadata": {"session_id": "b"}},
        {},
    ]
    made = getattr(guarded, mode)(["Hi"] * 3, configs)
    if mode == "abatch":
        asyncio.run(_later(made))
    told = [session(span) for span in captured.spans]
    assert sorted(told, key=str) == sorted(
        [
            {"gen_ai.conversation.id": "a", "llmguard.tags": ("x",), "llmguard.run.name": "one"},
            {"gen_ai.conversation.id": "b"},
            {},
        ],
        key=str,
    )


@pytest.mark.parametrize("use_async", [False, True])
@pytest.mark.parametrize("kind", ["text", "chat"])
def test_generate_tells_what_it_was_given(captured, fake_chat, kind, use_async):
    """generate() and agenerate() take metadata, tags and a name without a config, for all prompts."""
    guarded = protect(MODELS[kind](fake_chat()), Guard(**captured.providers))
    prompts: Any = ["Hi", "Ho"] if kind == "text" else [[HumanMessage("Hi")], [HumanMessage("Ho")]]
    how: Any = {"metadata": {"session_id": "s"}, "tags": ["x"], "run_name": "draft"}
    if use_async:
        asyncio.run(_later(guarded.agenerate(prompts, **how)))
    else:
        guarded.generate(prompts, **how)
    told = {"gen_ai.conversation.id": "s", "llmguard.tags": ("x",), "llmguard.run.name": "draft"}
    assert [session(span) for span in captured.spans] == [told, told]


def test_a_graphs_thread_is_its_conversation(captured, fake_chat):
    """And that of the protected model in it, with the user and tags of the config."""
    guard = Guard(**captured.providers)
    model = protect(fake_chat(), guard)
    builder = StateGraph(MessagesState)
    builder.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
    builder.add_edge(START, "model")
    builder.add_edge("model", END)
    guarded = protect(builder.compile(), guard)
    guarded.invoke({"messages": [HumanMessage("Hi")]}, {**CONFIG, "configurable": {"thread_id": "t-1"}})
    assert [session(span) for span in captured.spans] == [{**TOLD, "gen_ai.conversation.id": "t-1"}] * 2


def test_two_guards_on_one_model_tell_it_once(captured, provider):
    """They share the span, which says it; the other guard's calls know of it, too."""
    known: list[str] = []

    def looks(text: str, call: Any) -> bool:
        known.append(call.conversation)
        return False

    inner, outer = (Guard(Guardrail(looks, stage="output"), name=name, **captured.providers) for name in ("in", "out"))
    guarded = protect(protect(provider(), inner), outer)
    guarded.invoke("Hi", CONFIG)
    list(guarded.stream("Hi", CONFIG))
    calls = [span for span in captured.spans if span.name.startswith("chat")]
    assert [session(span) for span in calls] == [TOLD, TOLD]
    assert known == ["s-1"] * 4


@pytest.mark.parametrize("mode", ["invoke", "ainvoke", "stream", "astream"])
def test_a_text_is_scored_once_per_conversation(fake_chat, mode):
    """What passed in a conversation is not scored again in it, without a callback; in another one it is."""
    seen: list[str] = []

    @scorer
    def looks(text: str) -> bool:
        seen.append(text)
        return False

    guarded = protect(fake_chat(), Guard(Guardrail(looks, stage="input")))
    for conversation in ("a", "a", "b"):
        ASK[mode](guarded, "Hi", {"metadata": {"session_id": conversation}})
    assert seen == ["Hi", "Hi"]


def test_a_model_inside_a_model_is_told_nothing_of_it(captured, fake_chat):
    """A model that asks another one of its own accord says what it says to it, and nothing is taken over."""
    inner = protect(fake_chat(), Guard(name="inner", **captured.providers))
    outer = fake_chat(answer=lambda messages: inner.invoke(messages).content)
    protect(outer, Guard(name="outer", **captured.providers)).invoke("Hi", CONFIG)
    assert [session(span) for span in captured.spans] == [{}, TOLD]


@pytest.mark.parametrize("mode", ["stream", "astream"])
def test_a_stream_that_is_left_leaves_nothing_behind(captured, fake_chat, mode):
    """Its reader gone, the next call of the model without a config says nothing."""
    guarded = protect(fake_chat(size=1), Guard(**captured.providers))

    async def first() -> None:
        stream = guarded.astream("Hi", CONFIG)
        async for _ in stream:
            break
        await stream.aclose()
        await guarded.ainvoke("Hi")

    if mode == "stream":
        stream = guarded.stream("Hi", CONFIG)
        next(stream)
        guarded.invoke("Hi")
        stream.close()
    else:
        asyncio.run(first())
    assert sorted(map(len, map(session, captured.spans))) == [0, 3]


@pytest.mark.parametrize("how", ["stream_events", "astream_events"])
def test_event_streams_of_version_3_tell_it(captured, fake_chat, installed, how):
    """All but the name of the run, which LangChain keeps to itself there."""
    guarded: Any = protect(fake_chat(), Guard(**captured.providers))
    if not installed.event_streams:
        assert not hasattr(guarded, "stream_events")
        return

    async def later(made: Any) -> None:
        await _later(aiter(await made))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LangChainBetaWarning)
        made = getattr(guarded, how)("Hi", CONFIG, version="v3")
        _ = list(made) if how == "stream_events" else asyncio.run(later(made))
    assert [session(span) for span in captured.spans] == [TOLD]
