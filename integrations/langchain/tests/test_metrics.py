"""Metrics of LangChain's calls: whole points, the same whichever way a guard is around the model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever

from llmguard_langchain import GuardCallback, GuardMiddleware, protect
from llmguard_middleware import Guard, Guardrail, GuardrailViolation
from llmguard_middleware.telemetry import TelemetryOptions
from llmguard_middleware.testing import CapturedTelemetry, Flags

TTFC = "gen_ai.response.time_to_first_chunk"
OLD = "gen_ai.client.operation."
ASKED = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "fake", "gen_ai.request.model": "fake-1"}
SERIES = {**ASKED, "gen_ai.response.model": "fake-1-20260101"}
MODES = ["invoke", "ainvoke", "stream", "astream"]


def guard_of(captured: CapturedTelemetry, *rules: Guardrail, name: str = "g") -> Guard:
    """A guard with the metrics that dashboards read."""
    return Guard(*rules, **captured.providers, name=name, telemetry=TelemetryOptions(metrics="old"))


def points(captured: CapturedTelemetry, of: str = "gen_ai.") -> list[tuple[str, dict[str, Any], float]]:
    """Metric, attributes and value, in the order of their names; of a histogram of seconds, its count."""
    found = [one for one in captured.points if one.metric.startswith(of)]
    told = [(one.metric, dict(one.attributes), one.count or 0 if one.unit == "s" else one.value) for one in found]
    return sorted(told, key=lambda one: (one[0], str(one[1])))


def called(model: Any, mode: str, **config: Any) -> None:
    """Ask once, and read all of the answer."""

    async def all_of_it() -> None:
        async for _ in model.astream("Hi", config):
            pass

    if mode == "stream":
        list(model.stream("Hi", config))
    elif mode == "astream":
        asyncio.run(all_of_it())
    elif mode == "ainvoke":
        asyncio.run(model.ainvoke("Hi", config))
    else:
        model.invoke("Hi", config)


def by_callback(model: Any, guard: Guard) -> tuple[Any, dict[str, Any]]:
    """A callback alone."""
    return model, {"callbacks": [GuardCallback(guard)]}


def by_protect(model: Any, guard: Guard) -> tuple[Any, dict[str, Any]]:
    """A guarded copy alone."""
    return protect(model, guard), {}


def by_both(model: Any, guard: Guard) -> tuple[Any, dict[str, Any]]:
    """A guarded copy under a callback of the same guard."""
    return protect(model, guard), {"callbacks": [GuardCallback(guard)]}


def by_two(model: Any, guard: Guard) -> tuple[Any, dict[str, Any]]:
    """A guarded copy under a callback of another guard."""
    return protect(model, guard), {"callbacks": [GuardCallback(Guard(**_providers(guard), name="other"))]}


def by_two_copies(model: Any, guard: Guard) -> tuple[Any, dict[str, Any]]:
    """Two guards around one model."""
    return protect(protect(model, guard), Guard(**_providers(guard), name="other")), {}


def _providers(guard: Guard) -> dict[str, Any]:
    return guard.test_options  # type: ignore[attr-defined]  # put there below


WAYS = [by_callback, by_protect, by_both, by_two, by_two_copies]
Way = Callable[[Any, Guard], tuple[Any, dict[str, Any]]]


@pytest.mark.parametrize("rules", [(), (Guardrail(Flags(when="bomb"), stage="input"),)], ids=["idle", "judging"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", WAYS)
def test_a_call_is_counted_once(
    captured: CapturedTelemetry, provider: Any, way: Way, mode: str, rules: tuple[Guardrail, ...]
) -> None:
    """Whichever way, mode and kind of provider: one duration, its tokens, and the times of a stream's chunks."""
    guard = guard_of(captured, *rules)
    guard.test_options = {**captured.providers, "telemetry": guard.emitter.options}  # type: ignore[attr-defined]  # for `_options`
    model, config = way(provider(answer="one two three", size=4), guard)
    called(model, mode, **config)
    expected = [
        (f"{OLD}duration", SERIES, 1),
        ("gen_ai.client.token.usage", {**SERIES, "gen_ai.token.type": "input"}, 3),
        ("gen_ai.client.token.usage", {**SERIES, "gen_ai.token.type": "output"}, 4),
    ]
    streamed = mode in ("stream", "astream") and hasattr(provider, "_stream") and provider.__name__ != "FakeChat"
    if streamed:  # four pieces, and one that tells the usage
        expected[1:1] = [(f"{OLD}time_per_output_chunk", SERIES, 4), (f"{OLD}time_to_first_chunk", SERIES, 1)]
    assert points(captured) == expected
    (span,) = [span for span in captured.spans if span.name.startswith("chat")]
    assert (TTFC in span.attributes) is streamed
    if streamed:
        assert 0 <= span.attributes[TTFC] < 60


