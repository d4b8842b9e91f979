"""What is asked of a model, through a flow's guardrails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from llama_index.core.base.llms.types import ChatMessage, TextBlock

from llmguard_middleware import Message, Stage
from llmguard_middleware._contents import changing, judged_contents, taking
from llmguard_middleware._flow import Flow
from llmguard_middleware._judge import Plan

from ._walk import Walk, texts_of

__all__ = ["admitted", "edited", "judged_message", "read", "text_of"]

_ROLES = {"developer": "system", "chatbot": "assistant", "model": "assistant", "function": "tool"}


def admitted(flow: Flow, messages: Sequence[ChatMessage]) -> Plan[Sequence[ChatMessage]]:
    """The messages as they may go to the model, in copies where a text changes; the caller's own list if none does.

    Raises:
        GuardrailViolation: if a guardrail stops the call.
    """
    if not isinstance(messages, (list, tuple)):
        messages = list(messages)  # it may be an iterator
    if not flow.policy.at("input"):
        flow.root.check()
        flow.call = flow.call.but(messages=tuple(read(messages)))
        return messages
    if all(map(_is_plain, messages)):
        said = read(messages)
        texts = yield from flow.admit(said)
        guarded = [
            message if text == one.text else message.model_copy(update={"blocks": [_with_text(message, text)]})
            for message, text, one in zip(messages, texts, said, strict=True)
        ]
    else:
        flow.root.check()
        flow.call = flow.call.but(messages=tuple(read(messages)))  # which scorers may ask for
        guarded = []
        for message in messages:
            guarded.append((yield from judged_message(flow, message, "input")))
        flow.call = flow.call.but(messages=tuple(read(guarded)))
    return messages if all(a is b for a, b in zip(messages, guarded, strict=True)) else guarded


def judged_message(flow: Flow, message: ChatMessage, stage: Stage) -> Plan[ChatMessage]:
    """One message as it may go on, by the guardrails of a stage; itself if nothing changes.

    Raises:
        GuardrailViolation: if a guardrail stops the call.
    """
    ask = partial(flow.edits, stage=stage, role=_role(message))
    told = yield from judged_contents(flow, texts_of(message), ask, [ask])
    return Walk(taking(told)).message(message)


def edited(message: ChatMessage, change: Callable[[str], str]) -> ChatMessage:
    """The message with each of its texts changed by itself."""
    return Walk(changing(change)).message(message)


def text_of(message: ChatMessage) -> str:
    """What a message says, without thinking, calls and the rest."""
    return message.content or ""


def read(messages: Sequence[ChatMessage]) -> list[Message]:
    """One core message for each message."""
    return [Message(_role(message), text_of(message)) for message in messages]


def _role(message: ChatMessage) -> str:
    role = str(getattr(message.role, "value", message.role))
    return _ROLES.get(role, role)


def _is_plain(message: ChatMessage) -> bool:
    """Whether a message is one text and nothing else that could hold one: the usual case, at no cost."""
    blocks = message.blocks
    if len(blocks) != 1 or type(blocks[0]) is not TextBlock or message.additional_kwargs:
        return False
    text = blocks[0].text
    return "\\" not in text and text[:1] not in ("{", "[", " ", "\n")


def _with_text(message: ChatMessage, text: str) -> TextBlock:
    return message.blocks[0].model_copy(update={"text": text})  # type: ignore[return-value]  # as `_is_plain` says
