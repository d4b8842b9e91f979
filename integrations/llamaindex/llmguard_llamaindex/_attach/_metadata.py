"""What an engine tells beside its answer: rows of a database, say, which may hold what the answer must not."""

from __future__ import annotations

from functools import partial
from typing import Any

from llama_index.core.base.response.schema import PydanticResponse, Response
from llama_index.core.schema import BaseNode, NodeWithScore

from llmguard_middleware._judge import Plan
from llmguard_middleware._leaves import numbers, opaque, texts_in
from llmguard_middleware._steps import Judge, Steps
from llmguard_middleware._together import judged_value

from .._root import Root
from ._answers import twin

__all__ = ["with_metadata"]

_JUDGED_ELSEWHERE = (NodeWithScore, BaseNode, Response, PydanticResponse)


def with_metadata(root: Root, response: Any) -> Steps[Any]:
    """The response with its metadata as they may leave. Those of documents are judged with the documents.

    Raises:
        GuardrailViolation: if a guardrail stops them.
    """
    metadata = getattr(response, "metadata", None)
    if not isinstance(metadata, dict) or not root.flow.rules("output"):
        return response
    nodes = {item.node.node_id: item.node.metadata for item in getattr(response, "source_nodes", None) or ()}
    own = {
        key: value
        for key, value in metadata.items()
        if not ((key in nodes and nodes[key] == value) or _elsewhere(value))
    }
    values = list(own.values())
    if not any(texts_in(values)) and not numbers(values):
        return response
    told = yield Judge(root.flow.guard, _judged(root, own))
    if all(told[key] is value for key, value in own.items()):
        return response
    changed = twin(response)
    changed.metadata = {key: told.get(key, value) for key, value in metadata.items()}
    return changed


def _judged(root: Root, own: dict[Any, Any]) -> Plan[dict[Any, Any]]:
    flow = root.flow
    told = {}
    for key, value in own.items():
        if flow.acts and opaque(value):
            told[key] = f"<{type(value).__name__}>"  # nobody can look into it
            continue
        told[key] = yield from judged_value(value, partial(flow.edits, stage="output"))
    return told


def _elsewhere(value: Any) -> bool:
    return isinstance(value, _JUDGED_ELSEWHERE) or (
        isinstance(value, (list, tuple)) and any(_elsewhere(item) for item in value)
    )
