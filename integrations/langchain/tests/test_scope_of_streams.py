"""What is said where a protected call is made holds for it, wherever its stream is read or its coroutine awaited."""

from __future__ import annotations

import asyncio
import copy
import inspect
import itertools
import warnings
from collections.abc import AsyncIterator, Callable
from operator import attrgetter
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
from langchain_core.runnables import ConfigurableField, RunnableGenerator, RunnableLambda
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph

from llmguard_langchain import protect
from llmguard_middleware import Guard, Guardrail, GuardrailViolation
from llmguard_middleware.testing import Flags, Returns

OF_ACME = {"tenant.id": "acme"}


class FakeText(LLM):
    """A text model that cannot stream."""

    @property
    def _llm_type(self) -> str:
        return "fake"

    def _call(self, prompt: str, *args: Any, **kwargs: Any) -> str:
        return "so nasty"


class StreamingText(FakeText):
    """One that can."""

    def _stream(self, prompt: str, *args: Any, **kwargs: Any) -> Any:
        for text in ("so ", "nasty"):
            yield GenerationChunk(text=text)


class Finds(BaseRetriever):
    """Finds one document."""

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return [Document("so nasty")]


@tool
def looks_up(who: str) -> str:
    """Look somebody up."""
    return "so nasty"


def graph(model: Any) -> Any:
    """A graph of one model."""
    builder = StateGraph(MessagesState)
    builder.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
    builder.add_edge(START, "model")
    builder.add_edge("model", END)
    return builder.compile()


STAGES = {"retriever": "retrieval", "tool": "tool_result"}
PROMPT = ChatPromptTemplate.from_template("{question}")
GIVEN: dict[str, Any] = {
    "chain": {"question": "Hi"},
    "graph": {"messages": [HumanMessage("Hi")]},
    "tool": {"who": "me"},
}
MAKE: dict[str, Callable[[Any], Any]] = {
    "chat": lambda chat: chat,
    "binding": lambda chat: chat.bind(stop=["x"]),
    "configurable": lambda chat: chat.configurable_fields(size=ConfigurableField(id="size")),
    "text": lambda _: StreamingText(),
    "whole text": lambda _: FakeText(),
    "chain": lambda chat: PROMPT | chat | StrOutputParser(),
    "function": lambda _: RunnableLambda(lambda _: "so nasty", name="says"),
    "graph": graph,
    "retriever": lambda _: Finds(),
    "tool": lambda _: looks_up,
}


def guard_of_acme(kind: str = "chat") -> Guard:
    """A guard that has a rule for what this kind of thing says, and for one tenant only."""
    stage: Any = STAGES.get(kind, "output")
    return Guard(Guardrail(Flags(when="nasty", cheap=True), stage=stage, action="redact", where=OF_ACME))


async def _given(given: Any) -> AsyncIterator[Any]:
    yield given


MADE: dict[str, Callable[[Any, Any], Any]] = {
    "stream": lambda thing, given: thing.stream(given),
    "transform": lambda thing, given: thing.transform(iter([given])),
    "batch_as_completed": lambda thing, given: thing.batch_as_completed([given]),
    "ainvoke": lambda thing, given: thing.ainvoke(given),
    "abatch": lambda thing, given: thing.abatch([given]),
    "astream": lambda thing, given: thing.astream(given),
    "atransform": lambda thing, given: thing.atransform(_given(given)),
    "abatch_as_completed": lambda thing, given: thing.abatch_as_completed([given]),
    "astream_events": lambda thing, given: thing.astream_events(given, version="v2"),
}


def read(made: Any) -> str:
    """All that a call gives, as text."""

    async def later() -> Any:
        return [one async for one in made] if hasattr(made, "__aiter__") else await made

    return repr(list(made) if hasattr(made, "__next__") else asyncio.run(later()))


@pytest.mark.parametrize("mode", MADE)
@pytest.mark.parametrize("kind", MAKE)
def test_the_tenant_is_that_of_the_place_where_the_call_was_made(kind, mode, fake_chat):
    """Whatever is protected, and in every mode that begins later, a call that is read after the block is judged by the
    tenant's rules, and one that is made outside is not.
    """
    guard, given = guard_of_acme(kind), GIVEN.get(kind, "Hi")
    thing = protect(MAKE[kind](fake_chat(answer="so nasty")), guard)
    with guard.attributes(tenant__id="acme"):
        made = MADE[mode](thing, given)
    other = MADE[mode](thing, given)
    told = read(made)
    assert "<FAKE>" in told
    assert "nasty" not in told
    assert "nasty" in read(other)


WRAPPED: dict[str, Callable[[Any], Any]] = {
    "bind": lambda thing: thing.bind(stop=["x"]),
    "with_config": lambda thing: thing.with_config(tags=["x"]),
    "with_retry": lambda thing: thing.with_retry(),
    "with_fallbacks": lambda thing: thing.with_fallbacks([RunnableLambda(lambda _: "fallback")]),
    "forgiven": lambda thing: thing.with_fallbacks([thing], exceptions_to_handle=(GuardrailViolation,)),
    "second guard": lambda thing: protect(thing, Guard(Guardrail(Returns(False, cheap=True), stage="output"))),
    "copy": copy.copy,
}


