"""attach(agent): what goes to models and tools, what comes back, what the reader of events sees."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

import pytest
from fakes_agents import KINDS, Play, Playing, made, run, shown
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core.agent.workflow import FunctionAgent, ToolCallResult
from llama_index.core.agent.workflow.workflow_events import AgentInput, AgentOutput, AgentStream, ToolCall
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.settings import Settings
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context
from pydantic import BaseModel

from llmguard_llamaindex import attach, detach, protect
from llmguard_middleware import (
    ConfigurationError,
    Guard,
    Guardrail,
    GuardrailViolation,
    Replace,
    UnenforceableError,
    scorer,
)
from llmguard_middleware.scorers import pii

# LlamaIndex asks every attribute of a workflow whether it is a step.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step"),
    pytest.mark.filterwarnings("ignore:Skipping serialization of known unserializable key"),
]

WAYS = ["awaited", "streamed"]
TURNS: list[str | dict[str, Any]] = [{"text": "to c@example.com"}, "it is o@example.com"]
MAILS = {
    "input": "u@example.com",
    "output": "o@example.com",
    "tool_call": "c@example.com",
    "tool_result": "r@example.com",
}
ASKED = "I am u@example.com"


@scorer
async def slow_mail(text: str) -> dict[str, Any]:
    """Finds addresses, on the loop, and not in a window."""
    await asyncio.sleep(0)
    return {"flagged": "@" in text}


@scorer
def mail(text: str) -> dict[str, Any]:
    """Finds addresses, in a thread, and not in a window."""
    return {"flagged": "@" in text}


def _play(**options: Any) -> Play:
    return Play([*TURNS], gives="from r@example.com", **options)


async def _read(handler: Any, events: list[Any]) -> None:
    async for event in handler.stream_events():
        events.append(event)  # noqa: PERF401 - they are kept when it fails


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """A kind of agent."""
    return str(request.param)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """A way to run one."""
    return str(request.param)


@pytest.mark.parametrize("stage", MAILS)
@pytest.mark.parametrize("streaming", [True, False])
async def test_redacted_everywhere(kind: str, way: str, stage: Any, streaming: bool) -> None:
    """What a stage redacts is in no event, no result, no context, and reaches neither model nor tool."""
    play = _play()
    agent = attach(made(kind, play, streaming=streaming), Guard(Guardrail(pii(), stage=stage, action="redact")))
    handler = agent.run(ASKED)
    events = [event async for event in handler.stream_events()] if way == "streamed" else []
    result = await handler
    mail = MAILS[stage]
    assert "<EMAIL_ADDRESS>" in play.heard + repr(play.used) + str(result)
    for where in (shown(events), repr(result), repr(result.raw), repr(handler.ctx.to_dict())):
        assert mail not in where
    memory = await handler.ctx.store.get("memory")
    assert mail not in repr(await memory.aget_all())
    assert mail not in repr(await handler.ctx.store.get_state())
    if stage != "output":
        assert mail not in play.heard
    if stage == "tool_call":
        assert len(play.used) == 1
        assert mail not in play.used[0]


@pytest.mark.parametrize("stage", MAILS)
@pytest.mark.parametrize("find", [pii, mail, slow_mail], ids=["local", "thread", "loop"])
async def test_blocked_everywhere(kind: str, way: str, stage: Any, find: Any) -> None:
    """What a stage blocks stops the run: who awaits it and who reads it gets the violation, and sees nothing of it."""
    play = _play()
    agent = attach(made(kind, play), Guard(Guardrail(find() if find is pii else find, stage=stage)))
    handler = agent.run(ASKED)
    events: list[Any] = []
    if way == "streamed":
        with pytest.raises(GuardrailViolation):
            await _read(handler, events)
    with pytest.raises(GuardrailViolation) as caught:
        await handler
    assert caught.value.verdict.stage == stage
    assert MAILS[stage] not in shown(events)
    # The arguments of a tool call are a part of what the model answers.
    assert len(play.asked) == (0 if stage == "input" else 1)
    assert len(play.used) == (1 if stage == "tool_result" else 0)
    memory = await handler.ctx.store.get("memory", default=None)
    assert memory is None or await memory.aget_all() == []


@pytest.mark.parametrize("stage", MAILS)
async def test_replaced_everywhere(kind: str, way: str, stage: Any) -> None:
    """What a stage replaces is nowhere seen, and the run goes on with the replacement."""
    play = _play()
    rule = Guardrail(mail, stage=stage, action=Replace("nothing"))
    agent = attach(made(kind, play), Guard(rule))
    result, events = await run(agent, way, ASKED)
    assert MAILS[stage] not in shown(events) + repr(result)
    assert "nothing" in play.heard + repr(play.used) + str(result)


@settings(max_examples=25, deadline=None)
@given(size=st.integers(1, 40), before=st.text("ab @.", max_size=12), kind=st.sampled_from(KINDS))
def test_streamed_as_whole(size: int, before: str, kind: str) -> None:
    """However an answer is cut, no piece of what was redacted is in an event, and the deltas make the whole answer."""

    async def trial() -> None:
        play = Play([f"{before} o@example.com, yes"], size=size)
        agent = attach(made(kind, play), Guard(Guardrail(pii(), stage="output", action="redact")))
        result, events = await run(agent, "streamed", "hello")
        streamed = [event for event in events if isinstance(event, AgentStream)]
        assert "example.com" not in shown(events)
        assert "".join(event.delta for event in streamed).endswith(str(result))
        assert streamed[-1].response.endswith(str(result))

    asyncio.run(trial())


async def test_tool_calls_in_streams(kind: str) -> None:
    """The last streamed event of a turn still shows the tool calls, with the arguments that were let pass."""
    if kind in ("react", "codeact"):
        return  # their events never show any
    agent = attach(made(kind, _play()), Guard(Guardrail(pii(), stage="tool_call", action="redact")))
    _, events = await run(agent, "streamed", "hello")
    calls = [event.tool_calls for event in events if isinstance(event, AgentStream) and event.tool_calls]
    assert [[call.tool_kwargs for call in some] for some in calls] == [[{"text": "to <EMAIL_ADDRESS>"}]]


async def test_untouched_without_rules(kind: str, way: str) -> None:
    """Under a guard that acts on nothing, events and results are what they are without it."""
    bare, guarded = _play(), _play()
    before = await run(made(kind, bare), way, ASKED)
    after = await run(attach(made(kind, guarded), Guard()), way, ASKED)
    assert str(before[0]) == str(after[0])
    names = [[type(event).__name__ for event in events] for _, events in (before, after)]
    assert names[0] == names[1]
    assert guarded.used == bare.used


async def test_order_of_events(kind: str) -> None:
    """Judged on a loop, in threads and in windows, events still come in LlamaIndex's order."""
    rules = [Guardrail(slow_mail, stage="input", action=Replace("x"), name="slow")]
    rules += [Guardrail(pii(), stage=stage, action="redact", name=stage) for stage in ("tool_call", "tool_result")]
    _, events = await run(attach(made(kind, _play()), Guard(*rules)), "streamed", ASKED)
    order = [type(event) for event in events]
    first = order.index(AgentInput)
    assert first < order.index(AgentStream) < order.index(AgentOutput) < order.index(ToolCall)
    assert order.index(ToolCall) < order.index(ToolCallResult) < len(order) - 1 - order[::-1].index(AgentInput)


