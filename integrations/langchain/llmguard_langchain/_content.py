"""LangChain's messages, answers and tools in the shapes of the GenAI conventions: pure functions, no bytes kept."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, Generation

from llmguard_middleware._flow import Flow
from llmguard_middleware._unjudged import Unjudged
from llmguard_middleware.telemetry import _content as content
from llmguard_middleware.telemetry._boundary import never_raises

from . import _convert as convert

__all__ = ["tell_answers", "tell_asked", "tell_streamed"]

_DATA = re.compile(r"data:([\w.+/-]*)")
_MODALITIES = {
    "image": "image", "image_url": "image", "input_image": "image", "audio": "audio", "input_audio": "audio",
    "video": "video", "file": "document", "input_file": "document", "document": "document", "media": "document",
    "text-plain": "document",
}  # fmt: skip
_CALLS = ("tool_use", "tool_call", "function_call", "tool_call_chunk", "input_json_delta", "invalid_tool_call")


@never_raises
def tell_asked(flow: Flow | Unjudged, messages: Sequence[BaseMessage], tools: Any = None) -> None:
    """Tell what goes to a chat model, once the guardrails let it pass."""
    if (told := flow.content) is not None:
        told.messages = [content.message(convert.role(one), _parts(one)) for one in messages]
        if isinstance(tools, (list, tuple)) and tools:
            told.definitions = [_definition(tool) for tool in tools]


@never_raises
def tell_answers(flow: Flow | Unjudged, candidates: Sequence[Generation]) -> None:
    """Tell what a model answers, once the guardrails let it pass."""
    if (told := flow.content) is not None:
        told.answers = [_answer(one) for one in candidates]


@never_raises
def tell_streamed(flow: Flow, chunks: Sequence[Any]) -> None:
    """`tell_answers`, for the chunks of an answer."""
    if chunks and flow.content is not None:
        tell_answers(flow, [reduce(add, chunks)])


def _answer(one: Generation) -> dict[str, Any]:
    info = one.generation_info or {}
    if not isinstance(one, ChatGeneration):
        return content.output([content.text(one.text)], str(info.get("finish_reason") or ""))
    reason = info.get("finish_reason") or one.message.response_metadata.get("finish_reason") or ""
    return content.output(_parts(one.message), str(reason))


def _parts(message: BaseMessage) -> list[dict[str, Any]]:
    if isinstance(message, ToolMessage):
        return [content.tool_call_response(convert.text_of(message), message.tool_call_id)]
    said: Any = message.content
    blocks = [said] if isinstance(said, str) else said
    found = [part for block in blocks if block and (part := _part(block)) is not None]
    thought = message.additional_kwargs.get("reasoning_content")
    if isinstance(thought, str) and thought:
        found.insert(0, content.reasoning(thought))
    calls: Any = [*message.tool_calls, *message.invalid_tool_calls] if isinstance(message, AIMessage) else ()
    found += [content.tool_call(str(call["name"] or ""), call["args"], call["id"]) for call in calls]
    return found or [content.text("")]


def _part(block: Any) -> dict[str, Any] | None:
    """One block of a message; None for tool calls, which the message lists, and for what LangChain adds."""
    if isinstance(block, str):
        return content.text(block)
    if not isinstance(block, Mapping):
        return {"type": type(block).__name__}
    kind = str(block.get("type") or "unknown")
    if kind in _CALLS:
        return None
    for name in ("reasoning", "thinking"):
        if kind == name:
            thought = block.get(name)
            return content.reasoning(thought) if isinstance(thought, str) else {"type": "reasoning", "content": ""}
    if kind in _MODALITIES:
        return _media(kind, block)
    words = block.get("text")
    return content.text(words) if isinstance(words, str) else {"type": kind}


def _media(kind: str, block: Mapping[str, Any]) -> dict[str, Any]:
    """An image or the like: its address, its file's id, or how large it is."""
    mime = block.get("mime_type") or block.get("media_type")
    inner = next((block[key] for key in (kind, "source", "file", "image_url", "input_audio") if key in block), block)
    if isinstance(inner, Mapping):
        holder, where = inner, inner.get("url")
    else:
        holder, where = block, inner if isinstance(inner, str) else block.get("url")
    modality, mime = _MODALITIES[kind], mime or holder.get("media_type") or holder.get("mime_type")
    if mime is None and isinstance(holder.get("format"), str):  # as OpenAI says it
        mime = f"{modality}/{holder['format']}"
    if isinstance(where, str) and not where.startswith("data:"):
        return content.uri(modality, where, mime)
    for key in ("file_id", "id"):
        if kind in ("file", "input_file", "image", "document") and isinstance(holder.get(key), str):
            return content.file(modality, holder[key], mime)
    data = where if isinstance(where, str) else next(
        (holder[key] for key in ("base64", "data", "file_data", "text") if key in holder), None
    )  # fmt: skip
    if isinstance(data, str) and (found := _DATA.match(data[:100])):
        mime, data = mime or found[1], data.partition(",")[2]
    size = len(data) * 3 // 4 if isinstance(data, str) else len(data) if isinstance(data, (bytes, bytearray)) else None
    return content.blob(modality, mime if isinstance(mime, str) else None, size)


def _definition(tool: Any) -> dict[str, Any]:
    """A tool as LangChain gives it to a provider: mostly as OpenAI wants it."""
    if not isinstance(tool, Mapping):
        return {"type": "function", "name": str(getattr(tool, "name", type(tool).__name__))}
    inner = tool["function"] if isinstance(tool.get("function"), Mapping) else tool
    kind = str(tool.get("type") or "function")
    name = str(inner.get("name") or kind)
    told: dict[str, Any] = {"type": "function" if "name" in inner else kind, "name": name}
    if isinstance(inner.get("description"), str):
        told["description"] = inner["description"]
    parameters = inner.get("parameters") or inner.get("input_schema")
    if isinstance(parameters, Mapping):
        told["parameters"] = parameters
    return told
