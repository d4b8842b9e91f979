"""attach: a query engine guarded in place, from its question to the last piece of its answer."""

from __future__ import annotations

import copy
from collections.abc import AsyncGenerator, Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeVar

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.response.schema import AsyncStreamingResponse, PydanticResponse, Response, StreamingResponse
from llama_index.core.schema import QueryType

from llmguard_middleware import Call, ConfigurationError, Guard, GuardrailViolation, Message
from llmguard_middleware._flow import Flow, reentered
from llmguard_middleware._guard import expect_guard
from llmguard_middleware._leaves import leaves, with_leaves
from llmguard_middleware._steps import END, Ask, Emit, Judge, Pull, Steps, aopened, arun, opened, run

from ._agents import attach_agent, detach_agent, is_agent
from ._parts import Parts
from ._postprocess import GuardPostprocessor
from ._protect import refuse_stages
from ._retrieval import asked, query_text, texts_of
from ._root import Root
from ._seal import above, guards_of, seal, unseal

__all__ = ["attach", "detach"]

E = TypeVar("E")


def attach(engine: E, guard: Guard, *, state: Literal["raw", "redacted"] = "redacted") -> E:
    """Guard this query engine or agent in place and return it.

    Of an engine: its question, the documents it retrieves, every call of its LLMs and its answer, streamed or not, pass
    the guard; each query is one span with the retrieval and the model calls below it, and the monitors score the query.
    Of an agent, or a workflow of agents: what goes to its models and tools and what comes back, and every event. Parts
    that others may share (retriever, synthesizer, LLM) are replaced in this one by guarded copies.

    Args:
        engine: any LlamaIndex query engine, agent, or AgentWorkflow.
        guard: what to put around it. Attaching it again changes nothing; another guard goes around this one.
        state: what an agent's memory and context keep: `redacted`, the messages as the guard let them pass; or `raw`,
            as the user sent them. After a block the memory is as before the run.

    Raises:
        ConfigurationError: if `engine` is not a query engine.
        UnenforceableError: if the guard has an acting guardrail at a stage that cannot be enforced here.
    """
    expect_guard(guard, "attach(engine, guard)")
    if is_agent(engine):
        return attach_agent(engine, guard, state)
    if not isinstance(engine, BaseQueryEngine):
        given = type(engine).__name__
        msg = f"attach() takes a query engine, not {given}; build other engines with llm=protect(llm, guard)"
        raise ConfigurationError(msg)
    if guard in guards_of(engine):
        return engine
    refuse_stages(guard, "attach(engine, guard)")
    guard.covers("retrieval")
    parts = Parts(engine, guard)
    replaced = parts.replacements(engine)
    if guard.has_rules("retrieval"):
        if (listed := vars(engine).get("_node_postprocessors")) is not None:
            # Last, for postprocessors that bring in new text; what the retriever's guard let pass is not judged again.
            replaced["_node_postprocessors"] = [
                *replaced.get("_node_postprocessors", listed),
                GuardPostprocessor(guard),
            ]
        elif not parts.retrieves:
            where = f"attach() to {type(engine).__name__}, which shows no retriever,"
            guard.refuse(guard.rules("retrieval"), where, "build it with GuardPostprocessor(guard)")
    return seal(engine, _GuardedEngine, guard, replaced)


def detach(engine: E) -> E:
    """Undo every `attach`: the engine's own class and parts are back. Returns the engine."""
    unseal(engine)
    detach_agent(engine)
    return engine


class _GuardedEngine:
    """The guard methods, put before the engine's own class."""

    def query(self, str_or_query_bundle: QueryType) -> Any:
        return _guarded(self, run, above(self).query)(str_or_query_bundle)

    async def aquery(self, str_or_query_bundle: QueryType) -> Any:
        return await _guarded(self, arun, above(self).aquery)(str_or_query_bundle)


def _guarded(
    engine: Any, runner: Callable[[Steps[Any]], Any], ask: Callable[[QueryType], Any]
) -> Callable[[QueryType], Any]:
    for guard in guards_of(engine):
        if not reentered(engine, guard):
            ask = partial(_behind, runner, guard, engine, ask)
    return ask


def _behind(
    runner: Callable[[Steps[Any]], Any], guard: Guard, engine: Any, ask: Callable[[QueryType], Any], query: QueryType
) -> Any:
    return runner(_queried(guard, engine, ask, query, is_async=runner is arun))


def _queried(
    guard: Guard, engine: Any, ask: Callable[[QueryType], Any], query: QueryType, *, is_async: bool
) -> Steps[Any]:
    try:
        return (yield from _asked(guard, engine, ask, query))
    except GuardrailViolation:
        if guard.refusal is None:
            raise
        return _refusal(engine, guard.refusal, is_async=is_async)


