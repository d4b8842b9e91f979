"""Several texts that belong to one thing (the arguments of a call, the parts of a message), judged together."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from ._edits import Edit, apply, cut, split, united
from ._json_text import edited, is_json, tokens, with_tokens
from ._judge import Plan
from ._leaves import leaves, numbers, with_leaves, with_numbers

__all__ = [
    "Ask",
    "judged_call",
    "judged_lines",
    "judged_numbers",
    "judged_run",
    "judged_text",
    "judged_value",
    "judged_values",
    "told_apart",
]

Ask = Callable[..., Plan[Sequence[Edit]]]
"""Has one text judged; returns the edits to be made to it, and raises if it must not go on. Nothing is told again of
`known` edits, which were found in a part of the text."""

_BETWEEN = "\n"


def judged_text(text: str, ask: Ask) -> Plan[str]:
    """One text as it may go on.

    One that is JSON is judged without its escapes, too, and stays JSON, unless all of it is replaced.
    """
    return _with_edits(*(yield from _judged_alone(text, ask)))


def _judged_alone(text: str, ask: Ask) -> Plan[tuple[str, Sequence[Edit]]]:
    """The text without what its escapes hide, and the edits that are to be made to that."""
    if is_json(text) and "\\" in text:
        replaced: list[str] = []

        def unescaped(lines: str, **how: Any) -> Plan[Sequence[Edit]]:
            edits = yield from ask(lines, **how)
            if _is_whole(edits, lines) and _BETWEEN in lines:
                replaced.append(edits[0].replacement)
            return edits

        _, text = yield from judged_call("", text, unescaped)
        if replaced:
            return replaced[0], ()
    return text, (yield from ask(text))


def _with_edits(text: str, edits: Sequence[Edit]) -> str:
    return edited(text, edits) if is_json(text) and not _is_whole(edits, text) else apply(text, edits)


def judged_run(parts: Sequence[str], ask: Ask) -> Plan[list[str]]:
    """The parts of one text, each by itself (the next may hide where a match ends) and all run together.

    What is found in a part may be the half of what lies across two: then all of that goes.
    """
    if len(spoken := [i for i, part in enumerate(parts) if part]) < 2:  # noqa: PLR2004 - one text is not across anything
        told = list(parts)
        for i in spoken:
            told[i] = yield from judged_text(parts[i], ask)
        return told
    plain: list[str] = []  # without escapes that hide something
    own: list[Sequence[Edit]] = []
    for part in parts:
        text, edits = (yield from _judged_alone(part, ask)) if part else (part, ())
        plain.append(text)
        own.append(edits)
    return (yield from _run_together(plain, own, ask))


def judged_values(texts: Sequence[str], ask: Ask) -> Plan[list[str]]:
    """Texts that stand beside each other, each by itself, and then what is left of them run together."""
    told: list[str] = []
    for text in texts:
        told.append((yield from judged_text(text, ask)) if text else text)  # noqa: PERF401 - a comprehension cannot yield
    return (yield from _run_on(told, range(len(told)), ask))


def judged_lines(
    texts: Sequence[str], ask: Ask, values: Sequence[int] | None = None, *, one_text: bool = False
) -> Plan[list[str]]:
    """Texts that stand beside each other: judged at once, a line each, and then run together.

    So a scorer of whole texts sees all of them at once, and a match is found inside one and across several.

    Args:
        texts: in order.
        ask: has one text judged.
        values: which of them, by index, somebody said, and which can give way when all is to be replaced; the others
            are keys and names. All, if None.
        one_text: whether they are one text in truth, so that what was found in a line may be the half of a match. Of
            others only what is left is run together: a name is no part of the address that follows it.
    """
    told = list(texts)
    lines = [i for i, text in enumerate(texts) if text]
    if not lines:
        return told
    said = lines if values is None else [i for i in values if texts[i]]
    whole = _BETWEEN.join(texts[i] for i in lines)
    edits = yield from ask(whole)
    if said and len(lines) > 1 and _is_whole(edits, whole):
        for i in said:
            told[i] = ""
        told[said[0]] = edits[0].replacement
        return told
    own = dict(zip(lines, split([texts[i] for i in lines], edits, len(_BETWEEN)), strict=True))
    for i in lines:
        told[i] = apply(texts[i], own[i])
    if not one_text:
        return (yield from _run_on(told, said, ask))
    if len(said) > 1:
        together = yield from _run_together([texts[i] for i in said], [own[i] for i in said], ask, apply)
        for i, text in zip(said, together, strict=True):
            told[i] = text
    return told


def _run_on(told: list[str], which: Sequence[int], ask: Ask) -> Plan[list[str]]:
    some = [i for i in which if told[i]]
    if len(some) < 2:  # noqa: PLR2004 - one text is not across anything
        return told
    edits = yield from ask("".join(told[i] for i in some))
    if edits:
        for i, text in zip(some, cut([told[i] for i in some], edits), strict=True):
            told[i] = text
    return told


def _run_together(
    parts: Sequence[str],
    own: Sequence[Sequence[Edit]],
    ask: Ask,
    with_edits: Callable[[str, Sequence[Edit]], str] = _with_edits,
) -> Plan[list[str]]:
    """Parts with their own edits made, and those of what lies across them."""
    made: list[Edit] = []
    start = 0
    for part, edits in zip(parts, own, strict=True):
        made += [edit._replace(start=start + edit.start, end=start + edit.end) for edit in edits]
        start += len(part)
    text = "".join(parts)
    found = yield from (ask(text, known=made) if made else ask(text))
    both = united([*made, *found]) if found else made
    return [with_edits(part, edits) for part, edits in zip(parts, split(parts, both), strict=True)]


def judged_call(name: str, arguments: Any, ask: Ask) -> Plan[tuple[str, Any]]:
    """The name and the arguments of a tool call, as a value or as JSON, which may have been cut off.

    Arguments that say the same are judged by the same texts, whatever their form, and so agree afterwards.
    """
    if not isinstance(arguments, str):
        try:
            text = json.dumps(arguments, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError):
            told = yield from judged_lines([name, *leaves(arguments)], ask)
            return told[0], (yield from judged_numbers(with_leaves(arguments, told[1:]), ask))
        name, after = yield from judged_call(name, text, ask)
        return name, arguments if after == text else json.loads(after)
    found = tokens(arguments)
    values = [i for i, token in enumerate(found, 1) if not token.key]
    told = yield from judged_lines([name, *(token.text for token in found)], ask, values or None)
    arguments = with_tokens(
        arguments, found, told_apart([token.text if token.key else "" for token in found], told[1:])
    )
    if arguments and not is_json(arguments):
        arguments = apply(arguments, (yield from ask(arguments)))
    return told[0], arguments


def judged_numbers(value: Any, ask: Ask, *, together: bool = True) -> Plan[Any]:
    """A value with the numbers in it judged as texts, a line each; one that is edited becomes a text.

    `together` says whether they are also run together: a model may spell one in several, measurements do so by chance.
    """
    found = numbers(value)
    told = yield from judged_lines(found, ask, None if together else ())
    return value if told == found else with_numbers(value, told)


def told_apart(keys: Sequence[str], told: Sequence[str]) -> list[str]:
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
