"""Guarded LangGraph graphs: a Runnable whose stream gives states, updates, or tokens of the models inside."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessageChunk
from langchain_core.runnables import RunnableConfig

from llmguard_middleware import Call, ConfigurationError, Guard
from llmguard_middleware._flow import Flow
from llmguard_middleware._guarded_stream import GuardedStream
from llmguard_middleware._judge import Plan
from llmguard_middleware._steps import END, Emit, Judge, Pull, Steps

from ... import _convert as convert
from ..._judged import ChunkGate
from ..._middleware._state import answer
from .._kinds import is_a
from .._outer import around, released, shows_nothing
from ._streams import freed

__all__ = ["answer_of", "asked_graph", "graph_refusal", "handed_over", "is_handoff"]

# What of a stream can be judged: whole states, whole updates, and tokens that tell which message they are of.
_JUDGED = ("values", "updates", "messages")


@dataclass(frozen=True)
class Reading:
    """How the items of a graph's stream are made: its modes, whether there are several, and what else is in an item."""

    modes: Sequence[str]
    several: bool
    subgraphs: bool
    parts: bool  # items are dicts that say what they are

    def take(self, item: Any) -> tuple[str, Any, Callable[[Any], Any]]:
        """The mode of an item, what it carries, and how to make an item that carries something else."""
        if self.parts:
            return item["type"], item["data"], lambda data: {**item, "data": data}
        if self.several:
            return item[-2], item[-1], lambda data: (*item[:-1], data)
        if self.subgraphs:
            return self.modes[0], item[1], lambda data: (item[0], data)
        return self.modes[0], item, lambda data: data


def asked_graph(
    guard: Guard, thing: Any, given: Any, config: RunnableConfig, kwargs: Mapping[str, Any], *, streamed: bool
) -> dict[str, Any]:
    """What makes an `Asked` of a call of a graph.

    Raises:
        UnenforceableError: for a stream whose items an acting output guardrail cannot judge.
    """
    mode = kwargs.get("stream_mode") or (thing.stream_mode if streamed else "values")
    several = not isinstance(mode, str)
    modes = list(mode) if several else [mode]
    if shows_nothing(guard):
        beyond = [one for one in modes if one not in (_JUDGED if streamed else _JUDGED[:2])]
        if beyond:
            rules = [rule for policy in guard.policies for rule in policy.at("output")]
            where = f'protect({thing.get_name()}) with stream_mode="{beyond[0]}"'
            put = "put protect(model, guard) around the models inside, or GuardMiddleware(guard) into the agent"
            guard.refuse(rules, where, f'{put}, or stream "values", "updates" or "messages"')
    reading = Reading(modes, several, bool(kwargs.get("subgraphs")), parts=_in_parts(kwargs))
    thread = (config.get("configurable") or {}).get("thread_id")
    named = thing.name not in ("", "LangGraph")
    call = Call(
        "invoke_agent" if named else "invoke_workflow",
        name=config.get("run_name") or thing.get_name(),
        inputs=convert.inputs(given),
        conversation="" if thread is None else str(thread),
    )
    return {"call": call, "pieces": lambda flow, source: _pieces(flow, source, reading)}


def graph_refusal(thing: Any, guard: Guard, given: Any, kwargs: Mapping[str, Any], *, streamed: bool) -> Any:
    """What a stopped call of a graph answers with: a state whose last message says so; None if the guard raises.

    Raises:
        ConfigurationError: if the graph's state has no messages.
    """
    if guard.refusal is None:
        return None
    if "messages" not in thing.channels:
        msg = (
            f'protect({thing.get_name()}) cannot answer in refusal mode, since its state has no "messages": build the '
            "guard without refusal and catch GuardrailViolation"
        )
        raise ConfigurationError(msg)
    before = given.get("messages") if isinstance(given, Mapping) else None
    said = AIMessage(guard.refusal)
    state = {"messages": [*(before if isinstance(before, list) else [before] if before else []), said]}
    mode = kwargs.get("stream_mode") or (thing.stream_mode if streamed else "values")
    first = mode if isinstance(mode, str) else mode[0]
    shapes = {
        "updates": {thing.get_name(): {"messages": [said]}},
        "messages": (AIMessageChunk(content=guard.refusal), {}),
    }
    item = shapes.get(first, state)
    if not streamed:
        return item if first == "values" else [item]
    if _in_parts(kwargs):
        return {"type": first, "ns": (), "data": item, **({"interrupts": ()} if first == "values" else {})}
    several, subgraphs = not isinstance(mode, str), bool(kwargs.get("subgraphs"))
    return (
        item if not several and not subgraphs else (*([()] if subgraphs else []), *([first] if several else []), item)
    )


