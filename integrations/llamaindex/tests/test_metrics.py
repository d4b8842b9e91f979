"""Metrics of LlamaIndex's calls: whole points, the same whichever way a guard is around the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fakes_agents import KINDS, Play, made, run
from llama_index.core import MockEmbedding

from llmguard_llamaindex import attach, instrument, protect, uninstrument
from llmguard_middleware import Guard, Guardrail, GuardrailViolation, Monitor
from llmguard_middleware.telemetry import TelemetryOptions
from llmguard_middleware.testing import CapturedTelemetry, Flags, Returns, captured_telemetry

OLD = "gen_ai.client.operation."
ASKED = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "scripted"}
TTFC = "gen_ai.response.time_to_first_chunk"


@pytest.fixture
def captured() -> Iterator[CapturedTelemetry]:
    """Spans and metrics in memory."""
    with captured_telemetry() as telemetry:
        yield telemetry
    uninstrument()


def guard_of(captured: CapturedTelemetry, *rules: Any, name: str = "g") -> Guard:
    """A guard with the metrics that dashboards read."""
    return Guard(*rules, **captured.providers, name=name, telemetry=TelemetryOptions(metrics="old"))


def points(captured: CapturedTelemetry, of: str = "gen_ai.") -> list[tuple[str, dict[str, Any], float]]:
    """Metric, attributes and value, in the order of their names; of a histogram of seconds, its count."""
    found = [one for one in captured.points if one.metric.startswith(of)]
    told = [(one.metric, dict(one.attributes), one.count or 0 if one.unit == "s" else one.value) for one in found]
    return sorted(told, key=lambda one: (one[0], str(one[1])))


@pytest.mark.parametrize("way", ["protect", "two guards", "instrument", "instrument, judged"])
async def test_a_call_is_counted_once(
    captured: CapturedTelemetry, llm: Any, mode: str, script: Any, ask: Any, way: str
) -> None:
    """In every mode of any LLM: one duration, its tokens, the time to the first chunk and between chunks."""
    script.answer, script.size = "one two three", 4
    guard = guard_of(captured, *([Monitor(Returns(0.5))] if way.endswith("judged") else []))
    if way.startswith("instrument"):
        instrument(guard)
        asked = llm
    else:
        asked = protect(llm, guard)
        if way == "two guards":
            asked = protect(asked, guard_of(captured, name="other"))
    await ask(asked, mode, "Hello there")
    series = {**ASKED, "gen_ai.provider.name": type(llm).__name__.lower(), "gen_ai.response.model": "scripted-2"}
    expected = [
        (f"{OLD}duration", series, 1),
        ("gen_ai.client.token.usage", {**series, "gen_ai.token.type": "input"}, _asked(script)),
        ("gen_ai.client.token.usage", {**series, "gen_ai.token.type": "output"}, 3),
    ]
    streamed = "stream" in mode
    if streamed:
        expected[1:1] = [(f"{OLD}time_per_output_chunk", series, 3), (f"{OLD}time_to_first_chunk", series, 1)]
    assert points(captured) == expected
    (span,) = [span for span in captured.spans if span.name.startswith("chat")]
    assert (TTFC in span.attributes) is streamed
    guard.flush()


def _asked(script: Any) -> int:
    return len(script.asked[-1].split())


@pytest.mark.parametrize("mode", ["stream_chat", "astream_chat"])
async def test_a_stream_that_is_held_back_tells_when_its_chunks_arrived(
    captured: CapturedTelemetry, chatting: Any, script: Any, ask: Any, mode: str
) -> None:
    """All chunks of the provider count, though what leaves is the whole answer at once."""
    script.answer, script.size = "one two three", 4
    await ask(protect(chatting, guard_of(captured, Guardrail(Flags(when="bomb"), stage="output"))), mode, "Hello")
    assert {(metric, count) for metric, _, count in points(captured, f"{OLD}time")} == {
        (f"{OLD}time_per_output_chunk", 3),
        (f"{OLD}time_to_first_chunk", 1),
    }


@pytest.mark.parametrize("way", ["protect", "instrument"])
async def test_a_failure_is_counted_with_its_type(
    captured: CapturedTelemetry, llm: Any, mode: str, script: Any, ask: Any, way: str
) -> None:
    """A provider's error, also in the middle of a stream."""
    script.error = ConnectionError("secret")
    guard = guard_of(captured)
    if way == "instrument":
        instrument(guard)
    with pytest.raises(ConnectionError):
        await ask(llm if way == "instrument" else protect(llm, guard), mode, "Hello")
    (told,) = [one for one in points(captured) if one[0].endswith("duration")]
    provider = {"gen_ai.provider.name": type(llm).__name__.lower()}
    assert told == (f"{OLD}duration", {**ASKED, **provider, "error.type": "ConnectionError"}, 1)


