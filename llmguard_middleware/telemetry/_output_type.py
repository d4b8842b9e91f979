"""What kind of answer a call asks for, as providers spell it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["OUTPUT_KEYS", "output_type"]

OUTPUT_KEYS = frozenset(("response_format", "response_mime_type", "format"))


def output_type(given: Mapping[str, Any]) -> str:
    """The value of `gen_ai.output.type` that these parameters of a call ask for; empty if they ask for none.

    `response_format` is OpenAI's and Mistral's (an object with a type, or the class of what is wanted),
    `response_mime_type` Google's, `format` Ollama's (`json`, or a schema).
    """
    if OUTPUT_KEYS.isdisjoint(given):
        return ""
    if (wanted := given.get("response_format")) is not None:
        kind = wanted.get("type") if isinstance(wanted, Mapping) else wanted
        if isinstance(kind, str):
            return "json" if kind.startswith("json") else "text" if kind == "text" else ""
        return "json" if isinstance(wanted, type) else ""
    if isinstance(kind := given.get("response_mime_type"), str):
        return {"application/json": "json", "text/plain": "text"}.get(kind, "")
    wanted = given.get("format")
    return "json" if wanted == "json" or (isinstance(wanted, Mapping) and wanted) else ""
