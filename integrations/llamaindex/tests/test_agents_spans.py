"""attach(agent): one trace a run, whole trees, every span ended once."""

from __future__ import annotations

import asyncio
import importlib.util
from typing import Any

import pytest
from fakes_agents import KINDS, Play, made, run
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context, HumanResponseEvent, InputRequiredEvent
from opentelemetry import trace

from llmguard_llamaindex import attach, protect
from llmguard_middleware import Guardrail, GuardrailViolation, Monitor, scorer
from llmguard_middleware.scorers import pii

# LlamaIndex asks every attribute of a workflow whether it is a step.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step"),
]

WAYS = ["awaited", "streamed"]
# Whether a step that waits for a person is stopped and runs anew, as it does since workflows 2.9.
RUNS_ANEW = importlib.util.find_spec("workflows.runtime") is not None
TURNS: list[str | dict[str, Any]] = [{"text": "to c@example.com"}, "it is fine"]


@scorer
def length(output: str) -> dict[str, Any]:
    """How long it is."""
    return {"length": len(output)}


def _tree(kind: str, tool: str = "use") -> list[tuple[str, str | None]]:
    tool = "execute" if kind == "codeact" else tool
    agent = "invoke_agent helper"
    below: list[tuple[str, str | None]] = [
        ("chat playing", agent),
        (f"execute_tool {tool}", agent),
        ("chat playing", agent),
    ]
    if kind == "workflow":
        return [("invoke_workflow AgentWorkflow", None), (agent, "invoke_workflow AgentWorkflow"), *below]
    return [(agent, None), *below]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("streaming", [True, False])
async def test_whole_tree(telemetry: Any, kind: str, way: str, streaming: bool) -> None:
    """A run is one trace: the agent, each of its model calls, each of its tool calls, in this order."""
    agent = attach(made(kind, Play([*TURNS]), streaming=streaming), telemetry.guard())
    await run(agent, way, "hello")
    assert telemetry.tree == _tree(kind)
    assert len({span.context.trace_id for span in telemetry.spans}) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_attributes(telemetry: Any, way: str) -> None:
    """The spans say who was called, in which conversation, and what the guardrails found, and no text."""
    guard = telemetry.guard(Guardrail(pii(), stage="tool_call", action="redact"))
    agent = attach(made("function", Play([*TURNS])), guard)
    await run(agent, way, "hello", memory=ChatMemoryBuffer.from_defaults(chat_store_key="of bob", token_limit=3000))
    common = {"llmguard.guard.name": "default", "llmguard.guard.digest": guard.digest}
    of_agent, _, of_tool, _ = telemetry.spans
    assert dict(of_agent.attributes) == {
        **common,
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "helper",
        "gen_ai.conversation.id": "of bob",
    }
    assert dict(of_tool.attributes) == {
        **common,
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "use",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": "call-1",
        "llmguard.verdict": "redacted",
        "llmguard.flagged_by": ("pii",),
        "llmguard.redacted.kinds": ("EMAIL_ADDRESS",),
        "llmguard.redactions": 1,
    }


