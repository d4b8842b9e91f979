"""Values of a call as texts for a prompt."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..._call import Message

__all__ = ["rendered"]


def rendered(value: Any) -> str:
    """A text as it is, texts one below the other, messages with who said them, all else as JSON.

    Half a surrogate pair, which no model can be sent, becomes a question mark.
    """
    return _text(value).encode("utf-8", "replace").decode("utf-8")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Message):
        return value.text
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)) and value:
        if all(isinstance(one, str) for one in value):
            return "\n\n".join(value)
        if all(isinstance(one, Message) for one in value):
            return "\n".join(f"{one.role}: {one.text}" for one in value)
    return "" if value is None or value == () else _json(value)


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=_plain)
    except (ValueError, TypeError, RecursionError):  # it holds itself, say, or keys that are no texts
        return str(value)


def _plain(value: Any) -> Any:
    if callable(dump := getattr(value, "model_dump", None)):  # pydantic, without importing it
        return dump(mode="json")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Message):
        return {"role": value.role, "text": value.text}
    return list(value) if isinstance(value, (tuple, set, frozenset)) else str(value)