@pytest.mark.parametrize("mode", ["stream", "astream"])
def test_a_stream_that_is_held_back_tells_when_its_chunks_arrived(
    captured: CapturedTelemetry, fake_chat: Any, mode: str
) -> None:
    """All chunks of the provider count, though what leaves is the whole answer at once."""
    guard = guard_of(captured, Guardrail(Flags(when="bomb"), stage="output"))
    called(protect(fake_chat(answer="one two three", size=4), guard), mode)
    assert points(captured, f"{OLD}time") == [
        (f"{OLD}time_per_output_chunk", SERIES, 4),
        (f"{OLD}time_to_first_chunk", SERIES, 1),
    ]


@pytest.mark.parametrize("way", [by_callback, by_protect, by_both])
def test_long_streams_tell_some_of_their_gaps(captured: CapturedTelemetry, fake_chat: Any, way: Way) -> None:
    """A stream of hundreds of chunks costs no more than one of a dozen."""
    model, config = way(fake_chat(answer="x" * 400, size=1), guard_of(captured))
    called(model, "stream", **config)
    assert (f"{OLD}time_per_output_chunk", SERIES, 10) in points(captured)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", [by_callback, by_protect, by_both])
def test_a_failure_is_counted_with_its_type(captured: CapturedTelemetry, provider: Any, way: Way, mode: str) -> None:
    """A provider's error, also in the middle of a stream."""
    model, config = way(provider(error=ConnectionError("secret")), guard_of(captured))
    with pytest.raises(ConnectionError):
        called(model, mode, **config)
    told = [one for one in points(captured) if "time_" not in one[0]]
    assert told == [(f"{OLD}duration", {**ASKED, "error.type": "ConnectionError"}, 1)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", [by_callback, by_protect, by_both])
def test_a_block_is_counted_with_its_code(captured: CapturedTelemetry, provider: Any, way: Way, mode: str) -> None:
    """A call that was stopped before its model was asked."""
    model, config = way(provider(), guard_of(captured, Guardrail(Flags(), stage="input")))
    with pytest.raises(GuardrailViolation) as raised:
        called(model, mode, **config)
    assert points(captured) == [(f"{OLD}duration", {**ASKED, "error.type": raised.value.code}, 1)]


@pytest.mark.parametrize("way", [by_callback, by_protect])
def test_a_stream_that_is_left_is_counted(captured: CapturedTelemetry, fake_chat: Any, way: Way) -> None:
    """Without an error, with the time to its first chunk."""
    model, config = way(fake_chat(answer="one two three", size=4), guard_of(captured))
    stream = model.stream("Hi", config)
    next(stream)
    stream.close()
    assert {metric for metric, _, _ in points(captured)} == {f"{OLD}duration", f"{OLD}time_to_first_chunk"}
    assert all("error.type" not in attributes or way is by_callback for _, attributes, _ in points(captured))


class _Shelf(BaseRetriever):
    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return [Document("a document")]


def test_a_chain_tells_each_of_its_parts(captured: CapturedTelemetry, fake_chat: Any) -> None:
    """A workflow, a retrieval and a model, each under its own metric."""
    prompt = ChatPromptTemplate.from_messages([("user", "{context}")])
    chain = {"context": _Shelf()} | prompt | fake_chat()
    chain.invoke("Hi", {"callbacks": [GuardCallback(guard_of(captured))]})
    durations = [one for one in points(captured) if one[0].endswith("duration")]
    assert durations == [
        (f"{OLD}duration", SERIES, 1),
        (f"{OLD}duration", {"gen_ai.operation.name": "retrieval"}, 1),
        ("gen_ai.invoke_workflow.duration", {"gen_ai.workflow.name": "RunnableSequence"}, 1),
    ]


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
@pytest.mark.parametrize("ways", ["callback", "middleware", "both"])
def test_an_agent_counts_its_calls(
    captured: CapturedTelemetry, make_agent: Any, tool_calls: Any, installed: Any, mode: str, ways: str
) -> None:
    """Two models and two tools, and how long the agent took; by a callback, in the middleware, or both.

    Callbacks of the oldest versions are not told that a graph is an agent: to them it is a workflow.
    """
    guard = guard_of(captured)
    middleware = {} if ways == "callback" else {"middleware": [GuardMiddleware(guard)]}
    config = {} if ways == "middleware" else {"callbacks": [GuardCallback(guard)]}
    agent = make_agent(tool_calls({"who": "Amy"}, {"who": "Bob"}), "done", name="helper", **middleware)
    agent.ask("who?", mode, **config)
    told = {(metric, value) for metric, _, value in points(captured, "gen_ai.invoke_")}
    if ways == "callback" and not installed.agent_names:
        assert told == {("gen_ai.invoke_workflow.duration", 1)}
    else:
        assert told == {
            ("gen_ai.invoke_agent.duration", 1),
            ("gen_ai.invoke_agent.inference_calls", 2),
            ("gen_ai.invoke_agent.tool_calls", 2),
        }
    tools = points(captured, "gen_ai.execute_tool")
    assert [(attributes["gen_ai.tool.name"], count) for _, attributes, count in tools] == [("lookup", 2)]
