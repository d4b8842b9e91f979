"""The stream of a Runnable through the output guardrails: texts, chunks of messages, and whatever else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import chain, pairwise
from operator import add
from typing import Any

from langchain_core.messages import BaseMessage, BaseMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from llmguard_middleware._flow import Flow
from llmguard_middleware._guarded_stream import GuardedStream
from llmguard_middleware._items import extends, judged_items
from llmguard_middleware._steps import END, Emit, Judge, Pull, Steps

from ..._judged import ChunkGate
from .._outer import around, released

__all__ = ["freed", "pieces"]


def pieces(flow: Flow, source: Any) -> Steps[Any]:  # noqa: C901 - one loop, whose order is the point
    """Emit what the source gives; returns all of it.

    Texts and the texts of message chunks go through a guarded stream; other items wait for the end if a rule may act.
    """
    text = flow.stream()
    gate: ChunkGate | None = None
    said: list[str] = []
    others: list[Any] = []
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
            gate = gate or ChunkGate(text)
            for free in (yield from freed(flow, gate, text, item)):
                yield Emit(free)
        else:
            others.append(item)
            if not text.acts:
                yield Emit(item)
    if gate is not None:
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
    """Judge the items that are no text, once all are there: as LangChain would put them together."""
    if _grow(items):
        told = yield from _states(flow, items)
        if len(told) == len(items):  # nothing of it had to be edited, if each says all that was said
            told = yield from judged_items(flow, told)
    else:
        told = items
        if len(items) > 1 and not all(isinstance(item, BaseMessage) for item in items):
            told = yield from judged_items(flow, items)
        if text.acts or told is items:
            told = yield from _each(flow, told)
    if text.acts:
        for item in told:
            yield Emit(item)
    return told


def _each(flow: Flow, items: Sequence[Any]) -> Steps[list[Any]]:
    told = []
    for item in items:
        told.append((yield Judge(flow.guard, released(flow, item))))  # noqa: PERF401 - a comprehension cannot yield
    return told


def _states(flow: Flow, items: Sequence[Any]) -> Steps[list[Any]]:
    """Items with parts of which each is all that was said so far: only what they come to, if that has to be edited.

    For those before may end in the middle of what is edited.
    """
    whole = _together(items)
    (told,) = yield from _each(flow, [whole])
    if told is not whole:
        return [told]
    each = yield from _each(flow, items)
    return each if all(one is other for one, other in zip(each, items, strict=True)) else [told]


def _grow(items: Sequence[Any]) -> bool:
    """Whether an item, or a part of it, takes the place of the one before, as with parsers of JSON."""
    if len(items) < 2 or isinstance(items[0], (str, BaseMessage)):  # noqa: PLR2004 - one does not grow
        return False
    if isinstance(items[0], list):  # can be added, and is not always meant to be
        return all(extends(one, other) for one, other in pairwise(items))
    try:
        items[0] + items[1]
    except TypeError:
        return True
    return isinstance(items[0], Mapping) and any(map(_grow, _by_key(items).values()))


def _together(items: Sequence[Any]) -> Any:
    """What the items come to: what is added, their sum; what takes the place of the one before, the last."""
    if isinstance(items[0], Mapping) and type(items[0]) is not dict:  # LangChain's, whose parts are added one by one
        return type(items[0])({key: _together(parts) for key, parts in _by_key(items).items()})  # type: ignore[call-arg]  # a dict
    if isinstance(items[0], list) and _grow(items):
        return items[-1]
    try:
        return reduce(add, items)
    except TypeError:
        return items[-1]


def _by_key(items: Sequence[Mapping[Any, Any]]) -> dict[Any, list[Any]]:
    return {key: [item[key] for item in items if key in item] for key in dict.fromkeys(chain(*items))}
