"""Several texts that belong to one thing (the arguments of a call, the parts of a message), judged together."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from ._edits import Edit, apply, cut
from ._json_text import edited, is_json, tokens, with_tokens
from ._judge import Plan
from ._leaves import leaves, with_leaves

__all__ = ["Ask", "judged_call", "judged_lines", "judged_run", "judged_text", "judged_value"]

Ask = Callable[[str], Plan[Sequence[Edit]]]
"""Has one text judged; returns the edits to be made to it, and raises if it must not go on."""

_BETWEEN = "\n"


def judged_text(text: str, ask: Ask) -> Plan[str]:
    """One text as it may go on.

    One that is JSON is judged without its escapes, too, and stays JSON, unless all of it is replaced.
    """
    json_text = is_json(text)
    if json_text and "\\" in text:
        replaced: list[str] = []

        def unescaped(lines: str) -> Plan[Sequence[Edit]]:
            edits = yield from ask(lines)
            if _is_whole(edits, lines) and _BETWEEN in lines:
                replaced.append(edits[0].replacement)
            return edits

        _, text = yield from judged_call("", text, unescaped)
        if replaced:
            return replaced[0]
    edits = yield from ask(text)
    return edited(text, edits) if json_text and not _is_whole(edits, text) else apply(text, edits)


def judged_run(parts: Sequence[str], ask: Ask) -> Plan[list[str]]:
    """The parts of one text, each by itself (the next may hide where a match ends) and then all run together."""
    told: list[str] = []
    for part in parts:
        told.append((yield from judged_text(part, ask)) if part else part)  # noqa: PERF401 - a comprehension cannot yield
    return (yield from _run_together(told, range(len(told)), ask))


def judged_lines(texts: Sequence[str], ask: Ask, values: Sequence[int] | None = None) -> Plan[list[str]]:
    """Texts that stand beside each other: judged at once, a line each, and then run together.

    So a scorer of whole texts sees all of them at once, and a match is found inside one and across several.

    Args:
        texts: in order.
        ask: has one text judged.
        values: which of them, by index, somebody said, and which can give way when all is to be replaced; the others
            are keys and names. All, if None.
    """
    told = list(texts)
    lines = [i for i, text in enumerate(texts) if text]
    if not lines:
        return told
    said = lines if values is None else [i for i in values if texts[i]]
    view = [piece for i in lines for piece in (_BETWEEN, texts[i])][1:]
    whole = "".join(view)
    edits = yield from ask(whole)
    if said and len(lines) > 1 and _is_whole(edits, whole):
        for i in said:
            told[i] = ""
        told[said[0]] = edits[0].replacement
        return told
    if edits:
        after = iter([_BETWEEN, *cut(view, edits)])
        for i in lines:
            between = next(after)
            told[i] = ("" if between == _BETWEEN else between.replace(_BETWEEN, "")) + next(after)
    return (yield from _run_together(told, said, ask))


def _run_together(told: list[str], which: Sequence[int], ask: Ask) -> Plan[list[str]]:
    some = [i for i in which if told[i]]
    if len(some) < 2:  # noqa: PLR2004 - one text is not across anything
        return told
    edits = yield from ask("".join(told[i] for i in some))
    if edits:
        for i, text in zip(some, cut([told[i] for i in some], edits), strict=True):
            told[i] = text
    return told


def judged_call(name: str, arguments: Any, ask: Ask) -> Plan[tuple[str, Any]]:
    """The name and the arguments of a tool call, as a value or as JSON, which may have been cut off.

    Arguments that say the same are judged by the same texts, whatever their form, and so agree afterwards.
    """
    if not isinstance(arguments, str):
        try:
            text = json.dumps(arguments, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError):
            told = yield from judged_lines([name, *leaves(arguments)], ask)
            return told[0], with_leaves(arguments, told[1:])
        name, after = yield from judged_call(name, text, ask)
        return name, arguments if after == text else json.loads(after)
    found = tokens(arguments)
    values = [i for i, token in enumerate(found, 1) if not token.key]
    told = yield from judged_lines([name, *(token.text for token in found)], ask, values or None)
    arguments = with_tokens(arguments, found, _apart([token.text if token.key else "" for token in found], told[1:]))
    if arguments and not is_json(arguments):
        arguments = apply(arguments, (yield from ask(arguments)))
    return told[0], arguments


def _apart(keys: Sequence[str], told: Sequence[str]) -> list[str]:
    """The texts, with keys that were changed to the same told apart, or one value would take another's place."""
    known: dict[str, str] = {}
    apart: list[str] = []
    for key, text in zip(keys, told, strict=True):
        name, number = text, 1
        while key and key != text and known.setdefault(name, key) != key:
            number += 1
            name = f"{text} {number}"
        apart.append(name)
    return apart


def judged_value(value: Any, ask: Ask) -> Plan[Any]:
    """A value with texts in it, however deep."""
    return (yield from judged_call("", value, ask))[1]


def _is_whole(edits: Sequence[Edit], text: str) -> bool:
    return len(edits) == 1 and edits[0][:2] == (0, len(text))
