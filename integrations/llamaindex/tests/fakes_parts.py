"""Messages with thinking and tool calls, as the installed LlamaIndex has them: in blocks or in additional_kwargs."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from llama_index.core import async_utils
from llama_index.core.base.llms import types
from llama_index.core.base.llms.types import ChatMessage, TextBlock
from llama_index.core.chat_engine.types import StreamingAgentChatResponse
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools import function_tool
from pydantic import BaseModel, Field


class _Thinking(BaseModel):
    """What thinking is before there are blocks of it: a text in additional_kwargs."""

    content: str | None = None


class _Called(BaseModel):
    """What a tool call is before there are blocks of them: an entry in additional_kwargs."""

    tool_call_id: str | None = None
    tool_name: str
    tool_kwargs: dict[str, Any] | str = Field(default_factory=dict)


ThinkingBlock: Any = getattr(types, "ThinkingBlock", _Thinking)
ToolCallBlock: Any = getattr(types, "ToolCallBlock", _Called)
# Whether threads, and loops inside a loop, that LlamaIndex starts know on whose behalf they run.
TOOLS_CARRY = hasattr(function_tool, "contextvars")
LOOPS_CARRY = hasattr(async_utils, "contextvars")
# Whether a chat engine reads its streams by itself, to write the history, if nobody else does.
READS_ITSELF = "write_response_to_history_thread" in StreamingAgentChatResponse.__dataclass_fields__
HAS_THINKING = ThinkingBlock is not _Thinking
HAS_CALLS = ToolCallBlock is not _Called


def multi_modal_engines() -> list[Any]:
    """The chat engines that show images to their models, of which old versions have none."""
    names = {
        "multi_modal_context": "MultiModalContextChatEngine",
        "multi_modal_condense_plus_context": "MultiModalCondensePlusContextChatEngine",
    }
    package = "llama_index.core.chat_engine"
    there = [name for name in names if find_spec(f"{package}.{name}") is not None]
    return [getattr(import_module(f"{package}.{name}"), names[name]) for name in there]


def answer_of(*parts: Any, **kwargs: Any) -> ChatMessage:
    """An answer of these parts; a string is a block of text."""
    blocks, calls = [], []
    for part in parts:
        if isinstance(part, str):
            blocks.append(TextBlock(text=part))
        elif isinstance(part, _Thinking):
            kwargs["thinking"] = part.content
        elif isinstance(part, _Called):
            calls.append(raw_call(part))
        else:
            blocks.append(part)
    if calls:
        kwargs["tool_calls"] = calls
    return ChatMessage(role="assistant", blocks=blocks, additional_kwargs=kwargs)


def parts_of(message: ChatMessage) -> list[Any]:
    """The parts of a message: its blocks, and what would be blocks in a newer LlamaIndex."""
    parts: list[Any] = list(message.blocks)
    kwargs = message.additional_kwargs
    if not HAS_THINKING and (thought := kwargs.get("thinking")):
        parts.insert(0, _Thinking(content=thought))
    if not HAS_CALLS:
        parts += [_parsed(call) for call in kwargs.get("tool_calls") or () if isinstance(call, dict)]
    return parts


def own_kwargs(message: ChatMessage) -> dict[str, Any]:
    """The additional_kwargs that are no part."""
    kwargs = message.additional_kwargs
    given = kwargs.get("tool_calls", ())
    calls = ("tool_calls",) if not HAS_CALLS and all(isinstance(call, dict) for call in given) else ()
    parts = {*calls, *(() if HAS_THINKING else ("thinking",))}
    return {key: value for key, value in kwargs.items() if key not in parts}


def calls_of(message: ChatMessage) -> list[Any]:
    """The tool calls of a message."""
    return [part for part in parts_of(message) if isinstance(part, ToolCallBlock)]


def thoughts_of(message: ChatMessage) -> str:
    """The thinking of a message."""
    return "".join(part.content or "" for part in parts_of(message) if isinstance(part, ThinkingBlock))


def selected(message: ChatMessage, *, unparsed: str = "") -> list[ToolSelection]:
    """What a message asks for; arguments that do not parse are given under the name `unparsed`."""
    return [
        ToolSelection(tool_id=call.tool_call_id or "", tool_name=call.tool_name, tool_kwargs=_kwargs(call, unparsed))
        for call in calls_of(message)
    ]


def raw_call(call: Any, arguments: str | None = None) -> dict[str, Any]:
    """A tool call as OpenAI writes it."""
    if arguments is None:
        arguments = call.tool_kwargs if isinstance(call.tool_kwargs, str) else json.dumps(call.tool_kwargs)
    return {"id": call.tool_call_id, "function": {"name": call.tool_name, "arguments": arguments}}


def _kwargs(call: Any, unparsed: str) -> dict[str, Any]:
    given = call.tool_kwargs
    if isinstance(given, str) and unparsed:
        return {unparsed: given}
    return json.loads(given) if isinstance(given, str) else given  # type: ignore[no-any-return]  # an object, as written


def _parsed(call: Any) -> _Called:
    said = call["function"]["arguments"]
    try:
        kwargs = json.loads(said)
    except ValueError:
        kwargs = said
    name, number = call["function"]["name"], call.get("id")
    return _Called(tool_call_id=number, tool_name=name, tool_kwargs=kwargs if isinstance(kwargs, dict) else said)
