"""The texts in what a Runnable takes and gives (messages, documents, dicts, models), judged and put back in copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage

from llmguard_middleware import Message
from llmguard_middleware._call import Stage
from llmguard_middleware._contents import changing, judged_contents, restored, taking
from llmguard_middleware._flow import Flow
from llmguard_middleware._judge import Plan
from llmguard_middleware._leaves import Path, _Walk
from llmguard_middleware._together import Ask, judged_run

from .. import _convert as convert

__all__ = ["Judging", "Texts", "by_rules", "judged", "judged_message", "restoring", "unknown"]

M = TypeVar("M", bound=BaseMessage)

Texts = Callable[[Sequence[Message]], Plan[list[str]]]


@dataclass(frozen=True)
class Judging:
    """What judges what is found in a value.

    Attributes:
        texts: texts that stand for themselves, messages among them that are nothing but a text.
        parts: the parts of one text.
        message: a message that holds more.
    """

    texts: Texts
    parts: Callable[[Sequence[str]], Plan[list[str]]]
    message: Callable[[BaseMessage], Plan[BaseMessage]]


def by_rules(flow: Flow, stage: Stage, texts: Texts, *, restores: bool = False) -> Judging:
    """What judges by the rules of a stage; `restores` says whether originals of pseudonyms come back."""

    def message(one: BaseMessage) -> Plan[BaseMessage]:
        ask = partial(flow.edits, stage=stage, role=convert.role(one) if stage == "input" else "user")
        return (yield from judged_message(flow, one, ask, restores=restores))

    def parts(some: Sequence[str]) -> Plan[list[str]]:
        told = yield from judged_run(some, partial(flow.edits, stage=stage))
        return restored(flow, [("text", part) for part in some], told) if restores else told

    return Judging(texts, parts, message)


def judged_message(flow: Flow, message: M, ask: Ask, *, restores: bool = False) -> Plan[M]:
    """A message with all its texts judged, wherever its provider keeps them, in a copy if one changes.

    Raises:
        GuardrailViolation: if a guardrail stops the call.
    """
    found = convert.texts_of(message)
    texts = yield from judged_contents(flow, found, ask, [ask])
    if restores:
        texts = restored(flow, found, texts)
    told = convert.Walk(taking(texts)).message(message)
    return message if told is message else convert.without_tokens(told)


def restoring(flow: Flow) -> Judging:
    """What puts originals of pseudonyms back, and judges nothing."""

    def texts(messages: Sequence[Message]) -> Plan[list[str]]:
        yield from ()
        return [flow.restored(message.text) for message in messages]

    def parts(some: Sequence[str]) -> Plan[list[str]]:
        yield from ()
        return restored(flow, [("text", part) for part in some], list(some))

    def message(one: BaseMessage) -> Plan[BaseMessage]:
        yield from ()
        return convert.Walk(changing(flow.restored)).message(one)

    return Judging(texts, parts, message)


class _Values(_Walk):
    """The core's way through a value, which knows what of LangChain's objects is text.

    `each` is given a `Message` for a text, a list for the parts of one, or a LangChain message that holds more.
    """

    def __init__(self, each: Callable[[Any], Any]) -> None:
        super().__init__(lambda _, text: each(Message("user", text)))
        self._each = each

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
        before = [block["text"] for block in value]  # the content of a message that is not one yet
        texts = self._each(before)
        rest = [{name: one for name, one in block.items() if name not in ("text", "type")} for block in value]
        told = self._at(path, rest)
        if told is rest and texts == before:
            return value
        return [{**block, **others, "text": text} for block, others, text in zip(value, told, texts, strict=True)]

    def _message(self, path: Path, message: BaseMessage) -> BaseMessage:
        del path
        if not convert.is_plain(message):
            told: BaseMessage = self._each(message)
            return told
        text = self._each(Message(convert.role(message), message.text))
        told = convert.with_parts(message, [text])
        return message if told is message else convert.without_tokens(told)


class _Unknown(_Values):
    """The same, which looks for objects only."""

    def __init__(self) -> None:
        super().__init__(_same)

    def _message(self, path: Path, message: BaseMessage) -> BaseMessage:
        # What a provider says of its answer is its own; models and tools speak here.
        for name in ("tool_calls", "tool_call_chunks", "invalid_tool_calls", "additional_kwargs", "artifact"):
            self._at((*path, name), getattr(message, name, None))
        return message


def _same(one: Any) -> Any:
    return one.text if isinstance(one, Message) else one


def _is_text_block(value: Any) -> bool:
    return isinstance(value, dict) and value.get("type") == "text" and isinstance(value.get("text"), str)


def judged(value: Any, by: Judging) -> Plan[Any]:
    """The value as it may go on, in copies where a text changes; the value itself if none does.

    Raises:
        GuardrailViolation: if a guardrail stops the call.
        ConfigurationError: if the value contains itself, or is nested too deeply.
    """
    found: list[Any] = []

    def note(one: Any) -> Any:
        found.append(one)
        return _same(one)

    _Values(note).start(value)
    told = list(map(_same, found))
    changed = False
    for i, one in enumerate(found):
        if isinstance(one, Message):
            continue
        told[i] = yield from (by.parts(one) if isinstance(one, list) else by.message(one))
        changed = changed or (told[i] != one if isinstance(one, list) else told[i] is not one)
    alone = [i for i, one in enumerate(found) if isinstance(one, Message)]
    if alone:
        texts = yield from by.texts([found[i] for i in alone])
        for i, text in zip(alone, texts, strict=True):
            changed = changed or text != told[i]
            told[i] = text
    if not changed:
        return value
    source = iter(told)
    return _Values(lambda _: next(source)).start(value)


def unknown(value: Any) -> list[str]:
    """The names of the types inside `value` that may hold texts which nobody can find."""
    walk = _Unknown()
    walk.start(value)
    return walk.opaque
