"""Guarded Runnables of any kind: what goes in and what comes out is judged at their boundary, in every call mode."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

from langchain_core.exceptions import LangChainException
from langchain_core.runnables import Runnable, RunnableConfig, RunnableSequence, ensure_config

from llmguard_middleware import Call, Guard, GuardrailViolation
from llmguard_middleware._drive import inside_scorer
from llmguard_middleware._failures import judged_failure
from llmguard_middleware._flow import Flow
from llmguard_middleware._steps import END, Ask, Emit, Judge, Pull, Steps, arun, astream, run, stream

from ... import _convert as convert
from ..._handoff import claim
from ..._session import with_config
from .._copies import bare
from .._outer import admitted, apart, around, opened, originally, released, shows_nothing, unstreamed
from .._sentinel import watched
from .._sticky import sticky_methods
from ._events import event_members
from ._graph import answer_of, asked_graph, graph_refusal, handed_over, is_handoff
from ._refusals import piece_of, refusal_of
from ._sequence import sequence_members
from ._streams import pieces
from ._told import Told

__all__ = ["check_refusal", "runnable_members"]

Pieces = Callable[[Flow, Any], Steps[Any]]


@dataclass(frozen=True)
class Asked:
    """One call of one Runnable behind one guard.

    Attributes:
        thing: the Runnable without this guard.
        call: what is asked.
        refusal: what it answers with in refusal mode; None if a violation is raised.
        pieces: what makes of its stream what may leave.
    """

    thing: Any
    guard: Guard
    call: Call
    config: RunnableConfig
    refusal: Any
    pieces: Pieces = pieces

    def opened(self) -> tuple[Flow, RunnableConfig]:
        flow, run_id = opened(
            self.guard, self.call, self.thing, self.config.get("callbacks"), self.config.get("run_id")
        )
        return flow, {**self.config, "run_id": run_id}

    def watched(self, config: RunnableConfig, flow: Flow) -> RunnableConfig:
        """The config for the Runnable itself."""
        config = watched(config, flow.root)
        if not apart(self.guard):
            return config
        run_id = uuid4()
        claim(run_id, flow)  # a run of its own, and no other call
        return {**self.shown(config), "run_id": run_id}  # last: what LangChain merges, it adds to

    def shown(self, config: RunnableConfig) -> RunnableConfig:
        """The config without those who would show what must not be seen."""
        return unstreamed(config) if shows_nothing(self.guard) else config


def _whole(asked: Asked, given: Any, ask: Callable[..., Any], how: str) -> Steps[Any]:
    guard = asked.guard
    flow, config = asked.opened()

    def judged(_: Any, config: RunnableConfig) -> Steps[Any]:
        asking = Ask(around(flow), partial(ask, given, asked.watched(config, flow)))
        result = yield from _or_failed(flow, _asking(asking))
        return (yield Judge(guard, released(flow, result)))

    try:
        with flow:
            given = yield Judge(guard, admitted(flow, given))
            if apart(guard):
                told = Told(asked.thing.get_name(), judged, flow, asked.refusal)
                known = yield Judge(guard, originally(flow, given))
                result = yield Ask(nullcontext, partial(getattr(told, how), known, asked.shown(config)))
                if told.refused:
                    return result
            else:
                result = yield from judged(given, config)
            flow.answered(output=answer_of(flow, convert.plain(result)), context=flow.root.documents)
            return result
    except GuardrailViolation:
        if asked.refusal is None:
            raise
        return asked.refusal


def _streamed(asked: Asked, given: Any, ask: Callable[..., Any], how: str) -> Steps[None]:
    guard = asked.guard
    flow, config = asked.opened()

    def judged(_: Any, config: RunnableConfig) -> Steps[Any]:
        return (yield from _or_failed(flow, asked.pieces(flow, ask(given, asked.watched(config, flow)))))

    try:
        with flow:
            given = yield Judge(guard, admitted(flow, given))
            if apart(guard):
                told = Told(asked.thing.get_name(), judged, flow, asked.refusal)
                known = yield Judge(guard, originally(flow, given))
                pull = Pull(nullcontext, getattr(told, how)(known, asked.shown(config)))
                while (item := (yield pull)) is not END:
                    yield Emit(item)
                if told.refused:
                    return
                said = told.said
            else:
                said = yield from judged(given, config)
            flow.answered(output=answer_of(flow, said), context=flow.root.documents)
    except GuardrailViolation:
        if asked.refusal is None:
            raise
        yield Emit(piece_of(asked.refusal))


def _asking(ask: Ask) -> Steps[Any]:
    return (yield ask)


def _or_failed(flow: Flow, steps: Steps[Any]) -> Steps[Any]:
    """What the steps come to; an error of the chain says what it may: a parser's quotes the model's answer."""
    try:
        return (yield from steps)
    except Exception as error:
        if isinstance(error, GuardrailViolation) or not flow.rules("output"):
            raise
        failure = error
    if is_handoff(failure):
        raise (yield Judge(flow.guard, handed_over(flow, failure)))
    raise (yield Judge(flow.guard, judged_failure(flow, failure, "output", LangChainException)))


def runnable_members(base: type[Any], guard: Guard) -> dict[str, Any]:  # noqa: C901 - LangChain's four methods, side by side
    """The members of the class of a guarded Runnable of the class `base`."""

    def asked(self: Any, given: Any, config: RunnableConfig | None, kwargs: Mapping[str, Any], how: str) -> Asked:
        return _asked(guard, bare(self, base), given, ensure_config(config), kwargs, streamed=how == "stream")

    def invoke(self: Any, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - LangChain's
        if inside_scorer.get():  # a scorer's own call is not judged in turn
            return base.invoke(bare(self, base), input, config, **kwargs)
        one = asked(self, input, config, kwargs, "whole")
        return run(_whole(one, input, partial(one.thing.invoke, **kwargs), "invoke"))

    async def ainvoke(self: Any, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - as above
        if inside_scorer.get():
            return await base.ainvoke(bare(self, base), input, config, **kwargs)
        one = asked(self, input, config, kwargs, "whole")
        return await arun(_whole(one, input, partial(one.thing.ainvoke, **kwargs), "ainvoke"))

    def stream_(self: Any, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:  # noqa: A002 - as above
        if inside_scorer.get():
            yield from base.stream(bare(self, base), input, config, **kwargs)
            return
        one = asked(self, input, config, kwargs, "stream")
        source = partial(one.thing.stream, **kwargs)
        with closing(stream(_streamed(one, input, lambda *given: iter(source(*given)), "stream"))) as chunks:
            yield from chunks

    async def astream_(  # its name is given below
        self: Any,
        input: Any,  # noqa: A002 - as above
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        if inside_scorer.get():
            async for chunk in base.astream(bare(self, base), input, config, **kwargs):
                yield chunk
            return
        one = asked(self, input, config, kwargs, "stream")
        source = partial(one.thing.astream, **kwargs)
        async with aclosing(astream(_streamed(one, input, lambda *given: aiter(source(*given)), "astream"))) as chunks:
            async for chunk in chunks:
                yield chunk

    by_item = ("batch", "abatch", "batch_as_completed", "abatch_as_completed", "transform", "atransform")
    found = {
        "invoke": invoke,
        "ainvoke": ainvoke,
        "stream": stream_,
        "astream": astream_,
        **event_members(base, guard),
        **{name: vars(Runnable)[name] for name in by_item},  # LangChain's own, which call the methods above
        **sticky_methods(base),
    }
    for name in ("stream", "astream"):
        found[name].__name__ = name
    return {**found, **(sequence_members(base) if issubclass(base, RunnableSequence) else {})}


def is_graph(thing: object) -> bool:
    """Whether this is a compiled LangGraph graph."""
    pregel = sys.modules.get("langgraph.pregel")
    return pregel is not None and isinstance(thing, pregel.Pregel)


def check_refusal(thing: Any, guard: Guard) -> None:
    """Refuse a guard in refusal mode whose refusal this Runnable's callers would not understand.

    Raises:
        ConfigurationError: saying what to do.
    """
    _ = graph_refusal(thing, guard, None, {}, streamed=False) if is_graph(thing) else refusal_of(thing, guard)


def _asked(
    guard: Guard, thing: Any, given: Any, config: RunnableConfig, kwargs: Mapping[str, Any], *, streamed: bool
) -> Asked:
    if is_graph(thing):
        refusal = graph_refusal(thing, guard, given, kwargs, streamed=streamed)
        about = asked_graph(guard, thing, given, config, kwargs, streamed=streamed)
    else:
        name = config.get("run_name") or thing.get_name()
        refusal, about = refusal_of(thing, guard), {"call": Call("invoke_workflow", name, inputs=convert.inputs(given))}
    call = with_config(about["call"].but(streamed=streamed), config)
    thread = about["call"].conversation  # of a graph
    about["call"] = call.but(conversation=thread) if thread else call
    return Asked(thing, guard, config=config, refusal=refusal, **about)