# What is raised, and where


async def test_swallowed_violation_sticks() -> None:
    """LlamaIndex tells the model what a tool raises; a violation inside a tool stops the run instead."""
    guard = Guard(Guardrail(pii(), stage="input"))
    inner = protect(Playing(play=Play(["never"])), guard)

    async def ask(text: str) -> str:
        """Ask somebody."""
        answer = await inner.achat([ChatMessage(role="user", content="from x@example.com")])
        return str(answer.message.content)

    play = Play([{"text": "hello"}, "fine"], tool="ask")
    agent = FunctionAgent(tools=[FunctionTool.from_defaults(async_fn=ask)], llm=Playing(play=play))
    for other in (guard, Guard(Guardrail(pii(), stage="output", action="redact"))):
        play.asked.clear()
        handler = attach(agent, other).run("hello")
        with pytest.raises(GuardrailViolation):
            await handler
        assert len(play.asked) == 1
        detach(agent)


async def test_error_text_of_tools() -> None:
    """What a tool's exception says goes to the model as a result, and is judged as one."""

    def use(text: str) -> str:
        """Fail."""
        message = "no r@example.com here"
        raise ValueError(message)

    play = Play([{"text": "x"}, "fine"])
    agent = FunctionAgent(tools=[use], llm=Playing(play=play))
    attach(agent, Guard(Guardrail(pii(), stage="tool_result", action="redact")))
    result, events = await run(agent, "streamed", "hello")
    assert "<EMAIL_ADDRESS>" in play.heard
    assert MAILS["tool_result"] not in shown(events) + repr(result) + play.heard
    (output,) = [event.tool_output for event in events if isinstance(event, ToolCallResult)]
    assert output.is_error
    assert getattr(output, "exception", None) is None


