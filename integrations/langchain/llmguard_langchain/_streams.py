"""The stream of a Runnable through the output guardrails: texts, chunks of messages, and whatever else."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import BaseMessage, BaseMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from llmguard_middleware._flow import Flow
from llmguard_middleware._guarded_stream import GuardedStream
from llmguard_middleware._items import judged_items
from llmguard_middleware._steps import END, Emit, Judge, Pull, Steps

from ._chunks import ChunkGate
from ._outer import around, released

__all__ = ["freed", "pieces"]


def pieces(flow: Flow, source: Any) -> Steps[Any]:  # noqa: C901 - one loop, whose order is the point
    """Emit what the source gives; returns all of it.

    Texts and the texts of message chunks go through a guarded stream; other items wait for the end if a rule may act.
    """
    text = flow.stream()
    gate = ChunkGate(text)
    said: list[str] = []
    others: list[Any] = []
    chunks = False
    pull = Pull(around(flow), source)
    while (item := (yield pull)) is not END:
        if isinstance(item, str) and not others:
            told = text.feed(item)
            if text.racing:
                told += yield Judge(flow.guard, text.settle())
            said.append(told)
            if told or not item:
                yield Emit(told)
        elif isinstance(item, BaseMessageChunk) and not others:
            chunks = True
            for free in (yield from freed(flow, gate, text, item)):
                yield Emit(free)
        else:
            others.append(item)
            if not text.acts:
                yield Emit(item)
    if chunks:
        for last in gate.finish((yield Judge(flow.guard, text.finish()))):
            yield Emit(last.message)
        said.append(gate.answer()["output"])
    elif rest := (yield Judge(flow.guard, text.finish())):
        said.append(rest)
        yield Emit(rest)
    if others:
        others = yield from _late(flow, others, text)
    spoken = "".join(said)
    return [*([spoken] if spoken else []), *others] if others else spoken


def freed(flow: Flow, gate: ChunkGate, text: GuardedStream, item: BaseMessageChunk) -> Steps[list[Any]]:
    """What may leave once this chunk of a message is here."""
    free = [chunk.message for chunk in gate.feed(ChatGenerationChunk(message=item))]
    if text.racing:
        free += [chunk.message for chunk in gate.settled((yield Judge(flow.guard, text.settle())))]
    return free


def _late(flow: Flow, items: list[Any], text: GuardedStream) -> Steps[list[Any]]:
    """Judge the items that are no text: as pieces of one value, and each as one of its own, for they may be either."""
    if len(items) > 1 and not all(isinstance(item, BaseMessage) for item in items):
        items = yield from judged_items(flow, items)
        if not text.acts:
            return items
    told = []
    for item in items:
        told.append((yield Judge(flow.guard, released(flow, item))))  # noqa: PERF401 - a comprehension cannot yield
    if text.acts:
        for item in told:
            yield Emit(item)
    return told
