"""What GuardMiddleware keeps of a guard's promises, as the conformance suite has them."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool

from llmguard_langchain import GuardCallback, GuardMiddleware
from llmguard_middleware import Guard
from llmguard_middleware.testing.conformance import Adapter, Mode, Scenario, Script, scenarios


def _asked(messages: list[BaseMessage]) -> str:
    return "\n".join(str(message.text) for message in messages)


class Scripted(BaseChatModel):
    """A provider with every method of its own, which does what its script says; it calls a tool if one has a part."""

    script: Any

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        """It calls the one tool there is."""
        return self.bind()

    def _called(self, messages: list[BaseMessage]) -> AIMessage | None:
        material = self.script.material
        if not material.keys() & {"tool_call", "tool_result"}:
            return None
        if messages[-1].type == "tool":
            self.script.arrive("tool_result", str(messages[-1].text))
            return None
        call = {"name": "use", "args": {"text": material.get("tool_call", "x")}, "id": "1"}
        return AIMessage("", tool_calls=[call])

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        said = self._called(messages) or AIMessage(self.script.reply(_asked(messages)))
        return ChatResult(generations=[ChatGeneration(message=said)])

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        said = self._called(messages) or AIMessage(await self.script.areply(_asked(messages)))
        return ChatResult(generations=[ChatGeneration(message=said)])

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        if (said := self._called(messages)) is not None:
            yield _chunk(said)
            return
        for piece in self.script.stream(_asked(messages)):
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece))

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        if (said := self._called(messages)) is not None:
            yield _chunk(said)
            return
        async for piece in self.script.astream(_asked(messages)):
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece))


def _chunk(message: AIMessage) -> ChatGenerationChunk:
    (call,) = message.tool_calls
    part = tool_call_chunk(name=call["name"], args=json.dumps(call["args"]), id=call["id"], index=0)
    return ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[part]))


# Before Python 3.11 LangGraph hears of no tokens in async runs, so `messages` gives each message when it is complete.
_PIECE = AIMessageChunk if sys.version_info >= (3, 11) else AIMessage
_IN_ONE = dict.fromkeys(
    () if sys.version_info >= (3, 11) else ("input-race-streams", "stream-stays-a-stream", "stream-logs"),
    "before Python 3.11 the answer of an async run comes in one piece",
)
_ITS_CALLS = "verdicts are on the spans of the model calls, and not on that of the run"
_DROPPED = "the span of a run that no node ends is ended when Python drops the run; a GuardCallback ends it at once"


class Agents(Adapter):
    """An agent of one model, under one or more middlewares."""

    name = "LangChain GuardMiddleware"
    modes = (
        Mode("invoke"),
        Mode("ainvoke", is_async=True),
        Mode("stream", streamed=True),
        Mode("astream", streamed=True, is_async=True),
    )
    stages = ("input", "output", "tool_call", "tool_result")
    composite = True
    gaps: Mapping[str, str] = {
        "*-refusal/*": _ITS_CALLS,
        "input-race-passes/*": _ITS_CALLS,
        "call-unchanged/*": _ITS_CALLS,
        "call-two-guards/*": "of two middlewares the last one's guard is the first to judge what goes to the model",
        "call-guarded-twice/*": "LangChain refuses two middlewares of one name, by an AssertionError",
        "model-error*/*": _DROPPED,
        "caller-cancels*/*": _DROPPED,
        "caller-leaves-stream*/stream": _DROPPED,
        **{f"{scenario}/astream": why for scenario, why in _IN_ONE.items()},
    }

    def build(self, guard: Guard, script: Script) -> Any:
        """The agent under its guard."""
        return [script, GuardMiddleware(guard)]

    def again(self, subject: Any, guard: Guard) -> Any:
        """The same under another."""
        return [*subject, GuardMiddleware(guard)]

    def call(self, subject: Any, mode: Mode, text: str) -> Any:
        """As a graph; streams are of messages."""
        script, *middleware = subject

        @tool
        def use(text: str) -> str:
            """Use it."""
            script.arrive("tool_call", text)
            return str(script.material.get("tool_result", "used"))

        agent = create_agent(Scripted(script=script), [use], middleware=middleware)
        how: dict[str, Any] = {"stream_mode": "messages"} if mode.streamed else {}
        return getattr(agent, mode.name)({"messages": [text]}, self.config(middleware), **how)

    def config(self, middleware: list[GuardMiddleware]) -> Any:
        """How the graph is called."""
        return None

    def text(self, reply: Any) -> str:
        """What the last message or a chunk says."""
        if isinstance(reply, dict):
            return str(reply["messages"][-1].text)
        chunk = reply[0]
        return str(chunk.text) if isinstance(chunk, _PIECE) else ""


AGENTS = Agents()


@pytest.mark.parametrize("scenario", scenarios(AGENTS), ids=str)
async def test_agents_conform(scenario: Scenario) -> None:
    """An agent under GuardMiddleware does what the scenario claims."""
    await scenario.run(AGENTS)


class Told(Agents):
    """The same with GuardCallbacks of the same guards, which see how a run ends."""

    name = "LangChain GuardMiddleware with GuardCallback"
    gaps: Mapping[str, str] = {
        **{pattern: why for pattern, why in Agents.gaps.items() if why is not _DROPPED},
    }

    def config(self, middleware: list[GuardMiddleware]) -> Any:
        """With a callback for each guard."""
        return {"callbacks": [GuardCallback(one.guard) for one in middleware]}


TOLD = Told()


@pytest.mark.parametrize("scenario", scenarios(TOLD), ids=str)
async def test_agents_with_callbacks_conform(scenario: Scenario) -> None:
    """An agent under GuardMiddleware, called with a GuardCallback, does what the scenario claims."""
    await scenario.run(TOLD)