async def test_failing_model_fails(kind: str, way: str) -> None:
    """What a model raises reaches the caller as it is without a guard."""
    play = _play(error=RuntimeError("no connection"))
    with pytest.raises(RuntimeError, match="no connection"):
        await run(attach(made(kind, play), Guard(Guardrail(pii(), stage="input"))), way, "hello")


async def test_nothing_is_logged_or_left(caplog: pytest.LogCaptureFixture, kind: str) -> None:
    """A run that is blocked and that nobody awaits leaves no log line and no exception that was never retrieved."""
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    agent = attach(made(kind, _play()), Guard(Guardrail(pii(), stage="tool_result")))
    handler = agent.run(ASKED)
    await asyncio.wait([getattr(handler, "_result_task", handler)])
    del handler
    await asyncio.sleep(0)
    assert not complaints
    assert "example.com" not in caplog.text


async def test_refusal(kind: str, way: str) -> None:
    """In refusal mode a run that would be stopped is answered with that text, and leaves nothing in the memory."""
    for stage, secret in MAILS.items():
        guard = Guard(Guardrail(mail, stage=stage), refusal="Sorry.")  # type: ignore[arg-type]  # a loop's str
        agent = attach(made(kind, _play()), guard)
        context = Context(agent)
        result, events = await run(agent, way, ASKED, ctx=context)
        assert str(result) == "Sorry."
        assert secret not in shown(events) + repr(result)


async def test_nothing_persisted_of_a_blocked_run(kind: str) -> None:
    """The context of a run that was blocked holds nothing of what was blocked, and can be gone on with."""
    for stage, mail in MAILS.items():
        play = _play()
        agent = attach(made(kind, play), Guard(Guardrail(pii(), stage=stage)))  # type: ignore[arg-type]  # a loop's str
        context = Context(agent)
        handler = agent.run(ASKED if stage == "input" else "hello", ctx=context)
        with pytest.raises(GuardrailViolation):
            await handler
        assert mail not in repr(handler.ctx.to_dict())
        play.asked.clear()
        play.turns = ["Thought: I know.\nAnswer: fine"]
        again = await agent.run("good day", ctx=context)
        assert str(again).endswith("fine")
        assert [message.role.value for message in play.asked[0] if message.role.value != "system"] == ["user"]


async def test_two_guards(kind: str, way: str) -> None:
    """Two guards on one agent both apply."""
    agent = made(kind, _play())
    attach(agent, Guard(Guardrail(pii(), stage="tool_call", action="redact"), name="one"))
    attach(agent, Guard(Guardrail(pii(), stage="tool_result", action="redact"), name="two"))
    result, events = await run(agent, way, ASKED)
    for gone in ("tool_call", "tool_result"):
        assert MAILS[gone] not in shown(events) + repr(result)
    blocked = attach(agent, Guard(Guardrail(pii(), stage="input"), name="three"))
    with pytest.raises(GuardrailViolation):
        await run(blocked, way, ASKED)


# What the answer may be


async def test_direct_answers() -> None:
    """The result of a tool that answers directly is judged as a result and as an answer."""
    for stage in ("tool_result", "output"):
        play = _play()

        def use(text: str) -> str:
            """Use it."""
            return "from r@example.com"

        agent = FunctionAgent(tools=[FunctionTool.from_defaults(use, return_direct=True)], llm=Playing(play=play))
        attach(agent, Guard(Guardrail(pii(), stage=stage, action="redact")))
        handler = agent.run("hello")
        events = [event async for event in handler.stream_events()]
        result = await handler
        assert str(result) == "from <EMAIL_ADDRESS>"
        assert MAILS["tool_result"] not in repr(result.raw)
        if stage == "tool_result":
            assert MAILS["tool_result"] not in shown(events)


class Person(BaseModel):
    """Somebody."""

    mail: str


