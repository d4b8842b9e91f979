"""attach(agent): an agent does not get past its guard by asking an LLM that was not there when it was attached."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import pytest
from fakes_agents import KINDS, Play, Playing, made, run, shown
from llama_index.core.agent.workflow import BaseWorkflowAgent
from llama_index.core.agent.workflow.workflow_events import AgentOutput, AgentStream
from llama_index.core.base.llms.types import ChatMessage, TextBlock

from llmguard_llamaindex import attach, detach
from llmguard_middleware import ConfigurationError, Guard, Guardrail, GuardrailViolation
from llmguard_middleware.scorers import pii

# LlamaIndex asks every attribute of a workflow whether it is a step.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step"),
    pytest.mark.filterwarnings("ignore:Skipping serialization of known unserializable key"),
]

SAID = "it is o@example.com, I think"


def _with_llm(agent: Any, llm: Any) -> Any:
    for one in getattr(agent, "agents", {"": agent}).values():
        one.llm = llm
    return agent


class Own(BaseWorkflowAgent):
    """An agent of one's own, which asks a second LLM if it has one."""

    second: Any = None

    async def take_step(self, ctx: Any, llm_input: Any, tools: Sequence[Any], memory: Any) -> AgentOutput:
        """Streams what the LLM says."""
        text = ""
        async for chunk in await (self.second or self.llm).astream_chat(llm_input):
            text += chunk.delta
            event = AgentStream(delta=chunk.delta, response=text, current_agent_name=self.name, raw=chunk.raw)
            ctx.write_event_to_stream(event)
        message = ChatMessage(role="assistant", blocks=[TextBlock(text=text)])
        return AgentOutput(response=message, raw=chunk.raw, current_agent_name=self.name)

    async def handle_tool_call_results(self, ctx: Any, results: Any, memory: Any) -> None:
        """There are none."""

    async def finalize(self, ctx: Any, output: Any, memory: Any) -> Any:
        """As it is."""
        return output


async def _read(handler: Any, events: list[Any]) -> None:
    async for event in handler.stream_events():
        events.append(event)  # noqa: PERF401 - they are kept when it fails


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["awaited", "streamed"])
async def test_an_llm_set_later_is_guarded(kind: str, way: str) -> None:
    """An LLM that the owner sets after `attach` is guarded as the one before, and `detach` leaves him his own."""
    play = Play([SAID])
    agent = attach(made(kind, play), Guard(Guardrail(pii(), stage="output", action="redact")))
    later = Playing(play=play)
    result, events = await run(_with_llm(agent, later), way, "Who?")
    assert "it is <EMAIL_ADDRESS>, I think" in str(result)
    assert "o@example.com" not in shown(events) + repr(result) + repr(result.raw)
    if kind != "workflow":
        assert detach(agent).llm is later


@pytest.mark.parametrize("second", [True, False])
async def test_an_agent_of_ones_own(second: bool) -> None:
    """What an agent of one's own streams and answers is judged, also if another LLM than its own said it."""
    play = Play([SAID])
    agent = Own(name="own", llm=Playing(play=play), second=Playing(play=play) if second else None)
    result, events = await run(
        attach(agent, Guard(Guardrail(pii(), stage="output", action="redact"))), "streamed", "Who?"
    )
    assert str(result) == "it is <EMAIL_ADDRESS>, I think"
    assert "o@example.com" not in shown(events) + repr(result) + repr(result.raw)
    streamed = [event for event in events if isinstance(event, AgentStream)]
    assert "".join(event.delta for event in streamed) == "it is <EMAIL_ADDRESS>, I think"
    assert (len(streamed) > 1) is not second  # what a guarded LLM let go is not withheld


async def test_an_agent_of_ones_own_is_blocked() -> None:
    """What another LLM than the agent's own said is stopped before any of it is read."""
    play = Play([SAID])
    agent = Own(name="own", llm=Playing(play=play), second=Playing(play=play))
    handler = attach(agent, Guard(Guardrail(pii(), stage="output"))).run("Who?")
    events: list[Any] = []
    with pytest.raises(GuardrailViolation):
        await _read(handler, events)
    with pytest.raises(GuardrailViolation):
        await handler
    assert not any(isinstance(event, AgentStream) for event in events)
    assert "o@example.com" not in shown(events)


@pytest.mark.parametrize("kind", KINDS)
async def test_no_detach_in_the_middle(kind: str) -> None:
    """An agent keeps its guard as long as it runs: `detach` is refused, and does its work afterwards."""
    play = Play([{"text": "x"}, SAID])
    agent = attach(made(kind, play), Guard(Guardrail(pii(), stage="output", action="redact")))
    guarded = type(agent)
    handler = agent.run("Who?")
    async for _ in handler.stream_events():
        if not handler.is_done():
            with pytest.raises(ConfigurationError, match="while a run of it is under way"):
                detach(agent)
    assert "<EMAIL_ADDRESS>" in str(await handler)
    assert type(detach(agent)) is not guarded


async def test_detach_after_a_run_that_was_cancelled() -> None:
    """A run that was cancelled, or that a guardrail stopped, is over."""
    agent = attach(made("function", Play([SAID])), Guard(Guardrail(pii(), stage="output")))
    with pytest.raises(GuardrailViolation):
        await agent.run("Who?")
    handler = agent.run("Who?")
    await handler.cancel_run()
    await asyncio.wait([asyncio.ensure_future(_ended(handler))])
    assert "_llmguard_seal" not in vars(detach(agent))


async def _ended(handler: Any) -> None:
    with contextlib.suppress(BaseException):
        await handler
