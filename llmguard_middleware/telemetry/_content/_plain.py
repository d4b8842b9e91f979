"""Any value as JSON could hold it: a copy, bounded in depth and size, that nothing can make fail."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

__all__ = ["clean", "cut", "each", "plain"]

_DEEP = 24
_MANY = 20_000  # values in one tree


def plain(value: Any, longest: int = 1 << 20) -> Any:
    """The value with texts, numbers, lists and dicts only.

    Objects are taken by their own fields, which guardrails see too, and not by what they choose to show; what has none
    is told by its type, and bytes by how many they are. Texts are cut at `longest` characters.
    """
    return _Plain(longest).of(value, 0)


# What the schemas of messages call things: a redacted word that is the same must not take their shape from them.
_KEYS = frozenset(("role", "parts", "type", "content", "finish_reason", "id", "name", "arguments", "response"))
_WORDS: Mapping[str, frozenset[str]] = {
    "role": frozenset(("system", "user", "assistant", "tool")),
    "type": frozenset(("text", "reasoning", "tool_call", "tool_call_response", "blob", "uri", "file", "function")),
    "finish_reason": frozenset(("stop", "length", "content_filter", "tool_call", "error")),
}


def each(tree: Any, edit: Callable[[str], str], number: Callable[[Any], Any] | None = None) -> Any:
    """A tree of plain values with each text in it edited, the names of things as well; each `number`, too, if given."""
    if isinstance(tree, str):
        return edit(tree)
    if isinstance(tree, dict):
        return {
            key if key in _KEYS else edit(key): value
            if isinstance(value, str) and value in _WORDS.get(key, ())
            else each(value, edit, number)
            for key, value in tree.items()
        }
    if isinstance(tree, list):
        return [each(item, edit, number) for item in tree]
    return tree if number is None or tree is None or isinstance(tree, bool) else number(tree)


def clean(text: str) -> str:
    """The text without halves of characters, which UTF-8 cannot write."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def cut(text: str, longest: int) -> str:
    """At most `longest` characters of the text, and how many there were if that is not all."""
    return text if len(text) <= longest else f"{text[:longest]}… [cut: {len(text)} characters]"


class _Plain:
    def __init__(self, longest: int) -> None:
        self._longest, self._left = longest, _MANY

    def of(self, value: Any, depth: int) -> Any:  # noqa: PLR0911 - a case each
        self._left -= 1
        if isinstance(value, str):
            return clean(cut(str.__str__(value), self._longest))
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return int(value) if -(1 << 63) <= value < (1 << 63) else f"<int: {value.bit_length()} bits>"
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else str(float(value))
        if isinstance(value, (bytes, bytearray, memoryview)):
            return f"<bytes: {len(value)}>"
        if depth >= _DEEP or self._left <= 0:
            return "…"
        try:
            return self._inside(value, depth + 1)
        except Exception:  # noqa: BLE001 - a foreign object; its message may hold a text
            return f"<{type(value).__name__}>"

    def _inside(self, value: Any, depth: int) -> Any:
        if isinstance(value, Enum):
            return f"<{type(value).__name__}>" if isinstance(value.value, str) else self.of(value.value, depth)
        if isinstance(value, Mapping):
            return {self._key(key): self.of(item, depth) for key, item in self._some(value.items())}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.of(item, depth) for item in self._some(value)]
        if is_dataclass(value) and not isinstance(value, type):
            told = {one.name: getattr(value, one.name) for one in fields(value) if hasattr(value, one.name)}
            return self.of(told, depth)
        if callable(getattr(value, "model_copy", None)) and not isinstance(value, type):
            return self.of({**vars(value), **(getattr(value, "__pydantic_extra__", None) or {})}, depth)
        return f"<{type(value).__name__}>"

    def _key(self, key: Any) -> str:
        return clean(cut(key, self._longest)) if isinstance(key, str) else clean(str(self.of(key, _DEEP)))

    def _some(self, items: Any) -> Iterator[Any]:
        for item in items:
            if self._left <= 0:
                return
            yield item
