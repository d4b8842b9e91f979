"""Guarded embedding models: what leaves to them, texts and queries, at the embedding stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from llmguard_middleware import Call, Guard
from llmguard_middleware._drive import inside_scorer
from llmguard_middleware._flow import Flow
from llmguard_middleware._ingestion import dimensions
from llmguard_middleware._steps import Ask, Judge, Steps, arun, run
from llmguard_middleware.telemetry import _names as names

from ._copies import bare

__all__ = ["embeddings_members"]


def embeddings_members(base: type[Any], guard: Guard) -> dict[str, Any]:
    """The members of the class of a guarded embedding model of the class `base`."""

    # What the model's own methods call on themselves is not judged again.
    def embed_documents(self: Any, texts: list[str], *args: Any, **kwargs: Any) -> Any:
        thing = bare(self, base)
        if inside_scorer.get():
            return thing.embed_documents(texts, *args, **kwargs)
        return run(_embedded(guard, thing, texts, lambda told: thing.embed_documents(told, *args, **kwargs)))

    def embed_query(self: Any, text: str, *args: Any, **kwargs: Any) -> Any:
        thing = bare(self, base)
        if inside_scorer.get():
            return thing.embed_query(text, *args, **kwargs)
        return run(_embedded(guard, thing, text, lambda told: thing.embed_query(told, *args, **kwargs)))

    async def aembed_documents(self: Any, texts: list[str], *args: Any, **kwargs: Any) -> Any:
        thing = bare(self, base)
        if inside_scorer.get():
            return await thing.aembed_documents(texts, *args, **kwargs)
        return await arun(_embedded(guard, thing, texts, lambda told: thing.aembed_documents(told, *args, **kwargs)))

    async def aembed_query(self: Any, text: str, *args: Any, **kwargs: Any) -> Any:
        thing = bare(self, base)
        if inside_scorer.get():
            return await thing.aembed_query(text, *args, **kwargs)
        return await arun(_embedded(guard, thing, text, lambda told: thing.aembed_query(told, *args, **kwargs)))

    known = {one.__name__: one for one in (embed_documents, embed_query, aembed_documents, aembed_query)}
    return {**_own(base, guard, set(known)), **known}


def _own(base: type[Any], guard: Guard, known: set[str]) -> dict[str, Any]:
    """The class's own public methods that embed: what they are given has no form that a guard could know."""
    named = [name for name in dir(base) if name.startswith(("embed", "aembed")) and name not in known]
    methods = [name for name in named if callable(one := getattr(base, name)) and not isinstance(one, type)]
    return {name: _refused(base, guard, name) for name in methods}


def _refused(base: type[Any], guard: Guard, name: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not inside_scorer.get():
            rules = [rule for policy in guard.policies for rule in policy.at("embedding")]
            guard.refuse(rules, f"{base.__name__}.{name}()", _INSTEAD)
        own = type(self).__mro__
        # Not `bare`: without rules, what it calls on itself is seen as before.
        return getattr(super(own[own.index(base) - 1], self), name)(*args, **kwargs)

    return method


_INSTEAD = "call embed_documents or embed_query, or their async twins, which are guarded"


def _embedded(guard: Guard, thing: Any, given: str | Sequence[str], ask: Callable[[Any], Any]) -> Steps[Any]:
    texts = [given] if isinstance(given, str) else list(given)
    kind = type(thing).__name__
    model = getattr(thing, "model", "")
    call = Call(
        "embeddings",
        name=kind,
        model=model if isinstance(model, str) else "",
        inputs={"input": given if isinstance(given, str) else texts},
        attributes={names.EMBEDDING_INPUTS: len(texts)},
    )
    with Flow(guard, call, owner=vars(thing)) as flow:
        flow.root.check()
        told = yield Judge(guard, flow.judge_all(texts, "embedding"))
        passed = told[0] if isinstance(given, str) else told
        flow.call = flow.call.but(inputs={"input": passed})  # what monitors see
        vectors = yield Ask(flow.active, partial(ask, passed))
        flow.answered(answer_attributes=dimensions(vectors, several=not isinstance(given, str)))
        return vectors
