"""What was given by mistake, and what to write in its place: the second half of a sentence."""

from __future__ import annotations

from collections.abc import Iterable
from types import FunctionType, MethodType
from typing import Any, NoReturn

from llama_index.core.agent.workflow import AgentWorkflow
from llama_index.core.agent.workflow.base_agent import BaseWorkflowAgent
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.chat_engine.types import BaseChatEngine
from llama_index.core.indices.base import BaseIndex
from llama_index.core.tools import BaseTool
from llama_index.core.workflow import Workflow

from llmguard_middleware import ConfigurationError, Guard, Guardrail, Stage

__all__ = ["ATTACHABLE", "refuse_beyond", "refuse_kind"]

ATTACHABLE = (BaseQueryEngine, BaseChatEngine, BaseRetriever, BaseWorkflowAgent, AgentWorkflow)
_TAKES = {
    "attach": "a query engine, a chat engine, a retriever or an agent",
    "detach": "what attach(engine, guard) gave",
    "protect": "a LlamaIndex LLM, tool or embedding model",
}
_FORMS = {"attach": "attach(engine, guard)", "detach": "detach(engine)", "protect": "protect(llm, guard)"}
_KINDS: tuple[tuple[Any, str], ...] = (
    (ATTACHABLE, "write attach(engine, guard)"),
    ((BaseLLM, BaseTool), "write protect(llm, guard), which gives a guarded copy to build engines and agents with"),
    (BaseIndex, "attach what you make of it, attach(index.as_query_engine(), guard)"),
    (BaseEmbedding, "write protect(embedding, guard), which gives a guarded copy to build indexes and retrievers with"),
    ((list, tuple), "give them one by one"),
    (Workflow, "guard its parts, with protect(llm, guard), protect(tool, guard) and attach(retriever, guard)"),
    (
        (str, bytes, type(None)),
        "give the object itself, say protect(OpenAI(...), guard) or attach(index.as_query_engine(), guard)",
    ),
    (
        (FunctionType, MethodType),
        "of a function write @guard.op, or protect(FunctionTool.from_defaults(function), guard)",
    ),
    (object, "build it with llm=protect(llm, guard)"),
)
_FIRST = "reaches it: do that first"
_REACHES: dict[Stage, str] = {
    "input": f"attach(engine, guard) or protect(llm, guard) {_FIRST}",
    "output": f"attach(engine, guard) or protect(llm, guard) {_FIRST}",
    "retrieval": f"attach(engine, guard), attach(retriever, guard) or GuardPostprocessor(guard) {_FIRST}",
    "tool_call": f"attach(agent, guard), protect(llm, guard) or protect(tool, guard) {_FIRST}",
    "tool_result": f"attach(agent, guard) or protect(tool, guard) {_FIRST}",
    "embedding": f"protect(embedding, guard) or GuardTransformer(guard) {_FIRST}",
}


def refuse_kind(function: str, given: Any) -> NoReturn:
    """Refuse what `attach`, `detach` or `protect` cannot take.

    Raises:
        ConfigurationError: naming the class of what was given, and what to write instead.
    """
    kind = f"the class {given.__name__}" if isinstance(given, type) else type(given).__name__
    raise ConfigurationError(f"{function}() takes {_TAKES[function]}, not {kind}: {_instead(function, given)}")


def _instead(function: str, given: Any) -> str:
    form = _FORMS[function]
    if isinstance(given, Guard):
        return f"write {form}" + (", in this order" if ", " in form else "")
    if isinstance(given, type):
        return f"write {function}({given.__name__}(...){', guard' if ', ' in form else ''})"
    if function == "detach":
        protected = isinstance(given, (BaseLLM, BaseTool))
        return "protect() gave a copy, so use the original in its place" if protected else "it has no guard of its own"
    if any(one.__name__ == "MultiModalLLM" for one in type(given).__mro__):  # whose module warns when it is imported
        return "images go to LLMs in ImageBlocks of messages"
    return next(words for kinds, words in _KINDS if isinstance(given, kinds))


def refuse_beyond(guard: Guard, rules: Iterable[Guardrail], where: str) -> None:
    """Refuse guardrails of stages that are not reached there, each with what does reach its stage.

    Raises:
        UnenforceableError: for the first one that acts.
    """
    for rule in rules:
        guard.refuse([rule], where, _REACHES[rule.stage])
