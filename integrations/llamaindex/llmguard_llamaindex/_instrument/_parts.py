"""Retrievers, rerankers and tools."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring_ascii as _quoted
from typing import TYPE_CHECKING, Any

from llmguard_middleware import Call
from llmguard_middleware._flow import Flow
from llmguard_middleware._leaves import texts_in
from llmguard_middleware.errors import LLMGuardError
from llmguard_middleware.telemetry import _names as names

from .._retrieval import asked, query_text, texts_of
from ._kinds import Kind, first, record

if TYPE_CHECKING:
    from ._run import Run

__all__ = ["Rerank", "Retrieval", "Tool"]

_MOST = 20  # documents that a span names: some backends cut an attribute at 2 KB


def documents(nodes: Sequence[Any] | None) -> dict[str, Any]:
    """The documents' ids and scores, and how many they are if not all are named: no content."""
    nodes = nodes or ()
    # By hand, at a third of what `json.dumps` takes.
    named = [f'{{"id": {_quoted(item.node.node_id)}, "score": {_score(item.score)}}}' for item in nodes[:_MOST]]
    told: dict[str, Any] = {names.RETRIEVAL_DOCUMENTS: f"[{', '.join(named)}]"}
    return told if len(nodes) <= _MOST else {**told, names.RETRIEVED: len(nodes)}


def _score(score: Any) -> str:
    if type(score) is not float:  # another kind of number, or none
        score = math.nan if score is None else float(score)
    return repr(score) if math.isfinite(score) else "null"


class Retrieval(Kind):
    """A retriever; one inside another is a retrieval of its own."""

    def __init__(self) -> None:
        self._known: dict[int | None, Call] = {}  # by how many documents they ask for

    def asked(self, run: Run, arguments: Mapping[str, Any], method: str, *, judged: bool) -> Call:
        """The call, and how many documents it asks for."""
        top_k = getattr(run.owner, "similarity_top_k", None)
        if (call := self._known.get(top_k if isinstance(top_k, int) else None)) is None:
            told = {names.RETRIEVAL_TOP_K: top_k} if isinstance(top_k, int) else {}
            call = self._known[top_k] = Call.made("retrieval", attributes=told)
        return call.but(inputs=asked(query_text(first(arguments)))) if judged else call

    def answer(self, run: Run, result: Any) -> dict[str, Any]:
        """The documents' ids and scores; their texts for the monitors."""
        told: dict[str, Any] = {"answer_attributes": documents(result)}
        if (flow := run.flow) is not None:
            texts = texts_of(result or ())
            for text in texts:
                record(flow, "retrieval", text)
            flow.root.documents += texts
            told["output"] = texts
        return told


class Rerank(Kind):
    """A node postprocessor with a model. OpenTelemetry has no name for this yet: the operation is `rerank`."""

    def asked(self, run: Run, arguments: Mapping[str, Any], method: str, *, judged: bool) -> Call:
        """The call and its model; one that asks an LLM has that below it."""
        of = vars(run.owner)
        model = next((of[name] for name in ("model", "model_name") if isinstance(of.get(name), str)), "")
        call = Call.made("rerank", model=model, name=type(run.owner).__name__)
        query = arguments.get("query_bundle") if judged else None
        return call if query is None else call.but(inputs=asked(query_text(query)))

    def answer(self, run: Run, result: Any) -> dict[str, Any]:
        """The documents' ids and new scores."""
        told: dict[str, Any] = {"answer_attributes": documents(result)}
        return told if run.flow is None else {**told, "output": texts_of(result or ())}


class _ToolError(LLMGuardError):
    """A tool gave an error as its result."""


class Tool(Kind):
    """A tool."""

    def asked(self, run: Run, arguments: Mapping[str, Any], method: str, *, judged: bool) -> Call:
        """The call, under the id that the model gave it if an agent calls."""
        outer = run.outer
        attributes: dict[str, Any] = {}
        if outer is not None and not outer.kind.has_span and outer.request is not None:
            attributes[names.TOOL_CALL_ID] = outer.request
        metadata = run.owner.metadata
        call = Call.made("execute_tool", name=metadata.name or type(run.owner).__name__, attributes=attributes)
        if not judged:
            return call
        run.request = {**arguments, **(arguments.get("kwargs") or {})}
        run.request.pop("kwargs", None)
        return call.but(inputs=run.request)

    def opened(self, run: Run, flow: Flow) -> None:
        """Record the arguments."""
        for text in texts_in(run.request):
            record(flow, "tool_call", text)

    def answer(self, run: Run, result: Any) -> dict[str, Any]:
        """What the tool says, if somebody asks."""
        if run.flow is None:
            return {}
        output = str(result)
        record(run.flow, "tool_result", output)
        return {"output": output}

    def error(self, result: Any) -> BaseException | None:
        """A tool may say that it failed in place of raising."""
        if not getattr(result, "is_error", False):
            return None
        return getattr(result, "exception", None) or _ToolError("the tool said that it failed")