def answer_of(flow: Flow, said: Any) -> Any:
    """What a call answered: what it said, or what the agent that the graph turned out to be told of itself."""
    if flow.call.output is None:
        return said
    return answer(said) if isinstance(said, Mapping) and "messages" in said else flow.call.output


def is_handoff(error: Exception) -> bool:
    """Whether this is how a graph tells the graph around it what to do next."""
    return is_a(error, "langgraph.errors", "ParentCommand")


def handed_over(flow: Flow, error: Any) -> Plan[Exception]:
    """A command to the graph around this one: what it writes there, and sends on, leaves this one as an answer does.

    Raises:
        GuardrailViolation: if a guardrail stops it.
    """
    command = error.args[0]
    said = [command.update, None if isinstance(command.goto, str) else command.goto]
    told = yield from released(flow, said)
    if told is said:
        return error  # type: ignore[no-any-return]  # as it came
    return type(error)(replace(command, update=told[0], goto=command.goto if told[1] is None else told[1]))  # type: ignore[no-any-return]  # of its class


def _in_parts(kwargs: Mapping[str, Any]) -> bool:
    """Whether a stream gives dicts that say what they are. LangGraph 1.0 gives none, whatever it is asked for."""
    pregel: Any = sys.modules["langgraph.pregel"]
    return kwargs.get("version") == "v2" and "version" in signature(pregel.Pregel.stream).parameters


def _pieces(flow: Flow, source: Any, reading: Reading) -> Steps[Any]:
    """Emit a graph's items: states and updates each by itself, the tokens of each message as one text."""
    gates: dict[Any, tuple[ChunkGate, GuardedStream, Callable[[Any], Any]]] = {}
    last: Any = None
    said: list[str] = []
    pull = Pull(around(flow), source)
    while (item := (yield pull)) is not END:
        mode, data, made = reading.take(item)
        if mode == "messages" and isinstance(data[0], BaseMessageChunk):
            chunk, about = data
            if chunk.id not in gates:
                text = flow.stream()
                gates[chunk.id] = ChunkGate(text), text, _message(made, about)
            gate, text, _ = gates[chunk.id]
            for message in (yield from freed(flow, gate, text, chunk)):
                yield Emit(made((message, about)))
            if getattr(chunk, "chunk_position", None) == "last":
                said.append((yield from _ended(flow, *gates.pop(chunk.id))))
            continue
        if mode == "messages" and isinstance(data[0], Mapping):  # an event of version 3; whole states follow
            yield Judge(flow.guard, flow.release([]))
            yield Emit(item)
            continue
        if mode == "messages":
            told = yield Judge(flow.guard, released(flow, data[0]))
            said.append(convert.text_of(told))
            yield Emit(made((told, data[1])))
            continue
        last = told = yield Judge(flow.guard, released(flow, data))
        yield Emit(made(told) if told is not data else item)
    for one in list(gates.values()):
        said.append((yield from _ended(flow, *one)))  # noqa: PERF401 - a comprehension cannot yield
    yield Judge(flow.guard, flow.release([]))  # what raced is settled, though nothing was said
    return convert.plain(last) if last is not None else "".join(said)


def _ended(flow: Flow, gate: ChunkGate, text: GuardedStream, made: Callable[[Any], Any]) -> Steps[str]:
    for chunk in gate.finish((yield Judge(flow.guard, text.finish()))):
        yield Emit(made(chunk.message))
    return str(gate.answer()["output"])


def _message(made: Callable[[Any], Any], about: Any) -> Callable[[Any], Any]:
    return lambda message: made((message, about))
