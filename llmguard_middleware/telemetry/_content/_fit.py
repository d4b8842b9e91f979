"""Content cut to a number of bytes: valid JSON still, which says that it was cut."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ._plain import clean, cut, each

__all__ = ["SMALLEST", "dumped", "fitted", "written"]

SMALLEST = 128  # bytes; below that there is no room to say that something was cut

# What stands for items that were left out, by attribute: the schemas ask of each list that its items have these.
_LEFT_OUT: dict[str, Callable[[str], dict[str, Any]]] = {
    "gen_ai.input.messages": lambda said: {"role": "user", "parts": [{"type": "cut", "content": said}]},
    "gen_ai.output.messages": lambda said: {
        "role": "assistant", "parts": [{"type": "cut", "content": said}], "finish_reason": "",
    },
    "gen_ai.system_instructions": lambda said: {"type": "cut", "content": said},
    "gen_ai.tool.definitions": lambda said: {"type": "cut", "name": said},
}  # fmt: skip


# Made once: that costs. What comes here is a copy of bounded depth, so nothing in it goes round in circles.
dumped = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def written(name: str, tree: Any, limit: int) -> str:
    """`fitted`, as the text of an attribute."""
    if not isinstance(tree, str):
        told = dumped(tree)
        if len(told) <= limit and told.isascii():  # a byte each
            return told
    told = fitted(name, tree, limit)
    return told if isinstance(told, str) else dumped(told)


def fitted(name: str, tree: Any, limit: int) -> Any:
    """What of a tree of plain values fits into `limit` bytes of JSON (at least `SMALLEST`), for the attribute `name`.

    Long texts are cut first, all to the same length, and each says so; then items are left out, those in the middle
    first, and another one takes their place and says how many.
    """
    if isinstance(tree, str):
        return _text(clean(tree), limit)
    try:
        if _size(tree) <= limit:
            return tree
    except UnicodeEncodeError:
        return fitted(name, each(tree, clean), limit)
    longest = _longest(tree)
    best, low, high = None, 0, min(longest, limit)
    while low <= high:  # the greatest length to which all texts can be cut
        middle = (low + high) // 2
        shorter = _cut(tree, middle)
        if _size(shorter) <= limit:
            best, low = shorter, middle + 1
        else:
            high = middle - 1
    if best is not None:
        return best
    return _fewer(name, _cut(tree, 16), limit)


def _size(tree: Any) -> int:
    return len(dumped(tree).encode())


def _text(text: str, limit: int) -> str:
    if len(text.encode()) <= limit:
        return text
    shorter = text.encode()[: limit - 40].decode(errors="ignore")
    return cut(text, len(shorter))


def _longest(tree: Any) -> int:
    if isinstance(tree, str):
        return len(tree)
    if isinstance(tree, dict):
        return max(map(_longest, tree.values()), default=0)
    return max(map(_longest, tree), default=0) if isinstance(tree, list) else 0


_WORDS = frozenset(("type", "role", "modality", "mime_type", "finish_reason", "id"))  # of the schemas


def _cut(tree: Any, longest: int) -> Any:
    if isinstance(tree, str):
        # One that the mark would make longer stays.
        return tree if len(tree) <= longest + 24 else cut(tree, longest)
    if isinstance(tree, dict):
        return {
            key: value if key in _WORDS and isinstance(value, str) and len(value) < 64 else _cut(value, longest)  # noqa: PLR2004 - a word
            for key, value in tree.items()
        }
    return [_cut(item, longest) for item in tree] if isinstance(tree, list) else tree


def _gone(said: str) -> dict[str, Any]:
    return {"cut": said}


def _fewer(name: str, tree: Any, limit: int) -> Any:
    """The first items and the last ones, as many as fit."""
    if isinstance(tree, dict):
        items: list[Any] = list(tree.items())

        def made(head: list[Any], tail: list[Any], gone: int) -> Any:
            return {**dict(head), "…": f"[cut: {gone} items]", **dict(tail)}
    elif isinstance(tree, list):
        items = tree
        left_out = _LEFT_OUT.get(name, _gone)

        def made(head: list[Any], tail: list[Any], gone: int) -> Any:
            return [*head, left_out(f"[cut: {gone} items]"), *tail]
    else:
        return "…"
    low, high, best = 0, len(items) - 1, made([], [], len(items))
    while low <= high:
        keep = (low + high) // 2
        head, tail = items[: keep // 2], items[len(items) - (keep - keep // 2) :] if keep else []
        told = made(head, tail, len(items) - keep)
        if _size(told) <= limit:
            best, low = told, keep + 1
        else:
            high = keep - 1
    return best
