"""Which fields of a message are no text of anybody, by their names: ids, types, what is encrypted or binary."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["ARGUMENTS", "MEDIA", "REASONING", "is_binary", "is_fact", "media_of"]

# What programs write to each other. The rest is judged, so that a field which nobody has heard of hides nothing.
_FACTS = frozenset((
    "type", "id", "index", "role", "object", "status", "format", "mime_type", "media_type", "source_type", "phase",
    "namespace", "signature", "thought_signature", "encrypted_content", "encrypted_index", "encrypted_stdout", "model",
    "model_name", "model_provider", "provider", "finish_reason", "stop_reason", "done_reason", "system_fingerprint",
    "service_tier", "output_version", "created_at", "completed_at", "expires_at",
))  # fmt: skip
_OPAQUE = frozenset(("logprobs", "headers", "cache_control", "safety_ratings"))
_ID = re.compile(r"(?:.*_|__.*)ids?(?:__)?\Z")
_DETAILS = frozenset(("auto", "low", "high", "original"))  # of an image
_BINARY = frozenset(("base64", "data", "file_data", "b64_json", "bytes"))
_TEXTUAL = frozenset(("text", "content"))  # sources of documents that are texts

ARGUMENTS = ("args", "arguments", "input", "partial_json")
REASONING = frozenset(("reasoning", "thinking", "reasoning_content", "reasoning_text", "thinking_content"))
MEDIA = {
    **dict.fromkeys(("image", "image_url", "input_image", "image_generation_call"), "image"),
    **dict.fromkeys(("audio", "input_audio", "output_audio", "audio_url"), "audio"),
    **dict.fromkeys(("video", "video_url", "input_video"), "video"),
    **dict.fromkeys(("file", "input_file", "document", "pdf", "media", "container_upload"), "file"),
}


def is_fact(key: str, value: Any) -> bool:
    """Whether this is what one program tells another: prose under the name of a fact is none."""
    if value is None or isinstance(value, (bool, int, float)) or key in _OPAQUE:
        return True
    if not isinstance(value, str):
        return False
    return (key in _FACTS or _ID.match(key) is not None) and not any(map(str.isspace, value))


def is_binary(key: str, value: str, of: Mapping[str, Any], media: str) -> bool:
    """Whether a string is no text: content of the kind `media`, or what only its provider can read."""
    if media and value.startswith("data:") and ";base64," in value[:200]:
        return True
    if of.get("type") == "redacted_thinking":
        return True
    if key in _BINARY and media:
        return not {of.get("type"), of.get("source_type")} & _TEXTUAL
    return (key == "result" and media == "image") or (key == "detail" and value in _DETAILS)


def media_of(block: Mapping[str, Any], said: str) -> str:
    """Which kind of content, that is no text, a block holds; nothing if it holds none."""
    kind = MEDIA.get(said, "")
    if not kind and said == "text-plain" and not block.get("text"):
        kind = "file"
    source = block.get("source")
    if kind == "file":
        if {block.get("source_type")} & _TEXTUAL or (isinstance(source, Mapping) and source.get("type") in _TEXTUAL):
            return ""
        mime = str(block.get("mime_type") or "").partition("/")[0]
        return mime if mime in ("image", "audio", "video") else kind
    return kind
