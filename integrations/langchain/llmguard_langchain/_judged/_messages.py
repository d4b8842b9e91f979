"""LangChain's messages and answers through a flow's guardrails.

A message says something (its text parts), may show what a model thought, and may hold more: tool calls, citations,
results, facts of the provider that quote the answer. All of it is judged, each kind by itself: parts of a text one by
one and run together, what stands side by side a line each and run together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from llmguard_middleware import Message
from llmguard_middleware._contents import asks_of_calls, is_silent, judged_contents, restored, taking
from llmguard_middleware._edits import apply
from llmguard_middleware._flow import Flow
from llmguard_middleware._judge import Plan
from llmguard_middleware._known_fields import is_fact

from .. import _convert as convert

__all__ = ["admitted", "beside", "examined", "released"]


def admitted(flow: Flow, messages: Sequence[BaseMessage]) -> Plan[list[BaseMessage]]:
    """The messages as they may go to the model, in copies where a text changes.

    Raises:
        GuardrailViolation: if a guardrail stops the call.
    """
    if flow.policy.bare:
        if flow.violated:
            flow.root.check()
        return list(messages)  # nobody asks for their texts
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
            texts = yield from judged_contents(flow, found, ask, [ask])
            guarded.append(convert.Walk(taking(texts)).message(message))
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
    if flow.policy.of_call:
        flow.told(**convert.answer(result.generations, result.llm_output))
    generations: list[ChatGeneration] = []
    for generation in result.generations:
        generations.append((yield from _answer(flow, generation)))  # noqa: PERF401 - a comprehension cannot yield
    if not flow.acts:
        return result
    # LangChain puts this into the message of a single answer.
    told = yield from beside(flow, result.llm_output)
    return result.model_copy(update={"generations": generations, "llm_output": told})


def beside(flow: Flow, said: dict[str, Any] | None) -> Plan[dict[str, Any] | None]:
    """What a provider says beside its answers, as it may go to the caller.

    Raises:
        GuardrailViolation: if a guardrail stops it.
    """
    if not said or not _speaks(said) or not (found := convert.texts_of(said)):
        return said
    ask = partial(flow.edits_beside, stage="output")
    texts = restored(flow, found, (yield from judged_contents(flow, found, ask, [ask])))
    told: dict[str, Any] = convert.Walk(taking(texts)).mapping(said)
    return told


def _speaks(said: Mapping[str, Any]) -> bool:
    """Whether there is anything but counts and facts, which are nearly all that providers say; found out at once."""
    for key, value in said.items():
        if isinstance(value, Mapping):
            if _speaks(value):
                return True
        elif not is_fact(key, value):
            return True
    return False


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
        if is_silent(found):
            yield from ask("")
        else:
            yield from judged_contents(flow, found, ask, asks_of_calls(flow, ask))


def _answer(flow: Flow, generation: ChatGeneration) -> Plan[ChatGeneration]:
    message, info = generation.message, generation.generation_info
    found = convert.texts_of(message, info)
    ask = partial(flow.edits, stage="output", reask=True)
    if is_silent(found):
        text = apply("", (yield from ask("")))
        message = message.model_copy(update={"content": text}) if text else message
    else:
        texts = yield from judged_contents(flow, found, ask, asks_of_calls(flow, ask))
        walk = convert.Walk(taking(restored(flow, found, texts)))
        message, info = walk.message(message), info and walk.mapping(info)
    if not flow.acts:
        return generation
    # A generation derives its `text` from its message when it is validated, so it is made anew.
    return type(generation)(message=convert.without_tokens(message), generation_info=convert.without_logprobs(info))
