"""Guarded retrievers: the query at the input stage, each document's text at the retrieval stage."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig, ensure_config

from llmguard_middleware import Call, Guard, GuardrailViolation, Message
from llmguard_middleware._drive import inside_scorer
from llmguard_middleware._flow import Flow
from llmguard_middleware._steps import Ask, Judge, Steps, arun, run

from .._judged._parts import documents as judged
from .._session import with_config
from ._copies import bare, inner
from ._gates import Gate, gated
from ._outer import opened
from ._sentinel import watched
from ._sticky import sticky_methods

__all__ = ["retriever_members"]


def retriever_members(base: type[Any], guard: Guard) -> dict[str, Any]:
    """The members of the class of a guarded retriever of the class `base`."""
    # Inside the retriever's own invoke, so that callbacks are told of the documents as they leave.
    behind = inner(base, gated(base, BaseRetriever, ("_get_relevant_documents", "_aget_relevant_documents")))

    def asked(
        self: Any, query: str, config: RunnableConfig | None, options: Mapping[str, Any]
    ) -> tuple[Any, Flow, dict[str, Any]]:
        config = ensure_config(config)
        thing = bare(self, behind)
        call = Call("retrieval", name=config.get("run_name") or self.get_name(), inputs=_named(query))
        flow, run_id = opened(guard, with_config(call, config, self), thing, config.get("callbacks"), None)
        config = {**watched(config, flow.root), "run_id": run_id}
        return thing, flow, {**options, "config": config, "run_id": run_id}

    def invoke(self: Any, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - LangChain's
        if inside_scorer.get():
            return base.invoke(bare(self, base), input, config, **kwargs)
        thing, flow, options = asked(self, input, config, kwargs)
        return run(_retrieved(flow, input, partial(thing.invoke, **options)))

    async def ainvoke(self: Any, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - as above
        if inside_scorer.get():
            return await base.ainvoke(bare(self, base), input, config, **kwargs)
        thing, flow, options = asked(self, input, config, kwargs)
        return await arun(_retrieved(flow, input, partial(thing.ainvoke, **options)))

    return {"invoke": invoke, "ainvoke": ainvoke, **sticky_methods(base)}


def _named(query: str) -> dict[str, str]:
    return dict.fromkeys(("query", "question", "input", "prompt"), query)


def _retrieved(flow: Flow, query: str, ask: Any) -> Steps[list[Document]]:
    guard = flow.guard
    try:
        with flow:
            (query,) = yield Judge(guard, flow.admit([Message("user", query)]))
            flow.call = flow.call.but(messages=(), inputs=_named(query))
            gate = Gate(flow, judged)
            documents = yield Ask(gate.open, partial(ask, query))
            if documents is not gate.passed:  # it did not come from where the gate is
                documents = yield Judge(guard, judged(flow, documents))
            texts = tuple(document.page_content for document in documents)
            flow.root.documents += tuple(text for text in texts if text not in flow.root.documents)
            flow.answered(output=texts)
            return list(documents)
    except GuardrailViolation:
        if guard.refusal is None:
            raise
        return [Document(guard.refusal)]
