"""LangChain's messages as the core's, and their main text: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, ChatMessage
from langchain_core.prompt_values import PromptValue

from llmguard_middleware import Message

__all__ = ["inputs", "parts", "plain", "read", "role", "text_of", "with_parts", "with_text"]

M = TypeVar("M", bound=BaseMessage)

_ROLES = {
    "human": "user",
    "ai": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
}


def parts(message: BaseMessage) -> list[str]:
    """The text parts of a message, in order: its string, or the texts of its blocks."""
    if isinstance(message.content, str):
        return [message.content]
    return [block if isinstance(block, str) else block["text"] for block in message.content if _says(block)]


def text_of(message: BaseMessage) -> str:
    """The text of a message, whatever its parts."""
    return "".join(parts(message))


def with_parts(message: M, texts: Sequence[str]) -> M:
    """A copy of the message with other text parts; the message itself if they are the same."""
    if list(texts) == parts(message):
        return message
    if isinstance(message.content, str):
        return message.model_copy(update={"content": "".join(texts)})
    take = iter(texts)
    content: list[Any] = []
    for block in message.content:
        if not _says(block):
            content.append(block)
        else:
            content.append(next(take) if isinstance(block, str) else {**block, "text": next(take)})
    return message.model_copy(update={"content": content})


def _says(block: str | dict[Any, Any]) -> bool:
    """Whether a content block is a text part: what a model thought is none."""
    if isinstance(block, str):
        return True
    return isinstance(block.get("text"), str) and block.get("type") not in ("reasoning", "thinking")


def with_text(message: M, text: str) -> M:
    """A copy of the message with another text, all of it in the first part; the message itself if it has this text."""
    old = parts(message)
    return message if "".join(old) == text else with_parts(message, [text, *[""] * (len(old) - 1)])


def role(message: BaseMessage) -> str:
    """The conventions' role. One that nobody knows counts as the user's: guardrails look most closely there."""
    if isinstance(message, ChatMessage):
        return _ROLES.get(message.role, message.role if message.role in _ROLES.values() else "user")
    kind = message.type.removesuffix("MessageChunk").lower()
    return _ROLES.get(kind, "user")


def read(messages: Sequence[BaseMessage]) -> list[Message]:
    """One core message for each message."""
    return [Message(role(message), text_of(message)) for message in messages]


def inputs(given: Any) -> dict[str, Any]:
    """A chain's input by name: its dict, or a bare text under the names that scorers ask for."""
    if isinstance(given, Mapping):
        return {str(name): plain(value) for name, value in given.items()}
    value = plain(given)
    return {"input": value, "question": value, "prompt": value} if isinstance(value, str) else {"input": value}


def plain(value: Any) -> Any:
    """The text of a message, a prompt or documents; anything else as it is."""
    if isinstance(value, BaseMessage):
        return text_of(value)
    if isinstance(value, PromptValue):
        return value.to_string()
    if isinstance(value, Document):
        return value.page_content
    return value
