"""Retrieved documents: the retrieval guardrails over nodes, and the guarded copy of a retriever."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, QueryType

from llmguard_middleware import Call, Guard
from llmguard_middleware._flow import Flow, reentered
from llmguard_middleware._steps import Ask, Judge, Steps, arun, run

from ._root import root_of
from ._seal import above, guards_of

__all__ = ["GuardedRetriever", "asked", "judged", "query_text", "retrieval_call", "texts_of", "unjudged"]

_TOP_K = "gen_ai.retrieval.top_k"


def query_text(query: QueryType) -> str:
    """The text of a query, however it was given."""
    return query.query_str if isinstance(query, QueryBundle) else query


def texts_of(nodes: Sequence[NodeWithScore]) -> tuple[str, ...]:
    """The texts of nodes, without metadata."""
    return tuple(_text(item) for item in nodes)


def _text(item: NodeWithScore) -> str:
    return item.node.get_content(metadata_mode=MetadataMode.NONE)


def unjudged(guard: Guard, nodes: Sequence[NodeWithScore]) -> bool:
    """Whether any node's text has not passed the guard's retrieval guardrails under this query yet."""
    root = root_of(guard)
    return guard.has_rules("retrieval") and any(
        text and not (root and text in root.documents) for text in texts_of(nodes)
    )


def judged(flow: Flow, nodes: Sequence[NodeWithScore]) -> Steps[list[NodeWithScore]]:
    """The nodes as the retrieval guardrails let them pass, in copies where a text is redacted: no store changes."""
    guard, root = flow.guard, root_of(flow.guard)
    flow.root.check()
    passed: list[NodeWithScore] = []
    for item in nodes:
        text = told = _text(item)
        if text and not (root and text in root.documents):
            told = yield Judge(guard, flow.judge(text, "retrieval"))
        if root is not None:
            root.documents.add(told)
        passed.append(item if told == text else item.model_copy(update={"node": _with_text(item.node, told)}))
    if root is not None:
        root.context = texts_of(passed)
    return passed


def _with_text(node: Any, text: str) -> Any:
    changed = node.model_copy()
    changed.set_content(text)
    return changed


class GuardedRetriever:
    """The guard methods, put before the retriever's own class."""

    def retrieve(self, str_or_query_bundle: QueryType) -> Any:
        return _guarded(self, run, above(self).retrieve)(str_or_query_bundle)

    async def aretrieve(self, str_or_query_bundle: QueryType) -> Any:
        return await _guarded(self, arun, above(self).aretrieve)(str_or_query_bundle)


def _guarded(
    retriever: Any, runner: Callable[[Steps[Any]], Any], ask: Callable[[QueryType], Any]
) -> Callable[[QueryType], Any]:
    for guard in guards_of(retriever):
        if not reentered(retriever, guard):
            ask = partial(_behind, runner, guard, retriever, ask)
    return ask


def _behind(
    runner: Callable[[Steps[Any]], Any], guard: Guard, retriever: Any, ask: Callable[[QueryType], Any], query: QueryType
) -> Any:
    return runner(_retrieved(guard, retriever, ask, query))


def retrieval_call(retriever: Any, query: QueryType) -> Call:
    """The call of a retriever. Its name is the data source's in OpenTelemetry, which LlamaIndex does not know."""
    top_k = getattr(retriever, "similarity_top_k", None)
    return Call(
        "retrieval", inputs=asked(query_text(query)), attributes={_TOP_K: top_k} if isinstance(top_k, int) else {}
    )


def asked(text: str) -> dict[str, str]:
    """A query's text under the names that scorers know it by."""
    return dict.fromkeys(("query", "question", "input", "prompt"), text)


def _retrieved(
    guard: Guard, retriever: Any, ask: Callable[[QueryType], Any], query: QueryType
) -> Steps[list[NodeWithScore]]:
    flow = Flow(guard, retrieval_call(retriever, query), owner=retriever, outermost=False)
    with flow:
        nodes = yield Ask(flow.active, partial(ask, query))
        nodes = yield from judged(flow, nodes)
        flow.answered(output=texts_of(nodes))
    return nodes
