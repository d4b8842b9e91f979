"""What a tool is given, and what tools and retrievers give, through a flow's guardrails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from langchain_core.documents import Document

from llmguard_middleware._call import Stage
from llmguard_middleware._flow import Flow
from llmguard_middleware._judge import Plan
from llmguard_middleware._together import judged_numbers, judged_text, judged_values

from ._values import Judging, by_rules, judged, unknown

__all__ = ["arguments", "at", "documents", "given_back", "result"]


def arguments(flow: Flow, said: Mapping[str, Any]) -> Plan[dict[str, Any]]:
    """The arguments as they may reach the tool.

    Raises:
        GuardrailViolation: if a guardrail stops the call.
    """
    flow.root.check()
    told = yield from judged(list(said.values()), at(flow, "tool_call"))
    if flow.rules("tool_call"):  # a model may choose a number as it may choose a text
        told = yield from judged_numbers(told, partial(flow.edits, stage="tool_call"))
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
    return (yield from given_back(flow, given))


def given_back(flow: Flow, given: Any) -> Plan[Any]:
    """What a tool gives, as it may: LangChain makes a text of numbers for the model, so they are judged like texts."""
    told = yield from judged(given, at(flow, "tool_result"))
    if not flow.rules("tool_result") or isinstance(told, str):
        return told
    return (yield from judged_numbers(told, partial(flow.edits, stage="tool_result"), together=False))


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


def at(flow: Flow, stage: Stage) -> Judging:
    """What judges a tool's arguments or result."""
    if stage == "tool_call":
        ask = partial(flow.edits, stage=stage)
        return by_rules(flow, stage, lambda messages: judged_values([message.text for message in messages], ask))
    return by_rules(
        flow,
        stage,
        lambda messages: _returned(flow, [message.text for message in messages], stage),
        restores=not _pseudonymizes(flow, stage),
    )


def _returned(flow: Flow, texts: Sequence[str], stage: Stage) -> Plan[list[str]]:
    """What comes out of a retriever or a tool, as it may, with the originals of what went in as pseudonyms."""
    ask = partial(flow.edits, stage=stage)
    told: list[str] = []
    for text in texts:
        told.append((yield from judged_text(text, ask)) if text else text)  # noqa: PERF401 - a comprehension cannot yield
    if _pseudonymizes(flow, stage):
        return told  # the caller is to work with these
    return [flow.restored(text) for text in told]


def _pseudonymizes(flow: Flow, stage: Stage) -> bool:
    return any(rule.action == "pseudonymize" for rule in flow.rules(stage))