async def test_a_block_is_counted_with_its_code(captured: CapturedTelemetry, llm: Any, mode: str, ask: Any) -> None:
    """A call that was stopped before its model was asked."""
    with pytest.raises(GuardrailViolation) as raised:
        await ask(protect(llm, guard_of(captured, Guardrail(Flags(), stage="input"))), mode, "Hello")
    (told,) = points(captured)
    assert (told[0], told[1]["error.type"], told[2]) == (f"{OLD}duration", raised.value.code, 1)


@pytest.mark.parametrize("way", ["attach", "instrument"])
@pytest.mark.parametrize("streaming", [False, True])
def test_an_engine_tells_each_of_its_parts(
    captured: CapturedTelemetry, chatting: Any, engine: Any, way: str, streaming: bool
) -> None:
    """A workflow, a retrieval and a model, each under its own metric."""
    guard = guard_of(captured)
    made = engine(chatting, streaming=streaming)
    if way == "instrument":
        instrument(guard)
    else:
        made = attach(made, guard)
    response = made.query("Hello")
    if streaming:
        list(response.response_gen)
    del response
    durations = [(m, a.get("gen_ai.operation.name"), n) for m, a, n in points(captured) if m.endswith("duration")]
    assert durations == [
        (f"{OLD}duration", "chat", 1),
        (f"{OLD}duration", "retrieval", 1),
        ("gen_ai.invoke_workflow.duration", None, 1),
    ]


def test_embeddings_are_told(captured: CapturedTelemetry) -> None:
    """Their duration; LlamaIndex tells no tokens of them."""
    instrument(guard_of(captured))
    MockEmbedding(embed_dim=3).get_text_embedding("Hello")
    ((metric, attributes, count),) = points(captured)
    assert (metric, attributes["gen_ai.operation.name"], count) == (f"{OLD}duration", "embeddings", 1)


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
@pytest.mark.filterwarnings("ignore:is_running called from within a step")
@pytest.mark.parametrize("way", ["attach", "instrument"])
@pytest.mark.parametrize("kind", KINDS)
async def test_an_agent_tells_how_much_it_called(captured: CapturedTelemetry, kind: str, way: str) -> None:
    """One invocation: its duration, two calls of its model, one of its tool, which names its agent.

    Where a process is only instrumented, each turn in a workflow of several is one, and tools are called between.
    """
    agent, guard = made(kind, Play([{"text": "x"}, "it is fine"])), guard_of(captured)
    if way == "instrument":
        instrument(guard)
    else:
        agent = attach(agent, guard)
    await run(agent, "awaited", "hello")
    turns = kind == "workflow" and way == "instrument"
    helper, by = {"gen_ai.agent.name": "helper"}, {} if turns else {"gen_ai.agent.name": "helper"}
    tool = {"gen_ai.tool.name": "execute" if kind == "codeact" else "use", "gen_ai.tool.type": "function"}
    expected = [
        ("gen_ai.execute_tool.duration", {**by, **tool}, 1),
        ("gen_ai.invoke_agent.duration", helper, 2 if turns else 1),
        ("gen_ai.invoke_agent.inference_calls", helper, 2),
        ("gen_ai.invoke_agent.tool_calls", helper, 0 if turns else 1),
    ]
    if kind == "workflow":
        expected.append(("gen_ai.invoke_workflow.duration", {"gen_ai.workflow.name": "AgentWorkflow"}, 1))
    assert [one for one in points(captured) if not one[0].startswith(OLD)] == expected
