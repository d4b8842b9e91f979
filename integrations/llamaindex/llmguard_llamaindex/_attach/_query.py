"""Query engines behind a guard, from the question to the last piece of the answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from llama_index.core.base.response.schema import AsyncStreamingResponse, Response, StreamingResponse
from llama_index.core.schema import QueryType

from llmguard_middleware import Call, Guard, GuardrailViolation
from llmguard_middleware._begun import held
from llmguard_middleware._flow import Flow
from llmguard_middleware._scope import captured
from llmguard_middleware._steps import END, Ask, Emit, Judge, Pull, Relay, Steps, aopened, arun, opened, run

from .._retrieval import asked, behind_guards, query_text, questions, requeried, texts_of
from .._root import Root
from .._seal import above
from .._versions import off_the_loop
from ._answers import released
from ._metadata import with_metadata

__all__ = ["GuardedEngine"]

_STREAMED = (StreamingResponse, AsyncStreamingResponse)


class GuardedEngine:
    """The guard methods, put before the engine's own class."""

    def query(self, str_or_query_bundle: QueryType) -> Any:
        return behind_guards(self, run, partial(_queried, is_async=False), off_the_loop(above(self).query))(
            str_or_query_bundle
        )

    async def aquery(self, str_or_query_bundle: QueryType) -> Any:
        ask = behind_guards(self, arun, partial(_queried, is_async=True), above(self).aquery)
        return await ask(str_or_query_bundle)


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
    name = type(engine).__name__
    call = _unheard(name) if guard.in_force.idle else _call(name, query)
    flow = Flow(guard, call, owner=engine)
    root = Root(flow)
    with flow:
        if flow.unheeded:
            response = yield Ask(root.active, partial(ask, query))
            root.check()
            if not isinstance(response, _STREAMED):
                flow.answered()
                return response
            return (yield from _streamed(root, response))
        texts = yield Judge(guard, flow.admit(questions(query)))
        root.admitted.update(texts)
        query = requeried(query, texts)
        flow.call = flow.call.but(inputs=asked(query_text(query)))
        response = yield Ask(root.active, partial(ask, query))
        root.check()
        streamed = isinstance(response, _STREAMED)
        if not streamed:
            yield Judge(guard, flow.settle_races())
        found = texts_of(getattr(response, "source_nodes", None) or ())
        flow.call = flow.call.but(context=found or root.context)
        response = yield from with_metadata(root, response)
        if streamed:
            return (yield from _streamed(root, response))
        response, output = yield from released(root, response)
        if isinstance(output, str):
            root.answers(output)
        flow.answered(output=output)
    return response


def _call(name: str, query: QueryType) -> Call:
    return Call("invoke_workflow", name, inputs=asked(query_text(query)))


@lru_cache(maxsize=256)
def _unheard(name: str) -> Call:
    """The call without the question, which nobody wants to know: the same object each time."""
    return Call("invoke_workflow", name)


def _streamed(root: Root, response: Any) -> Steps[Any]:
    # What is said where the query is made holds for a stream of its answer as well, wherever that is read.
    if isinstance(response, StreamingResponse):
        gen = opened(_answered(root, iter(response.response_gen)))
        return replace(response, response_gen=held(gen, captured()))
    source = aiter(response.response_gen)
    agen = yield Ask(nullcontext, partial(aopened, _answered(root, source)))
    return replace(response, response_gen=held(agen, captured()))


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
    if flow.unheeded:
        yield Relay(Pull(root.active, source, apart=True), root.left)
        root.check()
        return ""  # nobody wants to know
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
            root.left(free)
            yield Emit(free)
    root.check()
    yield Judge(flow.guard, flow.settle_races())
    rest = (yield Judge(flow.guard, stream.finish())) if judging else stream.past_rest()
    if rest:
        output.append(rest)
        root.left(rest)
        yield Emit(rest)
    return "".join(output)


def _refusal(engine: Any, text: str, *, is_async: bool) -> Any:
    """An answer that says this, of the kind that the engine gives."""
    if not getattr(vars(engine).get("_response_synthesizer"), "_streaming", False):
        return Response(text)
    return AsyncStreamingResponse(_alone(text)) if is_async else StreamingResponse(piece for piece in (text,))


async def _alone(text: str) -> AsyncGenerator[str, None]:
    yield text
