"""SoFar: what a model has said up to here, gathered from chunks, and messages of as much of it as may be shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock

from .._versions import is_thinking, thinking, thoughts

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
        if len(said) < len(message.blocks):
            more = [block for block in message.blocks if not _is_words(block)]
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
            thought, kwargs = thinking(self._thinking)
            blocks = [*thought, *(block for block in blocks if not is_thinking(block))]
            self._kwargs |= kwargs
        if "".join(texts(message)) != self._text:
            before = [block for block in blocks if is_thinking(block)]
            after = [block for block in blocks if not _is_words(block)]
            blocks = [*before, TextBlock(text=self._text), *after]
        blocks += [block for block in self.more if block not in blocks]
        extra = {key: value for key, value in self._extra.items() if key != THOUGHT}
        return message.model_copy(update={"blocks": blocks, "additional_kwargs": dict(self._kwargs)}), extra


def partial(like: ChatMessage, said: str, thought: str, kwargs: dict[str, Any]) -> ChatMessage:
    """A message that says this and has thought that."""
    blocks: list[Any] = []
    if thought:
        blocks, more = thinking(thought)
        kwargs = {**kwargs, **more}
    if said or texts(like):
        blocks.append(TextBlock.model_construct(text=said))
    return like.model_copy(update={"blocks": blocks, "additional_kwargs": kwargs})


def texts(message: ChatMessage) -> list[str]:
    """Its blocks of text."""
    return [block.text for block in message.blocks if isinstance(block, TextBlock)]


def _is_words(block: Any) -> bool:
    return isinstance(block, TextBlock) or is_thinking(block)


def _identity(block: Any) -> str | None:
    return getattr(block, "tool_call_id", None)


def _added(now: str, before: str) -> str:
    return now[len(before) :] if len(now) > len(before) and now.startswith(before) else ""
