"""Retrievers behind a guard: the query at the input stage, what is found at the retrieval stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from llama_index.core.schema import NodeWithScore, QueryBundle, QueryType, TextNode

from llmguard_middleware import Call, Guard, GuardrailViolation, Message
from llmguard_middleware._drive import inside_scorer
from llmguard_middleware._flow import Flow, reentered
from llmguard_middleware._steps import Ask, Judge, Steps, arun, run

from ._documents import judged, texts_of, unjudged
from ._root import root_of
from ._seal import above, guards_of

__all__ = [
    "GuardedRetriever",
    "asked",
    "behind_guards",
    "judged",
    "query_text",
    "questions",
    "requeried",
    "retrieval_call",
    "texts_of",
    "unjudged",
]

_TOP_K = "gen_ai.retrieval.top_k"


def query_text(query: QueryType) -> str:
    """The text of a query, however it was given."""
    return query.query_str if isinstance(query, QueryBundle) else query


def questions(query: QueryType) -> list[Message]:
    """The texts of a query: what is asked, and what is embedded in its place."""
    texts = [query] if isinstance(query, str) else [query.query_str, *(query.custom_embedding_strs or ())]
    return [Message("user", text) for text in texts]


def requeried(query: QueryType, texts: list[str]) -> QueryType:
    """The query with these texts; the caller's own object if none differs."""
    if texts == [message.text for message in questions(query)]:
        return query
    if isinstance(query, str):
        return texts[0]
    # An embedding is of the text before: it is made again.
    return replace(query, query_str=texts[0], custom_embedding_strs=texts[1:] or None, embedding=None)


class GuardedRetriever:
    """The guard methods, put before the retriever's own class."""

    def retrieve(self, str_or_query_bundle: QueryType) -> Any:
        return behind_guards(self, run, _retrieved, above(self).retrieve)(str_or_query_bundle)

    async def aretrieve(self, str_or_query_bundle: QueryType) -> Any:
        return await behind_guards(self, arun, _retrieved, above(self).aretrieve)(str_or_query_bundle)


Asker = Callable[[QueryType], Any]


def behind_guards(
    thing: Any,
    runner: Callable[[Steps[Any]], Any],
    steps: Callable[[Guard, Any, Asker, QueryType], Steps[Any]],
    ask: Asker,
) -> Asker:
    """`ask`, behind every guard of `thing` that is not around this code yet; what a scorer asks passes."""
    if inside_scorer.get():
        return ask
    for guard in guards_of(thing):
        if not reentered(thing, guard):
            ask = partial(_behind, runner, steps, guard, thing, ask)
    return ask


def _behind(
    runner: Callable[[Steps[Any]], Any],
    steps: Callable[..., Steps[Any]],
    guard: Guard,
    thing: Any,
    ask: Asker,
    query: QueryType,
) -> Any:
    return runner(steps(guard, thing, ask, query))


def retrieval_call(retriever: Any, query: QueryType) -> Call:
    """The call of a retriever. Its name is the data source's in OpenTelemetry, which LlamaIndex does not know."""
    top_k = getattr(retriever, "similarity_top_k", None)
    return Call(
        "retrieval", inputs=asked(query_text(query)), attributes={_TOP_K: top_k} if isinstance(top_k, int) else {}
    )


@lru_cache(maxsize=64)
def _unheard_call(top_k: int | None) -> Call:
    return Call("retrieval", attributes={} if top_k is None else {_TOP_K: top_k})


def _unheard(retriever: Any) -> Call:
    """`retrieval_call` without the query, which nobody wants to know: the same object each time."""
    top_k = getattr(retriever, "similarity_top_k", None)
    return _unheard_call(top_k if isinstance(top_k, int) else None)


def asked(text: str) -> dict[str, str]:
    """A query's text under the names that scorers know it by."""
    return dict.fromkeys(("query", "question", "input", "prompt"), text)


def _retrieved(
    guard: Guard, retriever: Any, ask: Callable[[QueryType], Any], query: QueryType
) -> Steps[list[NodeWithScore]]:
    call = _unheard(retriever) if guard.in_force.idle else retrieval_call(retriever, query)
    flow = Flow(guard, call, owner=retriever)
    try:
        with flow:
            if flow.unheeded:
                nodes = yield Ask(flow.active, partial(ask, query))
                if flow.unheeded:  # still: nothing below was stopped
                    flow.answered()
                    return nodes  # type: ignore[no-any-return]  # the reply of a step
                nodes = yield from judged(flow, nodes)
                flow.answered()
                return nodes
            root, texts = root_of(guard), questions(query)
            if root is None or not root.admitted.issuperset(message.text for message in texts):
                query = requeried(query, (yield Judge(guard, flow.admit(texts))))
                flow.call = flow.call.but(messages=(), inputs=asked(query_text(query)))
            nodes = yield Ask(flow.active, partial(ask, query))
            yield Judge(guard, flow.settle_races())
            nodes = yield from judged(flow, nodes)
            flow.answered(output=texts_of(nodes))
            return nodes
    except GuardrailViolation:
        if guard.refusal is None or root_of(guard) is not None:  # then the query around it has an answer
            raise
        return [NodeWithScore(node=TextNode(text=guard.refusal))]
