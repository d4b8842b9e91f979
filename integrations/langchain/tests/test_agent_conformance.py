"""What GuardMiddleware keeps of a guard's promises, as the conformance suite has them."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.pregel import Pregel
from langgraph.types import StreamMode

from llmguard_langchain import GuardCallback, GuardMiddleware, protect
from llmguard_middleware import Guard
from llmguard_middleware.testing.conformance import Adapter, Mode, Scenario, Script, check_matrix, matrix, scenarios

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")


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


def _asked_for(what: str) -> str | list[str]:
    """The custom stream, which is the program's own, together with the answer."""
    return ["custom", "values"] if what == "custom" else what.split("+") if "+" in what else what


_ITS_CALLS = "verdicts are on the spans of the model calls, and not on that of the run"
_DROPPED = "the span of a run that no node ends is ended when Python drops the run; a GuardCallback ends it at once"


class Agents(Adapter):
    """An agent of one model, under one or more middlewares."""

    name = "LangChain GuardMiddleware"
    modes = (
        Mode("invoke"),
        Mode("ainvoke", is_async=True),
        Mode("stream messages", streamed=True),
        Mode("astream messages", streamed=True, is_async=True),
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
        "caller-leaves-stream*/stream messages": _DROPPED,
        **{f"{scenario}/astream messages": why for scenario, why in _IN_ONE.items()},
    }

    def build(self, guard: Guard, script: Script) -> Any:
        """The agent under its guard."""
        return [script, GuardMiddleware(guard)]

    def again(self, subject: Any, guard: Guard) -> Any:
        """The same under another."""
        return [*subject, GuardMiddleware(guard)]

    def call(self, subject: Any, mode: Mode, text: str) -> Any:
        """As a graph; streams are of messages."""
        script, *guards = subject

        @tool
        def use(text: str) -> str:
            """Use it."""
            script.arrive("tool_call", text)
            return str(script.material.get("tool_result", "used"))

        method, _, what = mode.name.partition(" ")
        saver = InMemorySaver() if what == "checkpoints" else None
        agent = self.made(script, guards, [use], checkpointer=saver)
        how: dict[str, Any] = {}
        if what:
            how = {"version": what} if "events" in method else {"stream_mode": _asked_for(what)}
        return getattr(agent, method)({"messages": [text]}, self.config(guards), **how)

    def made(self, script: Script, guards: Sequence[Any], tools: list[Any], **options: Any) -> Any:
        """The agent, with middlewares."""
        return create_agent(Scripted(script=script), tools, middleware=guards, **options)

    def config(self, guards: Sequence[Any]) -> Any:
        """How the graph is called."""
        return {"configurable": {"thread_id": "1"}}

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

    def config(self, guards: Sequence[Any]) -> Any:
        """With a callback for each guard."""
        return {"callbacks": [GuardCallback(one.guard) for one in guards]}


TOLD = Told()


@pytest.mark.parametrize("scenario", scenarios(TOLD), ids=str)
async def test_agents_with_callbacks_conform(scenario: Scenario) -> None:
    """An agent under GuardMiddleware, called with a GuardCallback, does what the scenario claims."""
    await scenario.run(TOLD)


class Everywhere(Agents):
    """An agent in every way to call it: other streams than those of messages as one answer, at their end."""

    modes = (
        *Agents.modes,
        *(
            Mode(f"{method} {what}", is_async=method == "astream")
            for what in (*(mode for mode in get_args(StreamMode) if mode != "messages"), "messages+updates")
            for method in ("stream", "astream")
        ),
        Mode("astream_events v2", is_async=True),
        *(
            (Mode("stream_events v3"), Mode("astream_events v3", is_async=True))
            if hasattr(Pregel, "stream_events")
            else ()
        ),
    )

    def call(self, subject: Any, mode: Mode, text: str) -> Any:
        """As a graph; all of a stream."""
        reply = super().call(subject, mode, text)
        if mode.streamed or mode.name.endswith("invoke"):
            return reply
        return _all(reply) if mode.is_async else list(reply)

    def text(self, reply: Any) -> str:
        """What the last message of all that was shown says."""
        return super().text(reply) if not isinstance(reply, list) else [*_said(reply)][-1]


async def _all(reply: Any) -> list[Any]:
    return [item async for item in (await reply if isinstance(reply, Awaitable) else reply)]


def _said(thing: Any) -> Iterator[str]:
    """What the whole answers say that lie in anything."""
    if isinstance(thing, AIMessage) and not isinstance(thing, AIMessageChunk):
        yield str(thing.text)
    elif isinstance(thing, (list, tuple)):
        for part in thing:
            yield from _said(part)
    elif isinstance(thing, dict):
        yield from _said(list(thing.values()))
    elif hasattr(thing, "update") and hasattr(thing, "goto"):  # a Command
        yield from _said(thing.update)


class Graphs(Everywhere):
    """A protected graph, whose insides are not."""

    name = "LangChain protect(graph)"
    stages = ("input", "output")
    composite = False
    gaps: Mapping[str, str] = {}
    cannot: Mapping[str, str] = {
        f"{claim}/*{shows}": "it shows what happens inside: GuardMiddleware, or protect the model"
        for claim in ("output-*", "stream-*")
        for shows in ("checkpoints", "tasks", "debug", "custom", "v3")
    }

    def build(self, guard: Guard, script: Script) -> Any:
        """The script and the guard, of which a graph is made when it is called; a first one says what is refused."""
        protect(create_agent(Scripted(script=script), []), guard)
        return [script, guard]

    def made(self, script: Script, guards: Sequence[Any], tools: list[Any], **options: Any) -> Any:
        """The agent, protected."""
        return protect(create_agent(Scripted(script=script), tools, **options), *guards)


TABLES = {"protect(graph)": Graphs(), "GuardMiddleware": Everywhere()}


@pytest.mark.parametrize("name", TABLES)
async def test_the_readme_has_the_table_of_what_is_enforced(name: str) -> None:
    """What the README says of each way to call an agent, stage and action is what was tried just now."""
    readme = Path(__file__).parents[1] / "README.md"
    check_matrix(readme, name, await matrix(TABLES[name]), "uv run pytest --no-cov -k readme integrations")