@pytest.mark.parametrize("mode", ["stream", "astream", "ainvoke"])
@pytest.mark.parametrize("how", WRAPPED)
def test_what_is_made_of_a_copy_begins_as_it_was_made(how, mode, provider):
    """So do bindings of it, its fallbacks and retries, a copy under two guards and a copy of a copy."""
    guard = guard_of_acme()
    thing = WRAPPED[how](protect(provider(answer="so nasty", size=2), guard))
    with guard.attributes(tenant__id="acme"):
        made = MADE[mode](thing, "Hi")
    told = read(made)
    assert "FAKE" in told
    assert "nasty" not in told


@pytest.mark.parametrize("how", ["stream_events", "astream_events"])
def test_event_streams_of_version_3_begin_as_they_were_made(how, fake_chat, installed):
    """They are no generators, and a tenant's rules hold for them all the same: of a model and of a graph."""
    if not installed.event_streams:
        assert not hasattr(fake_chat(), "stream_events")
        return
    guard = Guard(Guardrail(Flags(when="nasty", cheap=True), stage="input", where=OF_ACME), name="input")
    output = guard_of_acme()
    model = protect(fake_chat(answer="so nasty", size=2), output)
    of_graph = protect(graph(fake_chat()), guard)

    def all_of(made: Any) -> str:
        async def later() -> Any:
            return [one async for one in await made]

        return repr(list(made) if how == "stream_events" else asyncio.run(later()))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LangChainBetaWarning)
        with guard.attributes(tenant__id="acme"):
            said = getattr(model, how)("Hi", version="v3")
            state = getattr(of_graph, how)({"messages": [HumanMessage("nasty")]}, version="v3")
        told = all_of(said)
        with pytest.raises(GuardrailViolation):
            all_of(state)
    assert "<FAKE>" in told
    assert "nasty" not in told


def test_what_a_protected_chain_calls_is_of_its_tenant(fake_chat):
    """A protected model inside a protected chain meets the tenant's rules, though it begins after the block as well."""
    guard, inner = Guard(), guard_of_acme()
    chain = protect(PROMPT | protect(fake_chat(answer="so nasty", size=2), inner) | StrOutputParser(), guard)
    with guard.attributes(tenant__id="acme"):
        made = chain.stream({"question": "Hi"})
    assert "nasty" not in "".join(made)


@pytest.mark.parametrize("mode", MADE)
def test_a_bypass_is_over_with_its_block(mode, fake_chat):
    """What is made in a bypass and begins after it is judged."""
    guard = Guard(Guardrail(Flags(when="nasty", cheap=True), stage="output", action="redact"))
    thing = protect(fake_chat(answer="so nasty"), guard)
    with guard.attributes(tenant__id="acme"), guard.bypass(reason="a test"):
        made = MADE[mode](thing, "Hi")
    assert "nasty" not in read(made)


def test_two_streams_read_in_turn_do_not_mix(fake_chat):
    """Streams of two tenants, and one of nobody, each piece of which is read in turn, are each their own."""
    guard = guard_of_acme()
    thing = protect(fake_chat(answer="so nasty and more", size=3), guard)
    streams = []
    for tenant in ("acme", "other"):
        with guard.attributes(tenant__id=tenant):
            streams.append(thing.stream("Hi"))
    streams.append(thing.stream("Hi"))
    pieces = list(itertools.zip_longest(*(map(attrgetter("content"), one) for one in streams), fillvalue=""))
    told = ["".join(one) for one in zip(*pieces, strict=True)]
    assert told == ["so <FAKE> and more", "so nasty and more", "so nasty and more"]


def test_methods_look_as_they_did(fake_chat):
    """LangChain and LangGraph ask whether a method is async or a generator; a copy's own are found to be the same."""
    thing = fake_chat()
    guarded = protect(thing, guard_of_acme())
    for name in ("stream", "astream", "ainvoke", "transform", "atransform", "astream_log"):
        for kind in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction):
            assert kind(getattr(guarded, name)) == kind(getattr(thing, name)), name
        assert inspect.signature(getattr(guarded, name)) == inspect.signature(getattr(thing, name))
    assert asyncio.run(RunnableLambda(guarded.invoke, afunc=guarded.ainvoke).ainvoke("Hi")).text == "Hello."
    assert "".join(one.content for one in RunnableGenerator(guarded.transform).stream("Hi")) == "Hello."


@pytest.mark.parametrize("kind", ["binding", "configurable"])
def test_fallbacks_of_what_was_bound_first_are_passed_by_a_violation(kind, fake_chat):
    """protect(model.bind_tools(...), guard).with_fallbacks(...) raises a violation, as that of a copy that is bound."""
    guard = Guard(Guardrail(Flags(when="nasty", cheap=True), stage="input"))
    thing = protect(MAKE[kind](fake_chat()), guard)
    assert isinstance(thing, type(MAKE[kind](fake_chat())))
    assert protect(thing, guard).invoke("Hi").text == "Hello."
    with pytest.raises(GuardrailViolation):
        thing.with_fallbacks([RunnableLambda(lambda _: "fallback")]).invoke("nasty")
