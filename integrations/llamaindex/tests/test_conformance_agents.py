"""`attach` for agents keeps every promise of a guard: four kinds of agents, awaited and read as events."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from fakes_parts import ToolCallBlock, answer_of, selected
from llama_index.core.agent.workflow import AgentStream, AgentWorkflow, CodeActAgent, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, LLMMetadata
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools import FunctionTool

from llmguard_llamaindex import attach
from llmguard_middleware import Guard
from llmguard_middleware.testing.conformance import Adapter, Mode, Scenario, Script, check_matrix, matrix, scenarios

# LlamaIndex asks every attribute of a workflow whether it is a step.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step"),
]

KINDS = ("FunctionAgent", "ReActAgent", "CodeActAgent", "AgentWorkflow")
_RESULTS = ("Observation: ", "Result of executing the code given:\n\n")


class Scripted(FunctionCallingLLM):
    """A provider that does what its script says; it asks for a tool first, in its agent's way, if one has a part."""

    script: Any
    kind: str

    @property
    def metadata(self) -> LLMMetadata:
        """What LlamaIndex asks about the model."""
        return LLMMetadata(model_name="scripted", is_chat_model=True, is_function_calling_model=True)

    def _asked(self, messages: Sequence[ChatMessage]) -> str:
        """What was said besides the agent's own instructions and notes."""
        said = [message.content or "" for message in messages if message.role.value == "user"]
        return "\n".join(text for text in said if not text.startswith(_RESULTS))

    def _called(self, messages: Sequence[ChatMessage]) -> ChatResponse | None:
        material = self.script.material
        if not material.keys() & {"tool_call", "tool_result"}:
            return None
        last = messages[-1].content or ""
        if messages[-1].role.value == "tool" or last.startswith(_RESULTS):
            for prefix in _RESULTS:
                last = last.removeprefix(prefix)
            self.script.arrive("tool_result", last)
            return None
        text = material.get("tool_call", "x")
        if self.kind == "ReActAgent":
            return _said(f"Thought: I must.\nAction: use\nAction Input: {json.dumps({'text': text})}")
        if self.kind == "CodeActAgent":
            return _said(f"<execute>{text}</execute>")
        call = ToolCallBlock(tool_call_id="1", tool_name="use", tool_kwargs={"text": text})
        return ChatResponse(message=answer_of("", call), delta="")

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """As scripted."""
        return self._called(messages) or _said(await self.script.areply(self._asked(messages)))

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        """As scripted."""

        async def pieces() -> AsyncIterator[ChatResponse]:
            if (called := self._called(messages)) is not None:
                yield called
                return
            text = ""
            async for piece in self.script.astream(self._asked(messages)):
                text += piece
                yield _said(text, piece)

        return pieces()

    def _no(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    chat = stream_chat = complete = stream_complete = acomplete = astream_complete = _no

    def _prepare_chat_with_tools(
        self, tools: Any, user_msg: Any = None, chat_history: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        return {"messages": list(chat_history or [])}

    def get_tool_calls_from_response(
        self, response: Any, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """Those of its message."""
        return selected(response.message)


def _said(text: str, delta: str | None = None) -> ChatResponse:
    return ChatResponse(message=ChatMessage(role="assistant", content=text), delta=text if delta is None else delta)


_LEFT = {}
if importlib.util.find_spec("workflows.runtime") is not None:  # before, the guard ends what is left
    _LEFT["caller-cancels-scorer/*"] = "LlamaIndex leaves a task that waits for the next event of a cancelled run"
_GOES_ON = "a run goes on when nobody reads its events any more: who wants it to end cancels its handler"
_INSTRUCTIONS = "what the agent itself tells its model is judged, too"
_PSEUDONYMS = ("input-pseudonymize", "call-many-at-once", "monitor-sees-pseudonyms", "stream-originals-back")
_ITS_CALLS = "verdicts are on the spans of the model calls, and not on that of the run"


class Agents(Adapter):
    """Agents of every kind, one of each, awaited or read as events."""

    name = "LlamaIndex attach(agent)"
    modes = tuple(
        Mode(f"{kind} {way}", streamed=way == "streamed", is_async=True)
        for kind in KINDS
        for way in ("awaited", "streamed")
    )
    stages = ("input", "output", "tool_call", "tool_result")
    composite = True
    state: Any = "redacted"
    cannot: Mapping[str, str] = dict.fromkeys(
        (f"{claim}/*" for claim in _PSEUDONYMS), 'the memory would keep the placeholders: state="raw"'
    )
    gaps: Mapping[str, str] = {
        "caller-leaves-stream*/*": _GOES_ON,
        **_LEFT,
        "output-refusal/*": _ITS_CALLS,
        "input-race-passes/*": _ITS_CALLS,
        "call-two-guards/ReActAgent*": _INSTRUCTIONS,
        "call-two-guards/CodeActAgent*": _INSTRUCTIONS,
        "span-nests/AgentWorkflow*": "between the run and the model call is the span of the agent that acts",
    }

    def build(self, guard: Guard, script: Script) -> Any:
        """Agents that stream their model's answers, and agents that do not."""
        return {
            str(mode): attach(self.made(mode.name.split()[0], mode, script), guard, state=self.state)
            for mode in self.modes
        }

    def made(self, kind: str, mode: Mode, script: Script) -> Any:
        """An agent of this kind."""

        def use(text: str) -> str:
            """Use it."""
            script.arrive("tool_call", text)
            return str(script.material.get("tool_result", "used"))

        async def execute(code: str) -> str:
            """Run it."""
            return use(code)

        how: dict[str, Any] = {"llm": Scripted(script=script, kind=kind), "streaming": mode.streamed}
        if kind == "CodeActAgent":
            return CodeActAgent(execute, **how)
        tools = [FunctionTool.from_defaults(use)]
        if kind == "ReActAgent":
            return ReActAgent(tools=tools, **how)
        if kind == "FunctionAgent":
            return FunctionAgent(tools=tools, **how)
        helper = FunctionAgent(name="helper", description="Helps.", tools=tools, **how)
        other = FunctionAgent(name="other", description="Helps, too.", tools=tools, **how)
        return AgentWorkflow(agents=[helper, other], root_agent="helper")

    def again(self, subject: Any, guard: Guard) -> Any:
        """All of them once more."""
        return {name: attach(agent, guard, state=self.state) for name, agent in subject.items()}

    def call(self, subject: Any, mode: Mode, text: str) -> Any:
        """Run it."""
        return (self._read if mode.streamed else self._awaited)(subject[str(mode)], text)

    async def _awaited(self, agent: Any, text: str) -> Any:
        return await agent.run(text)

    async def _read(self, agent: Any, text: str) -> AsyncIterator[Any]:
        handler = agent.run(text)
        try:
            async for event in handler.stream_events():
                if isinstance(event, AgentStream):
                    yield event
            await handler
        finally:
            getattr(handler, "_result_task", handler).cancel()

    def text(self, reply: Any) -> str:
        """What the agent answered, or a streamed event adds to it; not what it says to call a tool."""
        said = reply.delta if isinstance(reply, AgentStream) else str(reply)
        return "" if "Action Input:" in said or "<execute>" in said else said


AGENTS = Agents()


class Raw(Agents):
    """The same, whose memories keep what the user said."""

    name = 'LlamaIndex attach(agent, state="raw")'
    state = "raw"
    cannot: Mapping[str, str] = {}


RAW = Raw()


@pytest.mark.parametrize("scenario", scenarios(AGENTS), ids=str)
async def test_attached_agents_conform(scenario: Scenario) -> None:
    """An attached agent does what the scenario claims."""
    await scenario.run(AGENTS)


@pytest.mark.parametrize(
    "scenario", [one for one in scenarios(RAW) if one.id.startswith(("input-", *_PSEUDONYMS))], ids=str
)
async def test_agents_with_raw_memories_conform(scenario: Scenario) -> None:
    """An attached agent does what the scenario claims, and its memory keeps what the user said."""
    await scenario.run(RAW)


async def test_the_readme_has_the_table_of_what_is_enforced() -> None:
    """What the README says of each kind of agent, stage and action is what was tried just now."""
    readme = Path(__file__).parents[1] / "README.md"
    check_matrix(readme, "attach(agent)", await matrix(AGENTS), "uv run pytest --no-cov -k readme integrations")