def _asked(guard: Guard, engine: Any, ask: Callable[[QueryType], Any], query: QueryType) -> Steps[Any]:
    flow = Flow(guard, Call("invoke_workflow", type(engine).__name__, inputs=asked(query_text(query))), owner=engine)
    root = Root(flow)
    with flow:
        admitted = yield Judge(guard, flow.admit([Message("user", text) for text in _questions(query)]))
        query = _requeried(query, admitted)
        flow.call = flow.call.but(inputs=asked(query_text(query)))
        response = yield Ask(root.active, partial(ask, query))
        root.check()
        streamed = isinstance(response, (StreamingResponse, AsyncStreamingResponse))
        if not streamed:
            yield Judge(guard, flow.settle_races())
        found = texts_of(getattr(response, "source_nodes", None) or ())
        flow.call = flow.call.but(context=found or root.context)
        if isinstance(response, StreamingResponse):
            return replace(response, response_gen=opened(_answered(root, iter(response.response_gen))))
        if isinstance(response, AsyncStreamingResponse):
            source = aiter(response.response_gen)
            gen = yield Ask(nullcontext, partial(aopened, _answered(root, source)))
            return replace(response, response_gen=gen)
        response, output = yield from _released(root, response)
        flow.answered(output=output)
    return response


def _questions(query: QueryType) -> list[str]:
    return [query] if isinstance(query, str) else [query.query_str, *(query.custom_embedding_strs or ())]


def _requeried(query: QueryType, texts: list[str]) -> QueryType:
    if texts == _questions(query):
        return query
    if isinstance(query, str):
        return texts[0]
    return replace(query, query_str=texts[0], custom_embedding_strs=texts[1:] or None)


def _released(root: Root, response: Any) -> Steps[tuple[Any, Any]]:
    """The answer as it may leave, and its text. What the guarded LLM let go word for word is not judged again."""
    guard, said = root.flow.guard, getattr(response, "response", None)
    if isinstance(response, PydanticResponse) and said is not None:
        parsed = said.model_dump()
        texts = leaves(parsed)
        told = yield Judge(guard, root.flow.release(texts))
        if told != texts:
            response = replace(response, response=type(said).model_validate(with_leaves(parsed, told)))
        return response, response.response.model_dump_json()
    if isinstance(said, str):
        if said in root.released:
            told = root.flow.restored(said)
            if told != said:
                response = copy.copy(response)
                response.response = told
            return response, told
        (told,) = yield Judge(guard, root.flow.release([said]))
        if told != said:
            response = copy.copy(response)
            response.response = told
        return response, told
    if said is not None or not isinstance(response, (Response, PydanticResponse)):
        guard.refuse(
            guard.rules("output"),
            f"attach() on an answer of type {type(response).__name__}",
            "let the engine return a Response",
        )
    return response, said


def _answered(root: Root, source: Any) -> Steps[None]:
    """The pieces of a streamed answer: those that the guarded LLM let go as they come, others through a stream."""
    flow = root.flow
    try:
        with flow:
            yield Emit(None)
            flow.answered(output=(yield from _pieces(root, source)))
    except GuardrailViolation:
        if flow.guard.refusal is None:
            raise
        yield Emit(flow.guard.refusal)


def _pieces(root: Root, source: Any) -> Steps[str]:
    flow = root.flow
    stream, judging, settled = flow.stream(), False, False
    output: list[str] = []
    root.taken()
    while (piece := (yield Pull(root.active, source))) is not END:
        if not settled:  # nothing leaves before the guardrails that race with the engine are done
            backlog = yield Judge(flow.guard, stream.settle())
            assert not backlog  # nothing was fed yet
            settled = True
        judging = root.taken() != piece or judging
        free = stream.feed(piece) if judging else stream.past(piece)
        output.append(free)
        if free:
            yield Emit(free)
    root.check()
    yield Judge(flow.guard, flow.settle_races())
    if judging:
        output.append((yield Judge(flow.guard, stream.finish())))
        if output[-1]:
            yield Emit(output[-1])
    elif rest := stream.past_rest():
        output.append(rest)
        yield Emit(rest)
    return "".join(output)


def _refusal(engine: Any, text: str, *, is_async: bool) -> Any:
    """An answer that says this, of the kind that the engine gives."""
    if not getattr(vars(engine).get("_response_synthesizer"), "_streaming", False):
        return Response(text)
    return AsyncStreamingResponse(_alone(text)) if is_async else StreamingResponse(piece for piece in (text,))


async def _alone(text: str) -> AsyncGenerator[str, None]:
    yield text
