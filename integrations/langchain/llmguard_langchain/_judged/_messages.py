"""LangChain's messages and answers through a flow's guardrails.

A message says something (its text parts), may show what a model thought, and may hold more: tool calls, citations,
results, facts of the provider that quote the answer. All of it is judged, each kind by itself: parts of a text one by
one and run together, what stands side by side a line each and run together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from llmguard_middleware import Message
from llmguard_middleware._edits import Edit, apply
from llmguard_middleware._flow import Flow
from llmguard_middleware._json_text import tokens, with_tokens
from llmguard_middleware._judge import Plan
from llmguard_middleware._leaves import leaves, with_leaves
from llmguard_middleware._together import Ask, judged_call, judged_lines, judged_run, judged_text, judged_value

from .. import _convert as convert

__all__ = ["admitted", "examined", "released"]

_NO_NAME = re.compile(r"[^\w-]+")


def admitted(flow: Flow, messages: Sequence[BaseMessage]) -> Plan[list[BaseMessage]]:
    """The messages as they may go to the model, in copies where a text changes.

    Raises:
        GuardrailViolation: if a guardrail stops the call.
    """
    if not flow.policy.at("input"):
        flow.root.check()
        guarded = list(messages)
    elif all(map(convert.is_plain, messages)):
        said = [Message(convert.role(m), m.__dict__["content"]) for m in messages]
        texts = yield from flow.admit(said)
        if all(text == one.text for text, one in zip(texts, said, strict=True)):
            return list(messages)  # which the flow knows by now
        guarded = [convert.with_parts(message, [text]) for message, text in zip(messages, texts, strict=True)]
    else:
        flow.root.check()
        flow.call = flow.call.but(messages=tuple(convert.read(messages)))  # which scorers may ask for
        guarded = []
        for message in messages:
            ask = partial(flow.edits, stage="input", role=convert.role(message))
            found = convert.texts_of(message)
            texts = yield from _judged(flow, found, ask, [ask])
            guarded.append(convert.Walk(_taking(texts)).message(message))
    flow.call = flow.call.but(messages=tuple(convert.read(guarded)))
    return guarded


def released(flow: Flow, result: ChatResult) -> Plan[ChatResult]:
    """The result as it may go to the caller.

    The arguments of tool calls are judged as what the caller gets and as what goes to a tool.

    Raises:
        GuardrailViolation: if a guardrail stops the answer.
        AskAgain: if the model is to be asked again.
    """
    if flow.transparent:
        return result
    flow.root.check()
    yield from flow.settle_races()
    generations: list[ChatGeneration] = []
    for generation in result.generations:
        generations.append((yield from _answer(flow, generation)))  # noqa: PERF401 - a comprehension cannot yield
    return result.model_copy(update={"generations": generations}) if flow.acts else result


def examined(flow: Flow, messages: Sequence[tuple[BaseMessage, dict[str, Any] | None]]) -> Plan[None]:
    """Candidates judged as `released` judges them, for who can stop an answer and not change it.

    Args:
        flow: whose rules change nothing.
        messages: each with what the provider says beside it.

    Raises:
        GuardrailViolation: if a guardrail stops one of them.
    """
    flow.root.check()
    yield from flow.settle_races()
    ask = partial(flow.edits, stage="output")
    for message, info in messages:
        found = convert.texts_of(message, info)
        if _silent(found):
            yield from ask("")
        else:
            yield from _judged(flow, found, ask, _asks_of_calls(flow, ask))


def _answer(flow: Flow, generation: ChatGeneration) -> Plan[ChatGeneration]:
    message, info = generation.message, generation.generation_info
    found = convert.texts_of(message, info)
    ask = partial(flow.edits, stage="output", reask=True)
    if _silent(found):
        text = apply("", (yield from ask("")))
        message = message.model_copy(update={"content": text}) if text else message
    else:
        texts = yield from _judged(flow, found, ask, _asks_of_calls(flow, ask))
        walk = convert.Walk(_taking(_restored(flow, found, texts)))
        message, info = walk.message(message), info and walk.mapping(info)
    if not flow.acts:
        return generation
    # A generation derives its `text` from its message when it is validated, so it is made anew.
    return type(generation)(message=convert.without_tokens(message), generation_info=convert.without_logprobs(info))


Found = Sequence[tuple[convert.Kind, Any]]


def _silent(found: Found) -> bool:
    """Whether an answer says nothing, which may be wrong, too."""
    return not any(value for _, value in found)


def _asks_of_calls(flow: Flow, ask: Ask) -> list[Ask]:
    """What judges the tool calls of an answer: as what the caller gets and as what goes to a tool."""
    return [ask, partial(flow.edits, stage="tool_call")] if flow.rules("tool_call") else [ask]


def _judged(flow: Flow, found: Found, ask: Ask, call_asks: Sequence[Ask]) -> Plan[list[Any]]:
    """What takes the place of the texts that were found; `call_asks` judge tool calls, one after the other."""
    told = [value for _, value in found]
    at = _Places(found)
    if at["unscanned"]:
        flow.span.not_scanned({told[i] for i in at["unscanned"]})
    at.put(told, "text", (yield from judged_run(at.of(told, "text"), ask)))
    at.put(told, "reasoning", (yield from judged_lines(at.of(told, "reasoning"), ask)))
    at.put(told, "other", (yield from judged_lines(at.of(told, "other"), ask)))
    for i in at["value"]:
        told[i] = yield from judged_value(told[i], ask)
    for i in at["name"]:
        if (name := (yield from judged_text(told[i], ask))) != told[i]:
            told[i] = _NO_NAME.sub("", name) or None  # or the provider would refuse it
    for call_ask in map(_once, call_asks) if at["call"] else ():
        for i in at["call"]:
            name, arguments = told[i]
            told[i] = yield from judged_call(name, arguments, call_ask)
    return told


def _once(ask: Ask) -> Ask:
    """Has each text judged once: a provider writes a tool call down in several places."""
    known: dict[str, Sequence[Edit]] = {}

    def asked(text: str) -> Plan[Sequence[Edit]]:
        if text not in known:
            known[text] = yield from ask(text)
        return known[text]

    return asked


def _restored(flow: Flow, found: Found, told: list[Any]) -> list[Any]:
    """The texts with the originals of their pseudonyms back in; in tool calls, of those that tools may see."""
    if not flow.root.hides:
        return told
    at = _Places(found)
    for kind in ("text", "reasoning", "other"):
        texts = at.of(told, kind)
        back = [flow.restored(text) for text in texts]
        if kind == "text" and (whole := flow.restored("".join(back))) != "".join(back):
            back = [whole, *[""] * (len(back) - 1)]  # a placeholder was across parts
        at.put(told, kind, back)
    for i in at["value"]:
        told[i] = _with_restored(told[i], flow.restored)
    for i in at["call"]:
        name, arguments = told[i]
        told[i] = (name, _with_restored(arguments, partial(flow.restored, tools=True)))
    return told


def _with_restored(value: Any, restored: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        found = tokens(value)
        return with_tokens(value, found, [restored(token.text) for token in found])
    return with_leaves(value, [restored(text) for text in leaves(value)])


class _Places(dict[str, list[int]]):
    """By kind, where among all texts those of this kind are."""

    def __init__(self, found: Found) -> None:
        for i, (kind, _) in enumerate(found):
            self.setdefault(kind, []).append(i)

    def __missing__(self, kind: str) -> list[int]:
        return []

    def of(self, told: Sequence[Any], kind: str) -> list[Any]:
        """Those of a kind."""
        return [told[i] for i in self[kind]]

    def put(self, told: list[Any], kind: str, texts: Sequence[Any]) -> None:
        """Others in their place."""
        for i, text in zip(self[kind], texts, strict=True):
            told[i] = text


def _taking(texts: Sequence[Any]) -> Callable[[convert.Kind, Any], Any]:
    rest = iter(texts)
    return lambda _, __: next(rest)
