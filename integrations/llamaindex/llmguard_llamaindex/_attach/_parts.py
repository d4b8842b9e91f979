"""The parts of an engine behind a guard: shallow copies of whatever holds an LLM or retrieves."""

from __future__ import annotations

import copy
from types import MethodType
from typing import Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.objects import ObjectRetriever
from llama_index.core.postprocessor import AutoPrevNextNodePostprocessor
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.prompts.mixin import PromptMixin
from llama_index.core.tools import QueryEngineTool, RetrieverTool
from llama_index.core.types import BasePydanticProgram

from llmguard_middleware import Guard

from .._protect import guarded_llm
from .._retrieval import GuardedRetriever
from .._seal import above, guards_of, seal
from ._heard import heard_engine, heard_llm
from ._query import GuardedEngine

__all__ = ["Parts"]

# Engines, synthesizers, retrievers, selectors, query transforms, question generators are all PromptMixin; indexes,
# stores and embedding models are not, so they stay shared.
_HOLDERS = (
    PromptMixin,
    BaseNodePostprocessor,
    BasePydanticProgram,
    QueryEngineTool,
    RetrieverTool,
    ObjectRetriever,
)


class Parts:
    """Copies the parts of one engine. What was copied once is the same copy wherever it is referred to.

    Args:
        engine: whose parts.
        guard: what is put around them.
        chats: whether the engine is a chat engine, of whose streams LlamaIndex reads some where nobody would see what
            they raise.

    Attributes:
        retrieves: whether a retriever was found.
        asks: whether an LLM was.
    """

    def __init__(self, engine: Any, guard: Guard, *, chats: bool = False) -> None:
        self._guard, self._chats = guard, chats
        self._copies: dict[int, Any] = {id(engine): engine}
        self.retrieves = self.asks = False

    def replacements(self, thing: Any) -> dict[str, Any]:
        """The attributes of `thing` that need another value, with that value."""
        changed = {}
        for name, value in list(vars(thing).items()):
            guarded = self.guarded(value)
            if guarded is not value:
                changed[name] = guarded
        return changed

    def guarded(self, value: Any) -> Any:
        """The value itself, or its guarded copy if it needs one."""
        if isinstance(value, BaseLLM):
            return self._once(value, lambda: self._llm(value))
        if isinstance(value, _HOLDERS):
            return self._once(value, lambda: self._copy(value))
        if isinstance(value, MethodType):
            # A synthesizer keeps bound methods of itself: those of the original would ask the unguarded LLM.
            owner = self.guarded(value.__self__)
            return value if owner is value.__self__ else MethodType(value.__func__, owner)
        if type(value) in (list, tuple):
            items = [self.guarded(item) for item in value]
            return type(value)(items) if any(a is not b for a, b in zip(items, value, strict=True)) else value
        if type(value) is dict:
            values = {key: self.guarded(item) for key, item in value.items()}
            return values if any(values[key] is not item for key, item in value.items()) else value
        return value

    def _once(self, value: Any, make: Any) -> Any:
        if id(value) not in self._copies:
            self._copies[id(value)] = make()
        return self._copies[id(value)]

    def _llm(self, llm: Any) -> Any:
        self.asks = True
        guarded = guarded_llm(llm, self._guard)
        if not self._chats:
            return guarded
        return heard_llm(copy.copy(guarded) if guarded is llm else guarded)  # one that was protected is its owner's

    def _copy(self, part: Any) -> Any:
        if isinstance(part, AutoPrevNextNodePostprocessor) and part.llm is None:
            where = f"attach(), whose {type(part).__name__} takes its LLM from Settings when it is called,"
            acting = [*self._guard.rules("input"), *self._guard.rules("output")]
            self._guard.refuse(acting, where, "give it one: llm=...")
        clone = copy.copy(part)
        self._copies[id(part)] = clone  # before its own parts, which may refer back to it
        for name, value in self.replacements(clone).items():
            object.__setattr__(clone, name, value)
        if isinstance(clone, BaseRetriever):
            self.retrieves = True
            self._seal(clone, GuardedRetriever)
        elif isinstance(clone, BaseQueryEngine):
            self._seal(clone, GuardedEngine)
            if self._chats:
                heard_engine(clone)
        elif isinstance(clone, ObjectRetriever):
            self._seal(clone, _GuardedObjects)
        return clone

    def _seal(self, clone: Any, methods: type) -> None:
        if self._guard not in guards_of(clone):
            seal(clone, methods, self._guard)


class _GuardedObjects:
    """What retrieves tools with engines in them, which are not parts before they are found."""

    def retrieve(self, str_or_query_bundle: Any) -> Any:
        return _found(self, above(self).retrieve(str_or_query_bundle))

    async def aretrieve(self, str_or_query_bundle: Any) -> Any:
        return _found(self, await above(self).aretrieve(str_or_query_bundle))


def _found(retriever: Any, tools: list[Any]) -> list[Any]:
    for guard in guards_of(retriever):
        parts = Parts(retriever, guard)
        tools = [parts.guarded(tool) for tool in tools]
    return tools
