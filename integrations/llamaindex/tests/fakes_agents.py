"""Fakes for agents: a model that plays its turns, in pieces, and agents of all kinds around it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fakes_parts import ToolCallBlock, answer_of, selected
from llama_index.core.agent.workflow import AgentWorkflow, CodeActAgent, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, LLMMetadata
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import StopEvent
from pydantic import Field

KINDS = ["function", "react", "codeact", "workflow"]


@dataclass
class Play:
    """What a model says, turn by turn, and what it was asked. A turn is a text, or the arguments of a tool call."""

    turns: list[str | dict[str, Any]] = field(default_factory=lambda: ["fine"])
    size: int = 1
    tool: str = "use"
    asked: list[list[ChatMessage]] = field(default_factory=list)
    used: list[str] = field(default_factory=list)
    gives: str = "used"
    error: Exception | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Play:
        return self

    def turn(self, messages: Sequence[ChatMessage]) -> str | dict[str, Any]:
        """The next turn; the last one again and again."""
        self.asked.append(list(messages))
        if self.error is not None:
            raise self.error
        return self.turns[min(len(self.asked), len(self.turns)) - 1]

    @property
    def heard(self) -> str:
        """All that it was asked, in one text."""
        return "\n".join(str(message) for messages in self.asked for message in messages)


class Playing(FunctionCallingLLM):
    """A model with tools, which streams text and arguments in pieces, and repeats both in its raw answer."""

    play: Play = Field(exclude=True)

    @property
    def metadata(self) -> LLMMetadata:
        """What LlamaIndex asks about the model."""
        return LLMMetadata(model_name="playing", is_chat_model=True, is_function_calling_model=True)

    def _said(self, text: str, kwargs: str | dict[str, Any] | None, delta: str | None = None) -> ChatResponse:
        calls = []
        if kwargs is not None:
            number = f"call-{len(self.play.asked)}"
            calls = [ToolCallBlock(tool_call_id=number, tool_name=self.play.tool, tool_kwargs=kwargs)]
        raw = {"id": "answer-1", "choices": [{"message": {"content": text, "tool": str(kwargs)}}]}
        return ChatResponse(message=answer_of(text, *calls), delta=delta, raw=raw)

    def _whole(self, messages: Sequence[ChatMessage]) -> ChatResponse:
        turn = self.play.turn(messages)
        return self._said(turn, None) if isinstance(turn, str) else self._said("", turn)

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """The next turn."""
        return self._whole(messages)

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """The next turn."""
        return self._whole(messages)

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        """No agent asks so."""
        raise NotImplementedError

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        """The next turn in pieces."""
        turn = self.play.turn(messages)

        async def pieces() -> AsyncGenerator[ChatResponse, None]:
            size = self.play.size
            if isinstance(turn, str):
                for start in range(0, len(turn), size):
                    yield self._said(turn[: start + size], None, turn[start : start + size])
                return
            written = json.dumps(turn)
            for start in range(0, len(written), size):
                so_far = written[: start + size]
                yield self._said("", turn if so_far == written else so_far, "")

        return pieces()

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        """No agent asks so."""
        raise NotImplementedError

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        """No agent asks so."""
        raise NotImplementedError

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        """No agent asks so."""
        raise NotImplementedError

    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        """No agent asks so."""
        raise NotImplementedError

    def _prepare_chat_with_tools(
        self, tools: Any, user_msg: Any = None, chat_history: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        return {"messages": list(chat_history or [])}

    def get_tool_calls_from_response(
        self, response: Any, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """Those of its message; arguments that do not parse yet are shown as they are."""
        return selected(response.message, unparsed="so far")


def made(kind: str, play: Play, **options: Any) -> Any:
    """An agent of this kind, whose model plays its turns; the turns that call a tool are told as it must be told."""

    def use(text: str) -> str:
        """Use it."""
        play.used.append(text)
        return play.gives

    async def execute(code: str) -> str:
        """Run it."""
        play.used.append(code)
        return play.gives

    llm = Playing(play=play)
    tools = [FunctionTool.from_defaults(use)]
    if kind == "function":
        return FunctionAgent(name="helper", tools=tools, llm=llm, **options)
    if kind == "react":
        play.turns = [_react(turn) for turn in play.turns]
        return ReActAgent(name="helper", tools=tools, llm=llm, **options)
    if kind == "codeact":
        play.turns = [
            turn if isinstance(turn, str) else f"Let me see. <execute>{turn['text']}</execute>" for turn in play.turns
        ]
        return CodeActAgent(execute, name="helper", llm=llm, **options)
    first = FunctionAgent(name="helper", description="Helps.", tools=tools, llm=llm, **options)
    second = FunctionAgent(name="other", description="Helps, too.", tools=tools, llm=llm, **options)
    return AgentWorkflow(agents=[first, second], root_agent="helper")


def _react(turn: str | dict[str, Any]) -> str:
    if isinstance(turn, str):
        return f"Thought: I know.\nAnswer: {turn}"
    return f"Thought: I must use it.\nAction: use\nAction Input: {json.dumps(turn)}"


async def run(agent: Any, way: str, text: Any, **options: Any) -> tuple[Any, list[Any]]:
    """Run an agent; its result and the events that were read."""
    handler = agent.run(text, **options)
    events = []
    if way == "streamed":
        async for event in handler.stream_events():
            events.append(event)  # noqa: PERF401 - they are kept when it fails
    return await handler, events


def shown(events: list[Any]) -> str:
    """All that events say, with what they do not serialise, except the run's own result."""
    return "\n".join(f"{event!r} {getattr(event, 'raw', '')!r}" for event in events if type(event) is not StopEvent)
