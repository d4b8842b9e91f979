"""protect, for embedding models: a guarded copy. What leaves to it, texts and queries, at the embedding stage."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from llama_index.core.base.embeddings.base import BaseEmbedding

from llmguard_middleware import Guard
from llmguard_middleware._drive import inside_scorer
from llmguard_middleware._flow import Flow, reentered
from llmguard_middleware._ingestion import dimensions, reaches_embedding
from llmguard_middleware._steps import Ask, Judge, Steps, arun, run

from ._instrument._models import embeddings_call
from ._seal import above, guards_of, seal

__all__ = ["guarded_embedding"]

E = TypeVar("E", bound=BaseEmbedding)


def guarded_embedding(model: E, guard: Guard) -> E:
    """`protect`, for an embedding model.

    Raises:
        UnenforceableError: if the guard has rules, and none of the stage "embedding".
    """
    reaches_embedding(guard, "protect(embedding, guard)")
    if guard in guards_of(model):
        return model
    return seal(copy.copy(model), _GuardedEmbedding, guard)


class _GuardedEmbedding:
    """The guard methods, put before the model's own class. What embeds several queries or nodes calls these."""

    def get_query_embedding(self, query: str, *args: Any, **kwargs: Any) -> Any:
        return _guarded(self, run, above(self).get_query_embedding, args, kwargs)(query)

    async def aget_query_embedding(self, query: str, *args: Any, **kwargs: Any) -> Any:
        return await _guarded(self, arun, above(self).aget_query_embedding, args, kwargs)(query)

    def get_text_embedding(self, text: str, *args: Any, **kwargs: Any) -> Any:
        return _guarded(self, run, above(self).get_text_embedding, args, kwargs)(text)

    async def aget_text_embedding(self, text: str, *args: Any, **kwargs: Any) -> Any:
        return await _guarded(self, arun, above(self).aget_text_embedding, args, kwargs)(text)

    def get_text_embedding_batch(self, texts: list[str], *args: Any, **kwargs: Any) -> Any:
        return _guarded(self, run, above(self).get_text_embedding_batch, args, kwargs)(texts)

    async def aget_text_embedding_batch(self, texts: list[str], *args: Any, **kwargs: Any) -> Any:
        return await _guarded(self, arun, above(self).aget_text_embedding_batch, args, kwargs)(texts)


def _guarded(
    model: Any, runner: Callable[[Steps[Any]], Any], method: Callable[..., Any], args: Any, kwargs: dict[str, Any]
) -> Callable[[Any], Any]:
    def ask(given: Any) -> Any:
        return method(given, *args, **kwargs)

    if not inside_scorer.get():  # a scorer's own call is not judged in turn
        for guard in guards_of(model):
            if not reentered(model, guard):
                ask = partial(_behind, runner, guard, model, ask)
    return ask


def _behind(runner: Callable[[Steps[Any]], Any], guard: Guard, model: Any, ask: Any, given: Any) -> Any:
    return runner(_embedded(guard, model, ask, given))


def _embedded(guard: Guard, model: Any, ask: Callable[[Any], Any], given: str | Sequence[str]) -> Steps[Any]:
    texts = [given] if isinstance(given, str) else list(given)
    call = embeddings_call(type(model), getattr(model, "model_name", None), len(texts)).but(inputs={"input": given})
    with Flow(guard, call, owner=model) as flow:
        flow.root.check()
        told = yield Judge(guard, flow.judge_all(texts, "embedding"))
        passed = told[0] if isinstance(given, str) else told
        flow.call = flow.call.but(inputs={"input": passed})  # what monitors see
        vectors = yield Ask(flow.active, partial(ask, passed))
        flow.answered(answer_attributes=dimensions(vectors, several=not isinstance(given, str)))
        return vectors
