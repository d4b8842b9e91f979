"""LangChain's messages and answers through a flow's guardrails.

A message may have several text parts. Each is judged by itself, since the next one may hide where a match ends, and
then all together, since a match may lie across two of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatResult

from llmguard_middleware import Message
from llmguard_middleware._flow import Flow
from llmguard_middleware._judge import Plan

from . import _convert as convert

__all__ = ["admitted", "released"]


def admitted(flow: Flow, messages: Sequence[BaseMessage]) -> Plan[list[BaseMessage]]:
    """The messages as they may go to the model, in copies where a text changes.

    Raises:
        GuardrailViolation: if a guardrail stops the call.
    """
    if flow.policy.at("input"):
        messages = yield from _judged(messages, flow.admit)
    else:
        flow.root.check()
    flow.call = flow.call.but(messages=tuple(convert.read(messages)))
    return list(messages)


def released(flow: Flow, result: ChatResult) -> Plan[ChatResult]:
    """The result as it may go to the caller.

    Raises:
        GuardrailViolation: if a guardrail stops the answer.
        AskAgain: if the model is to be asked again.
    """
    if flow.transparent:
        return result

    def release(texts: Sequence[Message]) -> Plan[list[str]]:
        return flow.release([text.text for text in texts], reask=True)

    messages = yield from _judged([generation.message for generation in result.generations], release)
    if not flow.root.hides and not any(rule.acts for rule in flow.rules("output")):
        return result
    return convert.with_messages(result, [convert.without_tokens(message) for message in messages])


def _judged(messages: Sequence[BaseMessage], judge: Callable[[Sequence[Message]], Plan[list[str]]]) -> Plan[Any]:
    parts = [convert.parts(message) for message in messages]
    texts = yield from judge(
        [Message(convert.role(message), part) for message, of in zip(messages, parts, strict=True) for part in of]
    )
    take = iter(texts)
    guarded = [convert.with_parts(m, [next(take) for _ in of]) for m, of in zip(messages, parts, strict=True)]
    split = [i for i, of in enumerate(parts) if len(of) > 1]
    if split:
        texts = yield from judge(convert.read([guarded[i] for i in split]))
        for i, text in zip(split, texts, strict=True):
            guarded[i] = convert.with_text(guarded[i], text)
    return guarded
