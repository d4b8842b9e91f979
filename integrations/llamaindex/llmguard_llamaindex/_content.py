"""LlamaIndex's messages and answers in the shapes of the GenAI conventions: pure functions, no bytes kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.base.llms.types import ChatMessage

from llmguard_middleware._flow import Flow
from llmguard_middleware.telemetry import _content as content
from llmguard_middleware.telemetry._boundary import never_raises

from ._convert import facts, get

__all__ = ["tell_answer", "tell_asked"]

_ROLES = {"developer": "system", "chatbot": "assistant", "model": "assistant", "function": "tool"}
_MODALITIES = {"image": "image", "audio": "audio", "video": "video", "document": "document"}


@never_raises
def tell_asked(flow: Flow, request: Any, options: Mapping[str, Any]) -> None:
    """Tell what goes to a model, once the guardrails let it pass; a prompt is told by its call."""
    if (told := flow.content) is None or isinstance(request, str):
        return
    told.messages = [content.message(_role(one), _parts(one)) for one in request]
    tools = options.get("tools") or get(options.get("kwargs"), "tools")
    if isinstance(tools, (list, tuple)) and tools:
        told.definitions = [_definition(tool) for tool in tools]


@never_raises
def tell_answer(flow: Flow, response: Any) -> None:
    """Tell what a model answers, once the guardrails let it pass; the last chunk of a stream holds all of it."""
    message = getattr(response, "message", None)
    if (told := flow.content) is not None and isinstance(message, ChatMessage):
        reasons = facts(response).get("finish_reasons") or ("",)
        told.answers = [content.output(_parts(message), reasons[0])]


def _role(message: ChatMessage) -> str:
    role = str(getattr(message.role, "value", message.role))
    return _ROLES.get(role, role)


def _parts(message: ChatMessage) -> list[dict[str, Any]]:
    extra = message.additional_kwargs
    if _role(message) == "tool":
        return [content.tool_call_response(message.content or "", extra.get("tool_call_id"))]
    found = [part for block in message.blocks if (part := _part(block)) is not None]
    if not any(part["type"] == "tool_call" for part in found):
        found += [_call(call) for call in extra.get("tool_calls") or ()]
    return found or [content.text("")]


def _part(block: Any) -> dict[str, Any] | None:
    kind = str(block.block_type)
    if kind == "text":
        return content.text(block.text)
    if kind == "thinking":
        return content.reasoning(block.content or "")
    if kind == "tool_call":
        return content.tool_call(block.tool_name, block.tool_kwargs, block.tool_call_id)
    if kind == "cache":
        return None
    return _media(kind, block) if kind in _MODALITIES else {"type": kind}


def _media(kind: str, block: Any) -> dict[str, Any]:
    """An image or the like: its address, or how large it is; LlamaIndex keeps bytes as base64."""
    mime = getattr(block, f"{kind}_mimetype", None)
    if mime is None and (written := getattr(block, "format", None)):
        mime = f"{kind}/{written}"
    url = None if block.url is None else str(block.url)
    if url is not None and not url.startswith("data:"):
        return content.uri(_MODALITIES[kind], url, mime)
    data = getattr(block, "data" if kind == "document" else kind)
    if url is not None:
        data = url.partition(",")[2]
    return content.blob(_MODALITIES[kind], mime, len(data) * 3 // 4 if isinstance(data, (bytes, str)) else None)


def _call(call: Any) -> dict[str, Any]:
    """A tool call as OpenAI's client gives it, or as a dict of the same shape."""
    function = get(call, "function") or call
    return content.tool_call(str(get(function, "name") or ""), get(function, "arguments"), get(call, "id"))


def _definition(tool: Any) -> dict[str, Any]:
    """A tool as a provider is told of it: mostly as OpenAI wants it."""
    inner = get(tool, "function") or tool
    metadata = get(inner, "metadata")
    told = {"type": "function", "name": str(get(inner, "name") or get(metadata, "name") or type(tool).__name__)}
    for key in ("description", "parameters"):
        if value := get(inner, key) if metadata is None else None:
            told[key] = value
    return told
