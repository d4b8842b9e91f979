"""SoFar: what a model has said up to here, gathered from chunks, and messages of as much of it as may be shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock, ThinkingBlock

__all__ = ["THOUGHT", "SoFar", "texts", "thoughts"]

THOUGHT = "thinking_delta"  # where chunks say what is new of the thinking


class SoFar:
    """What came in.

    A chunk shows all that was said so far, but some providers leave out of one what was in another: the text is what
    the deltas add up to, and of the rest nothing that was there is lost.

    Attributes:
        parts: how many blocks of text there are.
        thinking_parts: how many blocks of thinking.
        more: what is neither, such as tool calls.
    """

    def __init__(self) -> None:
        self.parts = self.thinking_parts = 0
        self.more: list[Any] = []
        self._text = self._thinking = ""
        self._message: ChatMessage | None = None
        self._kwargs: dict[str, Any] = {}
        self._extra: dict[str, Any] = {}

    def take(self, message: ChatMessage, extra: Mapping[str, Any], delta: str | None) -> tuple[str, str]:
        """Take a chunk; returns what it adds to the text and to the thinking."""
        self._message = message
        said, thought = texts(message), thoughts(message)
        if len(said) + len(thought) < len(message.blocks):
            more = [block for block in message.blocks if not isinstance(block, (TextBlock, ThinkingBlock))]
            known = {_identity(block) for block in more}
            self.more = [*(one for one in self.more if (_identity(one) or None) not in {None, *known}), *more]
        self.parts, self.thinking_parts = max(self.parts, len(said)), max(self.thinking_parts, len(thought))
        if message.additional_kwargs:
            self._kwargs |= message.additional_kwargs
        if extra:
            self._extra |= extra
        if extra and delta and delta == extra.get(THOUGHT) and "".join(said) in self._text:
            delta = None  # some say in it what is new of the thinking
        text = delta or _added("".join(said), self._text)
        self._text += text
        new = ""
        if thought or extra:
            new = str(extra.get(THOUGHT) or "") or _added("".join(thought), self._thinking)
            self._thinking += new
        return text, new

    def whole(self) -> tuple[ChatMessage, dict[str, Any]]:
        """All of it: a message, and what stands beside it."""
        message = self._message or ChatMessage(role=MessageRole.ASSISTANT, blocks=[])
        blocks: list[Any] = list(message.blocks)
        if "".join(thoughts(message)) != self._thinking:
            others = [block for block in blocks if not isinstance(block, ThinkingBlock)]
            blocks = [ThinkingBlock(content=self._thinking), *others]
        if "".join(texts(message)) != self._text:
            before = [block for block in blocks if isinstance(block, ThinkingBlock)]
            after = [block for block in blocks if not isinstance(block, (TextBlock, ThinkingBlock))]
            blocks = [*before, TextBlock(text=self._text), *after]
        blocks += [block for block in self.more if block not in blocks]
        extra = {key: value for key, value in self._extra.items() if key != THOUGHT}
        return message.model_copy(update={"blocks": blocks, "additional_kwargs": dict(self._kwargs)}), extra


def partial(like: ChatMessage, said: str, thought: str, kwargs: dict[str, Any]) -> ChatMessage:
    """A message that says this and has thought that."""
    blocks: list[Any] = []
    if thought:
        blocks.append(ThinkingBlock(content=thought))
    if said or texts(like):
        blocks.append(TextBlock.model_construct(text=said))
    return like.model_copy(update={"blocks": blocks, "additional_kwargs": kwargs})


def texts(message: ChatMessage) -> list[str]:
    """Its blocks of text."""
    return [block.text for block in message.blocks if isinstance(block, TextBlock)]


def thoughts(message: ChatMessage) -> list[str]:
    """Its blocks of thinking."""
    return [block.content or "" for block in message.blocks if isinstance(block, ThinkingBlock)]


def _identity(block: Any) -> str | None:
    return getattr(block, "tool_call_id", None)


def _added(now: str, before: str) -> str:
    return now[len(before) :] if len(now) > len(before) and now.startswith(before) else ""
