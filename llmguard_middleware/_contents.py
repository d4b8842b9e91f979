"""The texts of a message or an answer, of whatever kinds, through a flow's guardrails.

Each kind is judged by itself: parts of a text one by one and run together, what stands side by side a line each and
run together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ._edits import Edit
from ._flow import Flow
from ._json_text import tokens, with_tokens
from ._judge import Plan
from ._leaves import leaves, with_leaves
from ._text_walk import Kind
from ._together import Ask, judged_call, judged_lines, judged_run, judged_text, judged_value

__all__ = ["Found", "asks_of_calls", "changing", "is_silent", "judged_contents", "restored", "taking"]

_NO_NAME = re.compile(r"[^\w-]+")

Found = Sequence[tuple[Kind, Any]]


def is_silent(found: Found) -> bool:
    """Whether an answer says nothing, which may be wrong, too."""
    return not any(value for _, value in found)


def asks_of_calls(flow: Flow, ask: Ask) -> list[Ask]:
    """What judges the tool calls of an answer: as what the caller gets and as what goes to a tool."""
    return [ask, partial(flow.edits, stage="tool_call")] if flow.rules("tool_call") else [ask]


def judged_contents(flow: Flow, found: Found, ask: Ask, call_asks: Sequence[Ask]) -> Plan[list[Any]]:
    """What takes the place of the texts that were found; `call_asks` judge tool calls, one after the other."""
    told = [value for _, value in found]
    at = _Places(found)
    if at["unscanned"]:
        flow.span.not_scanned({told[i] for i in at["unscanned"]})
    at.put(told, "text", (yield from judged_run(at.of(told, "text"), ask)))
    at.put(told, "reasoning", (yield from judged_lines(at.of(told, "reasoning"), ask, one_text=True)))
    at.put(told, "other", (yield from judged_lines(at.of(told, "other"), ask)))
    for i in at["value"]:
        told[i] = yield from judged_value(told[i], ask)
    for i in at["name"]:
        if (name := (yield from judged_text(told[i], ask))) != told[i]:
            told[i] = _NO_NAME.sub("", name) or None  # or the provider would refuse it
    for call_ask in map(_once, call_asks) if at["call"] else ():
        for i in at["call"]:
            name, arguments = told[i]
            told[i] = yield from judged_call(name, arguments, call_ask)
    return told


def _once(ask: Ask) -> Ask:
    """Has each text judged once: a provider writes a tool call down in several places."""
    known: dict[str, Sequence[Edit]] = {}

    def asked(text: str, **how: Any) -> Plan[Sequence[Edit]]:
        if text not in known:
            known[text] = yield from ask(text, **how)
        return known[text]

    return asked


def restored(flow: Flow, found: Found, told: list[Any]) -> list[Any]:
    """The texts with the originals of their pseudonyms back in; in tool calls, of those that tools may see."""
    if not flow.root.hides:
        return told
    at = _Places(found)
    for kind in ("text", "reasoning", "other"):
        texts = at.of(told, kind)
        back = [flow.restored(text) for text in texts]
        if kind == "text" and (whole := flow.restored("".join(back))) != "".join(back):
            back = [whole, *[""] * (len(back) - 1)]  # a placeholder was across parts
        at.put(told, kind, back)
    for i in at["value"]:
        told[i] = _with_restored(told[i], flow.restored)
    for i in at["call"]:
        name, arguments = told[i]
        told[i] = (name, _with_restored(arguments, partial(flow.restored, tools=True)))
    return told


def _with_restored(value: Any, restored: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        found = tokens(value)
        return with_tokens(value, found, [restored(token.text) for token in found])
    return with_leaves(value, [restored(text) for text in leaves(value)])


class _Places(dict[str, list[int]]):
    """By kind, where among all texts those of this kind are."""

    def __init__(self, found: Found) -> None:
        for i, (kind, _) in enumerate(found):
            self.setdefault(kind, []).append(i)

    def __missing__(self, kind: str) -> list[int]:
        return []

    def of(self, told: Sequence[Any], kind: str) -> list[Any]:
        """Those of a kind."""
        return [told[i] for i in self[kind]]

    def put(self, told: list[Any], kind: str, texts: Sequence[Any]) -> None:
        """Others in their place."""
        for i, text in zip(self[kind], texts, strict=True):
            told[i] = text


def taking(texts: Sequence[Any]) -> Callable[[Kind, Any], Any]:
    """The change of a walk that puts these in place of what it finds."""
    rest = iter(texts)
    return lambda _, __: next(rest)


def changing(text: Callable[[str], str]) -> Callable[[Kind, Any], Any]:
    """The change of a walk that changes each text by itself, those inside of tool calls and values, too."""

    def change(kind: Kind, value: Any) -> Any:
        if kind in ("unscanned", "name"):
            return value
        if kind == "call":
            name, arguments = value
            return name, _with_restored(arguments, text)
        return _with_restored(value, text) if kind == "value" else text(value)

    return change
