"""What may leave of a chunk at once: all that is no text, and of the text what a window lets go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.messages import BaseMessageChunk

from llmguard_middleware._lane import Feed, Lane

from .. import _convert as convert
from .._convert import DROP

__all__ = ["HoldError", "Sieve"]

_CALLS = frozenset(("name", "args", "arguments", "input", "partial_json"))


class HoldError(Exception):
    """From here on nothing can leave before all is there, or what comes later would be in the wrong place."""


class Sieve(convert.Walk):
    """Lets the main text and the reasoning through a window each; other texts wait for the end.

    A window is for one text. What comes after it in a second block waits, since a match may lie across the two; what
    may be JSON waits until it can be parsed.
    """

    def __init__(self, text: Feed, reasoning: Feed) -> None:
        super().__init__(self._take)
        self._lanes = {"text": Lane(text, whole_json=True), "reasoning": Lane(reasoning)}
        self._shape = ""
        self._known: set[Any] = set()  # indexes of blocks that begun
        self._calling: set[Any] = set()  # of those that are tool calls: half a call is none, so they leave whole

    def bare(self, message: BaseMessageChunk) -> BaseMessageChunk:
        """The chunk without what has to wait.

        Raises:
            HoldError: if all of it has to, and all that comes after it.
        """
        fields = message.__dict__
        content = fields["content"]
        changes: dict[str, Any] = {}
        if content:
            self._expect_place(content)
            self.path = ["content"]
            changes["content"] = self.content(content)
        elif self._shape in ("texts", "indexed"):  # or LangChain, to which nothing is a text, would put one first
            changes["content"] = []
        for name in ("additional_kwargs", "response_metadata"):
            if fields[name]:
                changes[name] = self._at(name, convert.without_logprobs(fields[name]))
        if fields.get("tool_call_chunks"):
            changes |= {"tool_call_chunks": [], "tool_calls": [], "invalid_tool_calls": []}
        for name in message.__pydantic_extra__ or ():
            changes[name] = None
        return message.model_copy(update=changes)

    def said(self, text: str) -> str:
        """What may leave of the text of a chunk that has nothing else.

        Raises:
            HoldError: as `bare`.
        """
        self._expect_shape("string")
        return self._lanes["text"].feed(("content",), text)

    def info(self, info: Any) -> Any:
        """What the provider says beside the chunk, without what has to wait."""
        return self.mapping(convert.without_logprobs(info)) if info else info

    def close(self) -> None:
        """The end is announced: what comes now waits for it."""
        for lane in self._lanes.values():
            lane.closed = True

    def _take(self, kind: convert.Kind, value: Any) -> Any:
        if kind == "unscanned":
            return value
        lane = self._lanes.get(kind)
        return DROP if lane is None else lane.feed(tuple(self.path), value)

    def _expect_place(self, content: Any) -> None:
        """Content is one string, one text in pieces, or blocks with indexes; all else has its place in a list."""
        if isinstance(content, str):
            self._expect_shape("string")
            return
        for block in content:
            self._expect_shape(_shape(block))
            if not _indexed(block):
                continue
            index = block["index"]
            if index not in self._known and not _CALLS.isdisjoint(block):
                self._calling.add(index)
            elif index not in self._known and index not in self._calling:
                if self._calling:  # a tool call waits, and this comes after it
                    raise HoldError
                self._known.add(index)

    def _expect_shape(self, shape: str) -> None:
        if not shape or (self._shape and shape != self._shape):
            raise HoldError
        self._shape = shape

    def _list(self, items: Any, each: Callable[[Any], Any]) -> Any:
        if self.path != ["content"] and not all(_indexed(item) for item in items):
            return DROP
        return super()._list(items, each)

    def _block(self, block: Any) -> Any:
        if isinstance(block, dict) and block.get("index") in self._calling:
            return DROP
        after = super()._block(block)
        # What has no index is a text of its own when LangChain adds it, be it empty.
        return DROP if not _indexed(block) and after.get("text") == "" else after

    def _item(self, key: str, value: Any, of: Mapping[str, Any], kind: convert.Kind) -> Any:
        return DROP if key in ("tool_calls", "function_call", "logprobs") else super()._item(key, value, of, kind)


def _indexed(item: Any) -> bool:
    index = item.get("index") if isinstance(item, dict) else None
    return isinstance(index, int) or (isinstance(index, str) and index.startswith("lc_"))


def _shape(block: Any) -> str:
    if _indexed(block):
        return "indexed"
    return "texts" if isinstance(block, dict) and block.keys() <= {"type", "text"} else ""