@pytest.mark.parametrize("way", WAYS)
async def test_handing_over(telemetry: Any, way: str) -> None:
    """In a workflow of agents each agent has a span with its calls; the tool that hands over is the first's."""
    play = Play([{"to_agent": "other", "reason": "x"}, "fine"], tool="handoff")
    await run(attach(made("workflow", play), telemetry.guard()), way, "hello")
    flow, one, two = "invoke_workflow AgentWorkflow", "invoke_agent helper", "invoke_agent other"
    assert telemetry.tree == [
        (flow, None),
        (one, flow),
        ("chat playing", one),
        ("execute_tool handoff", one),
        (two, flow),
        ("chat playing", two),
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
async def test_blocked_tree(telemetry: Any, kind: str, way: str) -> None:
    """A tool call that is blocked has a span, which says by what, and every span of the run is ended."""
    agent = attach(made(kind, Play([*TURNS])), telemetry.guard(Guardrail(pii(), stage="tool_call")))
    with pytest.raises(GuardrailViolation):
        await run(agent, way, "hello")
    assert telemetry.tree == _tree(kind)[:-1]
    told = [(span.attributes.get("llmguard.verdict"), span.attributes.get("error.type")) for span in telemetry.spans]
    assert told[-1] == ("blocked", "blocked")
    assert told[0] == (None, "blocked")


async def test_two_guards_share_spans(telemetry: Any) -> None:
    """Under two guards there is still one span for each call."""
    for kind in KINDS:
        agent = made(kind, Play([*TURNS]))
        attach(agent, telemetry.guard(Guardrail(pii(), stage="tool_call", action="redact"), name="one"))
        attach(agent, telemetry.guard(Guardrail(pii(), stage="tool_result", action="redact"), name="two"))
        before = len(telemetry.spans)
        await run(agent, "streamed", "hello")
        assert telemetry.tree[before:] == _tree(kind)


async def test_below_the_caller(telemetry: Any) -> None:
    """The run is a child of the span in which it was started, and that one is current again at once."""
    tracer = telemetry.tracer_provider.get_tracer("t")
    agent = attach(made("function", Play(["fine"])), telemetry.guard())
    with tracer.start_as_current_span("request") as span:
        handler = agent.run("hello")
        assert trace.get_current_span() is span
    await handler
    assert telemetry.tree == [
        ("request", None),
        ("invoke_agent helper", "request"),
        ("chat playing", "invoke_agent helper"),
    ]


async def test_calls_inside_tools(telemetry: Any) -> None:
    """What a tool does is below its span: a model that it asks, an agent that it runs."""
    guard = telemetry.guard()
    inner = attach(made("function", Play(["inner"])), guard)
    llm = protect(made("function", Play(["alone"])).llm, guard)

    async def use(text: str) -> str:
        """Ask others."""
        await llm.achat([])
        return str(await inner.run("inside"))

    agent = made("function", Play([*TURNS]))
    agent.tools = [FunctionTool.from_defaults(async_fn=use)]
    await run(attach(agent, guard), "streamed", "hello")
    tool = "execute_tool use"
    assert telemetry.tree[2:5] == [(tool, "invoke_agent helper"), ("chat playing", tool), ("invoke_agent helper", tool)]


async def test_cancelled(telemetry: Any) -> None:
    """A run that is cancelled, gracefully, hard, or with its caller, ends every span once."""
    began = asyncio.Event()

    async def use(text: str) -> str:
        """Take long."""
        began.set()
        await asyncio.Event().wait()
        return ""

    async def waits(agent: Any) -> None:
        await agent.run("hello")

    async def gracefully(agent: Any) -> None:
        handler = agent.run("hello")
        await began.wait()
        await handler.cancel_run()
        await handler

    for how in (gracefully, waits):
        began.clear()
        agent = made("function", Play([*TURNS]))
        agent.tools = [FunctionTool.from_defaults(async_fn=use)]
        attach(agent, telemetry.guard())
        before = len(telemetry.spans)
        asking = asyncio.ensure_future(how(agent))
        await began.wait()
        if how is waits:
            asking.cancel()
        done, _ = await asyncio.wait([asking])
        assert all(one.cancelled() or one.exception() for one in done)
        ended = telemetry.tree[before:]
        assert ended == _tree("function")[:3]
        assert "Cancel" in str(telemetry.spans[before].attributes["error.type"])


async def test_left_stream(telemetry: Any) -> None:
    """A stream that is left after its first event does not keep the run from going on, and ending its spans."""
    agent = attach(made("function", Play([*TURNS])), telemetry.guard())
    handler = agent.run("hello")
    events = handler.stream_events()
    await anext(events)
    await events.aclose()
    await handler
    assert telemetry.tree == _tree("function")


async def test_monitors_score_the_run(telemetry: Any) -> None:
    """A monitor scores the run, once, with the agent's answer."""
    for kind in KINDS:
        seen: list[str] = []

        @scorer
        def watch(output: str, question: str, seen: list[str] = seen) -> dict[str, Any]:
            """Take note."""
            seen.append(f"{question}: {output}")
            return {"flagged": False}

        guard = telemetry.guard(Monitor(watch))
        await run(attach(made(kind, Play([*TURNS])), guard), "streamed", "hello")
        guard.flush(5)
        assert seen == ["hello: it is fine"]


async def test_waits_for_a_person(telemetry: Any) -> None:
    """A tool that asks a person pauses the run and is no failure; run anew, it has a second span."""

    async def use(ctx: Context, text: str) -> str:
        """Ask."""
        answer = await ctx.wait_for_event(HumanResponseEvent, waiter_event=InputRequiredEvent(prefix="sure?"))  # type: ignore[call-arg]  # events take what they are given
        return f"{answer.response} r@example.com"

    use.__annotations__["ctx"] = Context  # LlamaIndex does not look for what a text in its place names
    agent = made("function", Play([*TURNS]))
    agent.tools = [FunctionTool.from_defaults(async_fn=use)]
    attach(agent, telemetry.guard(Guardrail(pii(), stage="tool_result", action="redact")))
    handler = agent.run("hello")
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            handler.ctx.send_event(HumanResponseEvent(response="yes"))  # type: ignore[call-arg]  # as above
    result = await handler
    assert result.tool_calls[0].tool_output.content == "yes <EMAIL_ADDRESS>"
    agent_span = "invoke_agent helper"
    assert telemetry.tree == [
        (agent_span, None),
        ("chat playing", agent_span),
        *[("execute_tool use", agent_span)] * (1 + RUNS_ANEW),
        ("chat playing", agent_span),
    ]
    interrupted = [span.attributes.get("llmguard.interrupted") for span in telemetry.spans[2:-1]]
    assert interrupted == [*[True] * RUNS_ANEW, None]
