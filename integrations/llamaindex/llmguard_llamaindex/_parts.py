"""The parts of an engine behind a guard: shallow copies of whatever holds an LLM or retrieves, down to the LLMs."""

from __future__ import annotations

import copy
from types import MethodType
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.prompts.mixin import PromptMixin
from llama_index.core.types import BasePydanticProgram

from llmguard_middleware import Guard

from ._protect import guarded_llm
from ._retrieval import GuardedRetriever
from ._seal import guards_of, seal

__all__ = ["Parts"]

# Engines, synthesizers, retrievers, selectors, query transforms, question generators are all PromptMixin; indexes,
# stores and embedding models are not, so they stay shared.
_HOLDERS = (PromptMixin, BaseNodePostprocessor, BasePydanticProgram)


class Parts:
    """Copies the parts of one engine. What was copied once is the same copy wherever it is referred to.

    Attributes:
        retrieves: whether a retriever was found.
    """

    def __init__(self, engine: Any, guard: Guard) -> None:
        self._guard = guard
        self._copies: dict[int, Any] = {id(engine): engine}
        self.retrieves = False

    def replacements(self, thing: Any) -> dict[str, Any]:
        """The attributes of `thing` that need another value, with that value."""
        changed = {}
        for name, value in list(vars(thing).items()):
            guarded = self._guarded(value)
            if guarded is not value:
                changed[name] = guarded
        return changed

    def _guarded(self, value: Any) -> Any:
        if isinstance(value, BaseLLM):
            return self._once(value, lambda: guarded_llm(value, self._guard))
        if isinstance(value, _HOLDERS):
            return self._once(value, lambda: self._copy(value))
        if isinstance(value, MethodType):
            # A synthesizer keeps bound methods of itself: those of the original would ask the unguarded LLM.
            owner = self._guarded(value.__self__)
            return value if owner is value.__self__ else MethodType(value.__func__, owner)
        if type(value) in (list, tuple):
            items = [self._guarded(item) for item in value]
            return type(value)(items) if any(a is not b for a, b in zip(items, value, strict=True)) else value
        if type(value) is dict:
            values = {key: self._guarded(item) for key, item in value.items()}
            return values if any(values[key] is not item for key, item in value.items()) else value
        return value

    def _once(self, value: Any, make: Any) -> Any:
        if id(value) not in self._copies:
            self._copies[id(value)] = make()
        return self._copies[id(value)]

    def _copy(self, part: Any) -> Any:
        clone = copy.copy(part)
        self._copies[id(part)] = clone  # before its own parts, which may refer back to it
        for name, value in self.replacements(clone).items():
            object.__setattr__(clone, name, value)
        if isinstance(clone, BaseRetriever):
            self.retrieves = True
            if self._guard not in guards_of(clone):
                seal(clone, GuardedRetriever, self._guard)
        return clone
