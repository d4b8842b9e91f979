"""Every text of LlamaIndex's messages and of what stands beside them, and copies with others in their place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.schema import BaseNode
from pydantic import BaseModel

from llmguard_middleware._known_fields import MEDIA
from llmguard_middleware._text_walk import Kind, TextWalk

__all__ = ["Walk", "texts_of"]

# By the `block_type` of a content block: what of its fields is a text, and of which kind. Blocks are known by it and
# not by their class, since LlamaIndex adds classes from release to release.
_TEXTS: Mapping[str, Mapping[str, Kind]] = {
    "text": {"text": "text"},
    "thinking": {"content": "reasoning"},
    "citable": {"title": "other", "source": "other"},
    "citation": {"title": "other", "source": "other"},
    **{said: {"url": "other", "title": "other"} for said in ("image", "audio", "video", "document")},
}
_NESTED = {"citable": "content", "citation": "cited_content"}
_FACTS = frozenset(("block_type", "num_tokens", "cache_control", "additional_location_info"))
_UNTITLED = "input_document"  # what LlamaIndex calls a document that has no title


def texts_of(message: ChatMessage, extra: Mapping[str, Any] | None = None) -> list[tuple[Kind, Any]]:
    """Every text of a message, and of what a provider says beside it, in order, with its kind."""
    found: list[tuple[Kind, Any]] = []

    def note(kind: Kind, value: Any) -> Any:
        found.append((kind, value))
        return value

    walk = Walk(note)
    walk.message(message)
    if extra:
        walk.mapping(extra)
    return found


class Walk(TextWalk):
    """One way through messages, on which each text may be changed; what stays the same is not copied."""

    def message(self, message: ChatMessage) -> ChatMessage:
        """The message with its texts changed."""
        changes: dict[str, Any] = {}
        blocks = self._list(message.blocks, self.block)
        if blocks is not message.blocks:
            changes["blocks"] = blocks
        if (kwargs := message.additional_kwargs) and (told := self._kwargs(message)) is not kwargs:
            changes["additional_kwargs"] = told
        return message.model_copy(update=changes) if changes else message

    def _kwargs(self, message: ChatMessage) -> Any:
        kwargs = message.additional_kwargs
        name = kwargs.get("name")
        if not isinstance(name, str) or not name:
            return self.mapping(kwargs)
        # Assistants and tools are named by the program.
        after = self._change("name", name) if message.role.value in ("user", "system", "developer") else name
        others = {key: value for key, value in kwargs.items() if key != "name"}
        told = self.mapping(others)
        if told is others and after is name:
            return kwargs
        return {key: after if key == "name" else told[key] for key in kwargs}

    def block(self, block: Any, kind: Kind = "text") -> Any:
        """A content block with its texts changed; `kind` is that of what it says."""
        said = getattr(block, "block_type", "")
        media = MEDIA.get(said, "")
        if media:
            self._change("unscanned", media)
            self._media.append(media)
        changes = {
            name: new for name, value in _fields(block) if (new := self._field(said, name, value, kind)) is not value
        }
        if said == "tool_call":
            changes |= self._tool_call(block)
        if media:
            self._media.pop()
        return block.model_copy(update=changes) if changes else block

    def _field(self, said: str, name: str, value: Any, kind: Kind) -> Any:
        if value is None or name in _FACTS or (name == "title" and value == _UNTITLED):
            return value
        if (own := _TEXTS.get(said, {}).get(name)) is not None:
            text = str(value)  # an address is an object of its own
            told = self._text(name, text, {}, kind if own == "text" else own)
            return value if told == text else told
        if name == _NESTED.get(said):
            return self._list(value, self._inner) if isinstance(value, list) else self._inner(value)
        if said in MEDIA or (said == "tool_call" and name in ("tool_name", "tool_kwargs", "tool_call_id")):
            return value  # what it holds, or where: nobody looks at that
        return self._item(name, value, {}, "reasoning" if said == "thinking" else "other")

    def _inner(self, block: Any) -> Any:
        """A block inside another one, which the message does not say itself."""
        return self.block(block, "other")

    def _tool_call(self, block: Any) -> dict[str, Any]:
        name, arguments = self._change("call", (block.tool_name, block.tool_kwargs))
        after = {"tool_name": name, "tool_kwargs": arguments}
        return {key: value for key, value in after.items() if value is not getattr(block, key)}

    def _object(self, value: Any, kind: Kind) -> Any:
        """A provider's own objects are looked at as mappings are."""
        if not isinstance(value, BaseModel):
            return super()._object(value, kind)
        picture = isinstance(value, BaseNode)  # as older code passes images
        if picture:
            self._media.append("image")
        fields = dict(_fields(value))
        after = self._dict(fields, "reasoning" if kind == "reasoning" else "other")
        if picture:
            self._media.pop()
        changes = {name: new for name, new in after.items() if new is not fields[name]}
        return value.model_copy(update=changes) if changes else value


def _fields(model: BaseModel) -> list[tuple[str, Any]]:
    return [*vars(model).items(), *(model.__pydantic_extra__ or {}).items()]
