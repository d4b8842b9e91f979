"""What a tool is given, and what tools and retrievers give, through a flow's guardrails."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from langchain_core.documents import Document

from llmguard_middleware import Message
from llmguard_middleware._call import Stage
from llmguard_middleware._flow import Flow
from llmguard_middleware._judge import Plan

from ._values import judged, unknown

__all__ = ["arguments", "at", "documents", "result"]


def arguments(flow: Flow, said: Mapping[str, Any]) -> Plan[dict[str, Any]]:
    """The arguments as they may reach the tool.

    Raises:
        GuardrailViolation: if a guardrail stops the call.
    """
    flow.root.check()
    told = yield from judged(list(said.values()), at(flow, "tool_call"))
    return dict(zip(said, told, strict=True))


def result(flow: Flow, given: Any, where: str) -> Plan[Any]:
    """What a tool gives, as it may, in copies where a text changes; `where` is what judges it, for people.

    Raises:
        GuardrailViolation: if a guardrail stops it.
        UnenforceableError: if it holds what nobody can look into, and a guardrail acts.
    """
    flow.root.check()
    rules = [rule for rule in flow.rules("tool_result") if rule.acts]
    if rules and (kinds := unknown(given)):
        where = f"{where}, whose result holds a {kinds[0]} that nobody can look into,"
        flow.guard.refuse(rules, where, "let it return texts, messages, documents, dicts or models")
    return (yield from judged(given, at(flow, "tool_result")))


def documents(flow: Flow, found: Sequence[Document]) -> Plan[Sequence[Document]]:
    """The documents as they may leave, in copies where a text changes: no store changes.

    Raises:
        GuardrailViolation: if a guardrail stops one of them.
    """
    flow.root.check()
    yield from flow.settle_races()
    texts = [document.page_content for document in found]
    told = yield from _returned(flow, texts, "retrieval")
    if told == texts:
        return found
    return [
        document if before == after else document.model_copy(update={"page_content": after})
        for document, before, after in zip(found, texts, told, strict=True)
    ]


def at(flow: Flow, stage: Stage) -> Callable[[Sequence[Message]], Plan[list[str]]]:
    """What judges the texts of a tool's arguments or result."""
    judge = flow.judge_all if stage == "tool_call" else partial(_returned, flow)
    return lambda messages: judge([message.text for message in messages], stage)


def _returned(flow: Flow, texts: Sequence[str], stage: Stage) -> Plan[list[str]]:
    """What comes out of a retriever or a tool, as it may, with the originals of what went in as pseudonyms."""
    told = yield from flow.judge_all(texts, stage)
    if any(rule.action == "pseudonymize" for rule in flow.rules(stage)):
        return told  # the caller is to work with these
    return [flow.restored(text) for text in told]
