"""What an engine answered, as it may leave."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from llama_index.core.base.response.schema import PydanticResponse, Response
from llama_index.core.chat_engine.types import AgentChatResponse

from llmguard_middleware._leaves import leaves, with_leaves
from llmguard_middleware._steps import Judge, Steps
from llmguard_middleware._together import judged_numbers

from .._root import Root

__all__ = ["released", "twin"]


def released(root: Root, response: Any) -> Steps[tuple[Any, Any]]:
    """The answer as it may leave, and its text. What the guarded LLM let go word for word is not judged again.

    Raises:
        GuardrailViolation: if a guardrail stops the answer.
        UnenforceableError: if nobody can look into it, and a guardrail acts.
    """
    guard, said = root.flow.guard, getattr(response, "response", None)
    if isinstance(response, PydanticResponse) and said is not None:
        parsed = said.model_dump()
        told = with_leaves(parsed, (yield Judge(guard, root.flow.release(leaves(parsed)))))
        if root.flow.rules("output"):
            ask = partial(root.flow.edits, stage="output")
            told = yield Judge(guard, judged_numbers(told, ask, together=False))
        if told is not parsed:
            response = twin(response)
            response.response = type(said).model_validate(told)
        return response, response.response.model_dump_json()
    if isinstance(said, str):
        if said in root.released:
            text = root.flow.restored(said)
        else:
            (text,) = yield Judge(guard, root.flow.release([said]))
        return (response if text == said else _with_text(response, said, text)), text
    if said is not None or not isinstance(response, (Response, PydanticResponse, AgentChatResponse)):
        guard.refuse(
            guard.rules("output"),
            f"attach() on an answer of type {type(response).__name__}",
            "let the engine return a Response",
        )
    return response, said


def twin(response: Any) -> Any:
    """A shallow copy. LlamaIndex's parsed answers look their own attributes up for ever while they are copied."""
    return replace(response) if isinstance(response, PydanticResponse) else copy.copy(response)


def _with_text(response: Any, before: str, after: str) -> Any:
    changed = twin(response)
    changed.response = after
    if sources := getattr(response, "sources", None):
        changed.sources = _sources(sources, before, after)
    return changed


def _sources(sources: Sequence[Any], before: str, after: str) -> list[Any]:
    """The tool outputs of a chat engine, of which one may repeat its answer."""
    told: list[Any] = []
    for source in sources:
        raw = source.raw_output
        if isinstance(raw, Response) and raw.response == before:
            raw = copy.copy(raw)
            raw.response = after
            source = source.model_copy(update={"raw_output": raw})  # noqa: PLW2901 - the same one, as it may leave
            source.content = after
        told.append(source)
    return told