async def test_structured_answers(way: str) -> None:
    """What the program makes of an answer is judged before it is shown."""
    for streaming in (True, False):
        agent = FunctionAgent(
            llm=Playing(play=Play(["fine"])),
            streaming=streaming,
            structured_output_fn=lambda _: {"mail": "o@example.com"},  # type: ignore[arg-type, return-value]  # a dict, as its field says
        )
        attach(agent, Guard(Guardrail(pii(), stage="output", action="redact")))
        result, events = await run(agent, way, "hello")
        assert result.structured_response == {"mail": "<EMAIL_ADDRESS>"}
        assert "example.com" not in shown(events)


async def test_structured_answers_of_models(way: str, recwarn: pytest.WarningsRecorder) -> None:
    """A violation in the call that makes the answer structured is not turned into a warning."""
    play = Play(["fine", json.dumps({"mail": "o@example.com"})])
    agent = FunctionAgent(llm=Playing(play=play), output_cls=Person)
    attach(agent, Guard(Guardrail(pii(), stage="output")))
    with pytest.raises(GuardrailViolation):
        await run(agent, way, "hello")


# Several agents


@pytest.mark.parametrize("stage", ["input", "output", "tool_call", "tool_result"])
async def test_handing_over(way: str, stage: Any) -> None:
    """What one agent gives another as its reason is a tool call; both agents are guarded."""
    play = Play([{"to_agent": "other", "reason": "c@example.com asks"}, "it is o@example.com"], tool="handoff")
    workflow = made("workflow", play)
    attach(workflow, Guard(Guardrail(pii(), stage=stage, action="redact")))
    result, events = await run(workflow, way, ASKED)
    assert result.current_agent_name == "other"
    assert MAILS[stage] not in shown(events) + repr(result)
    if stage == "tool_call":
        assert MAILS[stage] not in play.heard


async def test_agents_that_come_later() -> None:
    """An agent that is put into a workflow after attach is not run without its guard."""
    play = _play()
    workflow = attach(made("workflow", play), Guard(Guardrail(pii(), stage="input")))
    workflow.agents["late"] = made("function", play)
    with pytest.raises(ConfigurationError, match='"late" came to the workflow after its guard'):
        workflow.run(ASKED)
    assert play.asked == []


def test_agents_with_their_own_guard() -> None:
    """An agent that is attached by itself cannot be run by a workflow under another guard only."""
    workflow = made("workflow", _play())
    attach(workflow.agents["helper"], Guard(Guardrail(pii(), stage="input")))
    with pytest.raises(ConfigurationError, match='"helper" has a guard of its own'):
        attach(workflow, Guard())


async def test_attached_agent_in_an_unattached_workflow() -> None:
    """A workflow without a guard cannot run an attached agent past it."""
    workflow = made("workflow", _play())
    attach(workflow.agents["helper"], Guard(Guardrail(pii(), stage="input")))
    with pytest.raises(ConfigurationError, match="outside of its run"):
        await workflow.run("hello")


# What it leaves alone


async def test_shared_parts(kind: str) -> None:
    """Model, tools and agents that others share stay as they are; detach() puts everything back."""
    agent = made(kind, _play())
    before = dict(vars(agent))
    kinds = type(agent)
    inner = getattr(agent, "agents", {})
    members = {name: (one, dict(vars(one))) for name, one in inner.items()}
    attach(agent, Guard(Guardrail(pii(), stage="input")))
    assert isinstance(agent, kinds)
    assert type(agent) is not kinds
    assert detach(agent) is agent
    assert type(agent) is kinds
    assert vars(agent) == before
    for name, (one, state) in members.items():
        assert agent.agents[name] is one
        assert vars(one) == state
    assert str(await agent.run(ASKED)).endswith("it is o@example.com")


async def test_copies(kind: str) -> None:
    """A copy of an attached agent is guarded, and its original can be detached by itself."""
    agent = attach(made(kind, _play()), Guard(Guardrail(pii(), stage="input")))
    other = copy.copy(agent)
    detach(agent)
    with pytest.raises(GuardrailViolation):
        await other.run(ASKED)


