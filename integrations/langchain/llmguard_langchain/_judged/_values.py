"""The texts in what a Runnable takes and gives (messages, documents, dicts, models), judged and put back in copies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage

from llmguard_middleware import Message
from llmguard_middleware._judge import Plan
from llmguard_middleware._leaves import Path, _Walk

from .. import _convert as convert

__all__ = ["Judge", "judged", "unknown"]

Judge = Callable[[Sequence[Message]], Plan[list[str]]]

# The fields of messages in which models and tools say something; the others are identifiers and counters.
_SPEAKING = ("tool_calls", "tool_call_chunks", "invalid_tool_calls", "additional_kwargs", "artifact")


class _Values(_Walk):
    """The core's way through a value, which knows what of LangChain's objects is text.

    The text parts of one message are one `unit`: each is judged by itself, and then all together.
    """

    def __init__(self, change: Callable[[Path, str], str]) -> None:
        super().__init__(change)
        self.units: list[tuple[str, int]] = []  # role and number of parts
        self._change_part = change
        self._change = self._alone

    def _alone(self, path: Path, text: str) -> str:
        self.units.append(("user", 1))
        return self._change_part(path, text)

    def _inside(self, path: Path, value: Any) -> Any:
        if isinstance(value, BaseMessage):
            return self._message(path, value)
        if isinstance(value, Document):
            text = self._change(path, value.page_content)
            return value if text == value.page_content else value.model_copy(update={"page_content": text})
        if type(value).__name__ == "Send" and hasattr(value, "arg"):  # LangGraph's
            arg = self._at(path, value.arg)
            return value if arg is value.arg else type(value)(value.node, arg)
        return super()._inside(path, value)

    def _sequence(self, path: Path, value: Any) -> Any:
        if not (isinstance(value, list) and len(value) > 1 and all(map(_is_text_block, value))):
            return super()._sequence(path, value)
        self.units.append(("user", len(value)))  # the content of a message that is not one yet
        texts = [self._change_part(path, block["text"]) for block in value]
        rest = [{name: one for name, one in block.items() if name not in ("text", "type")} for block in value]
        told = self._at(path, rest)
        if told is rest and all(text == block["text"] for text, block in zip(texts, value, strict=True)):
            return value
        return [{**block, **others, "text": text} for block, others, text in zip(value, told, texts, strict=True)]

    def _message(self, path: Path, message: BaseMessage) -> BaseMessage:
        before, parts = message, convert.parts(message)
        self.units.append((convert.role(message), len(parts)))
        message = convert.with_parts(message, [self._change_part(path, part) for part in parts])
        fields = {name: value for name in _SPEAKING if (value := getattr(message, name, None))}
        changes: dict[str, Any] = {}
        for name, value in fields.items():
            told = self._calls(path, value) if name.endswith(("calls", "chunks")) else self._at((*path, name), value)
            if told is not value:
                changes[name] = told
        if changes:
            message = message.model_copy(update=changes)
        return message if message is before else convert.without_tokens(message)

    def _calls(self, path: Path, calls: Sequence[Any]) -> Any:
        told = [{**call, "args": self._at((*path, "args"), call.get("args"))} for call in calls]
        return told if any(new["args"] is not old.get("args") for new, old in zip(told, calls, strict=True)) else calls


def _is_text_block(value: Any) -> bool:
    return isinstance(value, dict) and value.get("type") == "text" and isinstance(value.get("text"), str)


def judged(value: Any, judge: Judge) -> Plan[Any]:
    """The value as it may go on, in copies where a text changes; the value itself if none does.

    Raises:
        GuardrailViolation: if a guardrail stops the call.
        ConfigurationError: if the value contains itself, or is nested too deeply.
    """
    found: list[str] = []

    def note(_: Path, text: str) -> str:
        found.append(text)
        return text

    walk = _Values(note)
    walk.start(value)
    if not found:
        return value
    roles = [role for role, size in walk.units for _ in range(size)]
    told = yield from judge([Message(role, text) for role, text in zip(roles, found, strict=True)])
    split = [(role, at, size) for (role, size), at in zip(walk.units, _starts(walk.units), strict=True) if size > 1]
    if split:  # a match may lie across parts
        whole = ["".join(told[at : at + size]) for _, at, size in split]
        again = yield from judge([Message(role, text) for (role, _, _), text in zip(split, whole, strict=True)])
        for (_, at, size), before, after in zip(split, whole, again, strict=True):
            if after != before:
                told[at : at + size] = [after, *[""] * (size - 1)]
    if told == found:
        return value
    source = iter(told)
    return _Values(lambda _, __: next(source)).start(value)


def _starts(units: Sequence[tuple[str, int]]) -> Iterator[int]:
    at = 0
    for _, size in units:
        yield at
        at += size


def unknown(value: Any) -> list[str]:
    """The names of the types inside `value` that may hold texts which nobody can find."""
    walk = _Values(lambda _, text: text)
    walk.start(value)
    return walk.opaque
