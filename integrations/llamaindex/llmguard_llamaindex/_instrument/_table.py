"""Which methods of which classes are calls. Classes are known by name: what nobody imported needs no import here."""

from __future__ import annotations

from typing import Any

from ._agents import Agent, ToolStep, Turn, Workflow
from ._engines import Chat, Query, Synthesis, Writer
from ._kinds import Kind
from ._models import Embedding, Model
from ._parts import Rerank, Retrieval, Tool

__all__ = ["NO_CALLS", "Table"]

_BOTH = ("", "a")
_METHODS: dict[type[Kind], frozenset[str]] = {
    Model: frozenset(p + n for n in ("chat", "complete") for p in ("", "a", "stream_", "astream_")),
    Retrieval: frozenset(p + "retrieve" for p in _BOTH),
    Query: frozenset(p + "query" for p in _BOTH),
    Chat: frozenset(p + n for n in ("chat", "stream_chat") for p in _BOTH),
    Embedding: frozenset(
        p + n for n in ("get_query_embedding", "get_text_embedding", "get_text_embedding_batch") for p in _BOTH
    ),
    Tool: frozenset(("call", "acall", "__call__")),
    Rerank: frozenset(p + "postprocess_nodes" for p in ("_", "_a", *_BOTH)),
    Synthesis: frozenset(p + "synthesize" for p in _BOTH),
    Writer: frozenset(p + "write_response_to_history" for p in _BOTH),
    Workflow: frozenset(("run",)),
    Agent: frozenset(("run",)),
}
# The nearest of a class's bases that is here decides; the shells (None) hand their calls on to what they hold.
_CLASSES: dict[tuple[str, str], type[Kind] | None] = {
    ("llama_index.core.llms.structured_llm", "StructuredLLM"): None,
    ("llama_index.core.base.llms.base", "BaseLLM"): Model,
    ("llama_index.core.base.base_retriever", "BaseRetriever"): Retrieval,
    ("llama_index.core.base.base_query_engine", "BaseQueryEngine"): Query,
    ("llama_index.core.chat_engine.types", "BaseChatEngine"): Chat,
    ("llama_index.core.chat_engine.types", "StreamingAgentChatResponse"): Writer,
    ("llama_index.core.base.embeddings.base", "BaseEmbedding"): Embedding,
    ("llama_index.core.tools.types", "BaseToolAsyncAdapter"): None,
    ("llama_index.core.tools.types", "BaseTool"): Tool,
    ("llama_index.core.postprocessor.types", "BaseNodePostprocessor"): Rerank,
    ("llama_index.core.response_synthesizers.base", "BaseSynthesizer"): Synthesis,
    ("llama_index.core.agent.workflow.base_agent", "BaseWorkflowAgent"): Agent,
    ("workflows.workflow", "Workflow"): Workflow,
}
_STEPS: dict[str, type[Kind]] = {"run_agent_step": Turn, "call_tool": ToolStep}
_MOST = 4096  # classes may be made at run time
NO_CALLS: set[tuple[type, str]] = set()
"""Classes and names of spans that are no calls, whatever was asked for."""


class Table:
    """Finds the kind of a call by the class of its object and the name of its span, and remembers it."""

    def __init__(self, *, synthesis: bool) -> None:
        self._synthesis = synthesis
        self._kinds: dict[type[Kind], Kind] = {}
        self.known: dict[tuple[type, str], Kind | None] = {}

    def find(self, key: tuple[type, str], instance: Any) -> Kind | None:
        """The kind, None for what is no call: most of what LlamaIndex tells of."""
        cls, name = key
        if len(self.known) >= _MOST:
            self.known.clear()
        kind = self._sort(cls, name.rpartition(".")[2], instance)
        if kind is None:
            if len(NO_CALLS) >= _MOST:
                NO_CALLS.clear()
            NO_CALLS.add(key)
        if kind is Synthesis and not self._synthesis:
            kind = None
        found = None if kind is None else self._kinds.get(kind) or self._kinds.setdefault(kind, kind())
        self.known[key] = found
        return found

    @staticmethod
    def _sort(of: type, method: str, instance: Any) -> type[Kind] | None:
        if instance is None:
            return _STEPS.get(method)  # of workflows, which are told of as functions or, before 2.6, as methods
        bases = ((base.__module__, base.__qualname__) for base in of.__mro__)
        kind = next((_CLASSES[base] for base in bases if base in _CLASSES), None)
        if kind is None or method not in _METHODS[kind]:
            return _STEPS.get(method) if kind in (Agent, Workflow) else None
        return None if kind is Rerank and not _has_model(of, instance) else kind


def _has_model(cls: type, instance: Any) -> bool:
    """Whether a postprocessor asks a model: an LLM's, one of its own, or by its name."""
    if "rerank" in cls.__name__.lower():
        return True
    of = vars(instance)
    return "llm" in of or any(isinstance(of.get(name), str) for name in ("model", "model_name"))
