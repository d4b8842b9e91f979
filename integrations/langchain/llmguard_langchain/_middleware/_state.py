"""What becomes of the messages in an agent's state: pure functions; a changed message is a copy with the same id."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, RemoveMessage

from .. import _convert as convert

__all__ = ["answer", "blocked_turns", "emptied", "hidden", "stand_in", "stand_ins", "with_arguments"]

BLOCKED = "[blocked]"
_STAND_IN = "llmguard-stopped-"


def answer(state: Mapping[str, Any]) -> Any:
    """What an agent answered, by the state that it ended with: its structured answer, or its last message's text."""
    told = state.get("structured_response")
    messages = state.get("messages")
    return convert.text_of(messages[-1]) if told is None and messages else told


def stand_in() -> str:
    """The id of a message that stands in the place of an answer that was stopped."""
    return f"{_STAND_IN}{uuid4()}"


def stand_ins(messages: Sequence[AnyMessage]) -> list[Any]:
    """What removes such messages."""
    return [RemoveMessage(id=message.id) for message in messages if message.id and message.id.startswith(_STAND_IN)]


def turns(messages: Sequence[AnyMessage]) -> list[list[AnyMessage]]:
    """The messages by turn: what a user said, and all that followed. What comes before is of none."""
    found: list[list[AnyMessage]] = []
    for index, message in enumerate(messages):
        if isinstance(message, HumanMessage):
            if index == 0 or not isinstance(messages[index - 1], HumanMessage):
                found.append([])
        elif not found:
            continue
        found[-1].append(message)
    return found


def blocked_turns(messages: Sequence[AnyMessage], stops: Callable[[str], bool]) -> list[RemoveMessage]:
    """What removes the last turn, which was blocked, and every other one with a text that stops a call."""
    found = turns(messages)
    blocked = [turn for turn in found[:-1] if any(_stopping(message, stops) for message in turn)] + found[-1:]
    return [RemoveMessage(id=message.id) for turn in blocked for message in turn if message.id]


def emptied(messages: Sequence[AnyMessage], stops: Callable[[str], bool]) -> list[BaseMessage]:
    """The messages with a text that stops a call, with none of their texts."""
    return [convert.with_text(message, BLOCKED) for message in messages if _stopping(message, stops)]


def _stopping(message: BaseMessage, stops: Callable[[str], bool]) -> bool:
    parts = convert.parts(message)
    return any(stops(text) for text in (parts if len(parts) == 1 else [*parts, "".join(parts)]))


def hidden(messages: Sequence[AnyMessage], hide: Callable[[str], str]) -> list[Any]:
    """The messages with placeholders where the model's answers had the originals put back."""
    return [
        convert.with_parts(message, [hide(part) for part in convert.parts(message)])
        if isinstance(message, AIMessage)
        else message
        for message in messages
    ]


def with_arguments(message: AIMessage, arguments: Mapping[str, dict[str, Any]]) -> AIMessage:
    """The message with other arguments for the tool calls of these ids, wherever the provider repeats them."""
    calls = [{**call, "args": arguments.get(str(call["id"]), call["args"])} for call in message.tool_calls]
    update: dict[str, Any] = {"tool_calls": calls}
    if not isinstance(message.content, str):
        update["content"] = [_block(block, arguments) for block in message.content]
    if repeated := message.additional_kwargs.get("tool_calls"):
        update["additional_kwargs"] = {
            **message.additional_kwargs,
            "tool_calls": [_openai(call, arguments) for call in _mappings(repeated)],
        }
    return message.model_copy(update=update)


def _block(block: Any, arguments: Mapping[str, dict[str, Any]]) -> Any:
    """A content block; providers call the arguments `input`, `args` or, as JSON, `arguments`."""
    if not isinstance(block, Mapping):
        return block
    told = next((arguments[str(block[key])] for key in ("call_id", "id") if str(block.get(key)) in arguments), None)
    if told is None:
        return block
    written = json.dumps(told, ensure_ascii=False)
    changes = {"input": told, "args": told, "arguments": written, "partial_json": written}
    return {**block, **{key: value for key, value in changes.items() if key in block}}


def _openai(call: Mapping[str, Any], arguments: Mapping[str, dict[str, Any]]) -> Any:
    told = arguments.get(str(call.get("id")))
    if told is None:
        return call
    function = {**(call.get("function") or {}), "arguments": json.dumps(told, ensure_ascii=False)}
    return {**call, "function": function}


def _mappings(values: Iterable[Any]) -> list[Mapping[str, Any]]:
    return [value for value in values if isinstance(value, Mapping)]
