"""Every text of a message, wherever its provider keeps it, and the message with others in their place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from langchain_core.messages import BaseMessage

from llmguard_middleware._known_fields import is_fact
from llmguard_middleware._text_walk import DROP, Kind, TextWalk

from ._messages import role

__all__ = ["DROP", "Kind", "Walk", "is_plain", "texts_of"]

M = TypeVar("M", bound=BaseMessage)

_FIELDS = (
    "content",
    "additional_kwargs",
    "tool_calls",
    "invalid_tool_calls",
    "tool_call_chunks",
    "response_metadata",
    "artifact",
)


def is_plain(message: BaseMessage) -> bool:
    """Whether a message is one string and nothing else that could hold a text: the usual case, at no cost."""
    fields = message.__dict__
    content = fields["content"]
    if type(content) is not str or "\\" in content or content[:1] in ("{", "[", " ", "\n"):
        return False
    if fields["additional_kwargs"] or fields.get("tool_calls") or fields.get("invalid_tool_calls"):
        return False
    if fields.get("artifact") is not None or message.__pydantic_extra__ or fields.get("name"):
        return False
    metadata = fields["response_metadata"]
    return not metadata or all(is_fact(key, value) for key, value in metadata.items())


def texts_of(*holders: BaseMessage | Mapping[str, Any] | None) -> list[tuple[Kind, Any]]:
    """Every text of messages (or of what a provider says beside them), in order, with its kind."""
    found: list[tuple[Kind, Any]] = []

    def note(kind: Kind, value: Any) -> Any:
        found.append((kind, value))
        return value

    walk = Walk(note)
    for holder in holders:
        if isinstance(holder, BaseMessage):
            walk.message(holder)
        elif holder:
            walk.mapping(holder)
    return found


class Walk(TextWalk):
    """One way through messages, on which each text may be changed; what stays the same is not copied."""

    def message(self, message: M) -> M:
        """The message with its texts changed."""
        fields = message.__dict__
        changes = {name: new for name in _FIELDS if (new := self._at(name, fields.get(name))) is not fields.get(name)}
        if (name := fields.get("name")) and role(message) in ("user", "system"):  # others are named by the program
            changes["name"] = self._change("name", name)
        extra = message.__pydantic_extra__ or {}
        changes.update({key: new for key, value in extra.items() if (new := self._at(key, value)) is not value})
        return message.model_copy(update=changes) if changes else message

    def _at(self, name: str, value: Any) -> Any:
        self.path = [name]
        if not value:
            return value
        if name == "content":
            return self.content(value)
        if name == "artifact":
            return self._change("value", value)
        return self._item(name, value, {}, "other")
