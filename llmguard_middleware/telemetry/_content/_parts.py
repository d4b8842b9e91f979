"""Messages and their parts in the shapes of the GenAI conventions' JSON schemas (gen-ai-input-messages.json, ...)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ._plain import plain

__all__ = ["blob", "file", "message", "output", "reasoning", "text", "tool_call", "tool_call_response", "uri"]

Part = dict[str, Any]


def text(content: str) -> Part:
    """What somebody says."""
    return {"type": "text", "content": content}


def reasoning(content: str) -> Part:
    """What a model thought."""
    return {"type": "reasoning", "content": content}


def tool_call(name: str, arguments: Any, id_: str | None = None) -> Part:
    """A tool that the model asks for; `arguments` as an object, or as the text that the model gave."""
    return {"type": "tool_call", **({"id": id_} if id_ else {}), "name": name, "arguments": plain(arguments)}


def tool_call_response(response: Any, id_: str | None = None) -> Part:
    """What a tool gave, as the model is told."""
    return {"type": "tool_call_response", **({"id": id_} if id_ else {}), "response": plain(response)}


def blob(modality: str, mime_type: str | None, size: int | None) -> Part:
    """Binary data, without the data: `size` is its bytes, None if nobody knows."""
    told = {"mime_type": mime_type, "modality": modality, "size": size}
    return {"type": "blob", **{key: value for key, value in told.items() if value is not None}}


def uri(modality: str, where: str, mime_type: str | None = None) -> Part:
    """Data at an address."""
    return {"type": "uri", **({"mime_type": mime_type} if mime_type else {}), "modality": modality, "uri": where}


def file(modality: str, id_: str, mime_type: str | None = None) -> Part:
    """A file that the provider knows by this id."""
    return {"type": "file", **({"mime_type": mime_type} if mime_type else {}), "modality": modality, "file_id": id_}


def message(role: str, parts: Iterable[Part]) -> dict[str, Any]:
    """A message that goes to a model."""
    return {"role": role, "parts": list(parts)}


def output(parts: Iterable[Part], finish_reason: str = "") -> dict[str, Any]:
    """A message that comes from a model; `stop` is what the conventions call its end if nobody said another."""
    return {"role": "assistant", "parts": list(parts), "finish_reason": finish_reason or "stop"}
