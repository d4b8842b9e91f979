"""JSON that is slightly wrong, mended by `json-repair` (extra `judge`); believed only where nothing was guessed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from ..._checks import is_number
from ._scale import Labels, Scale

__all__ = ["repaired"]

_MOST = 8_000  # characters
_QUOTES = "\"'\u201c\u201d\u2018\u2019`"
_NUMBER = r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"


def repaired(text: str, scale: Scale) -> tuple[int, int, Sequence[tuple[str, Any]]] | None:
    """Where the object is and what its pairs are; None if it cannot be mended without a guess.

    The key of the answer must be there once in the whole reply, what it says must be followed by a comma, a closing
    brace or another line with a key, and a brace must close the object later on: a text that was cut off may have
    ended in the middle of a number, or before it said something else.
    """
    start = text.find("{")
    if start < 0 or len(text) > _MOST:
        return None
    keys = list(re.finditer(rf"(?<!\w)[{_QUOTES}]?{scale.key}[{_QUOTES}]?\s*[:=]", text, re.IGNORECASE))
    if len(keys) != 1 or keys[0].start() < start:
        return None
    said = "|".join(map(re.escape, scale.values)) if isinstance(scale, Labels) else _NUMBER
    literal = re.compile(
        rf"\s*[{_QUOTES}]?({said})[{_QUOTES}]?[ \t]*(?:[,}}]|\r?\n\s*[{_QUOTES}}}])", re.IGNORECASE
    ).match(text, keys[0].end())
    if literal is None:
        return None
    end = text.rfind("}") + 1
    if end <= literal.end(1):  # it was cut off, and what would have come may have said something else
        return None
    found = _mended(text[start:end])
    if found is None or not _is(found, scale, literal[1]):
        return None
    return start, end, [(key, value) for key, value in found.items() if isinstance(key, str)]


def _mended(text: str) -> dict[Any, Any] | None:
    try:
        found = import_module("json_repair").loads(text)
    except Exception:  # noqa: BLE001 - it is not installed, or gives up
        return None
    return found if isinstance(found, dict) else None


def _is(found: dict[Any, Any], scale: Scale, literal: str) -> bool:
    """Whether the mended object says what stands in the text."""
    said = [value for key, value in found.items() if isinstance(key, str) and key.casefold() == scale.key]
    if len(said) != 1:
        return False
    if isinstance(said[0], str):
        return said[0].strip().casefold() == literal.casefold()
    return not isinstance(scale, Labels) and is_number(said[0]) and float(said[0]) == float(literal)