async def test_two_agents_on_one_model(way: str) -> None:
    """Two agents on one model, one attached: the other one and Settings know nothing of it."""
    play = Play(["fine"])
    llm = Playing(play=play)
    Settings.llm = llm
    try:
        one, two = FunctionAgent(), FunctionAgent()
        attach(one, Guard(Guardrail(pii(), stage="input")))
        assert two.llm is llm is Settings.llm
        with pytest.raises(GuardrailViolation):
            await run(one, way, ASKED)
        await run(two, way, ASKED)
        assert MAILS["input"] in play.heard
    finally:
        Settings._llm = None


def test_twice_is_once(kind: str) -> None:
    """Attaching a guard again changes nothing."""
    guard = Guard(Guardrail(pii(), stage="input"))
    agent = attach(made(kind, _play()), guard)
    assert attach(agent, guard) is agent


def test_stages_no_agent_has(kind: str) -> None:
    """Rules for documents and embeddings are refused, by name."""
    for stage in ("retrieval", "embedding"):
        with pytest.raises(UnenforceableError, match=f"at the {stage} stage"):
            attach(made(kind, _play()), Guard(Guardrail(pii(), stage=stage)))  # type: ignore[arg-type]  # a loop's str


# Who said what


async def test_tenants(kind: str, way: str) -> None:
    """A run is judged by what was said of it where it was made, wherever it is awaited."""
    rule = Guardrail(pii(), stage="output", where={"tenant.id": "strict"})
    guard = Guard(rule)
    agent = attach(made(kind, _play()), guard)
    with guard.attributes(tenant__id="strict"):
        handler = agent.run("hello")
    if way == "streamed":
        with pytest.raises(GuardrailViolation):
            await _read(handler, [])
    with pytest.raises(GuardrailViolation):
        await handler
    with guard.attributes(tenant__id="lax"):
        handler = attach(made(kind, _play()), guard).run("hello")
    with guard.attributes(tenant__id="strict"):
        assert str(await handler).endswith("it is o@example.com")


async def test_violation_that_a_tool_swallows() -> None:
    """A tool, on its thread, that answers for a model whose call was stopped does not get away with it."""
    guard = Guard(Guardrail(pii(), stage="input"))
    inner = protect(Playing(play=Play(["never"])), guard)

    def use(text: str) -> str:
        """Use it."""
        try:
            return str(inner.chat([ChatMessage(role="user", content="x@example.com")]))
        except GuardrailViolation:
            return "all is well"

    play = Play([*TURNS])
    agent = attach(FunctionAgent(tools=[use], llm=Playing(play=play)), guard)
    with pytest.raises(GuardrailViolation):
        await agent.run("hello")
    assert len(play.asked) == 1


if "early_stopping_method" in FunctionAgent.model_fields:  # newer ones

    async def test_early_stopping(way: str) -> None:
        """The answer that LlamaIndex asks for when it has had enough turns is an answer as any other."""
        agent = made("function", _play(), early_stopping_method="generate")
        attach(agent, Guard(Guardrail(pii(), stage="output", action="redact")))
        result, events = await run(agent, way, "hello", max_iterations=1)
        assert str(result) == "it is <EMAIL_ADDRESS>"
        assert MAILS["output"] not in shown(events) + repr(result)


async def test_unknown_tools(way: str) -> None:
    """A tool that the model made up has its arguments judged, too, and is no reason to fail."""
    agent = attach(
        made("function", Play([*TURNS], tool="nosuch")), Guard(Guardrail(pii(), stage="tool_call", action="redact"))
    )
    result, events = await run(agent, way, "hello")
    assert str(result) == "it is o@example.com"
    assert MAILS["tool_call"] not in shown(events) + repr(result)


async def test_errors_of_tools_carry_nothing() -> None:
    """What the error of a tool holds besides its text, which nobody can judge, does not leave with its result."""

    def use(text: str) -> str:
        """Use it."""
        error = ValueError("no")
        error.row = "r@example.com"  # type: ignore[attr-defined]  # as drivers of databases do
        raise error

    agent = FunctionAgent(name="helper", tools=[FunctionTool.from_defaults(use)], llm=Playing(play=Play([*TURNS])))
    attach(agent, Guard(Guardrail(pii(), stage="tool_result", action="redact")))
    result, events = await run(agent, "streamed", ASKED)
    outputs = [event.tool_output for event in events if isinstance(event, ToolCallResult)]
    outputs += [call.tool_output for call in result.tool_calls]
    assert len(outputs) == 2
    assert all(
        output.is_error and output.content == "no" and getattr(output, "exception", None) is None for output in outputs
    )
