"""The strings and numbers inside a JSON text, found and changed in place.

Everything else stays as it was written: spaces, the order of keys, keys that are there twice. What is cut off in the
middle (a stream that broke, arguments that never parse) is looked at as far as it goes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ._edits import Edit, apply

__all__ = ["Token", "edited", "is_json", "may_become_json", "tokens", "with_tokens"]

_TOKEN = re.compile(r'"(?P<inside>[^"\\]*(?:\\.[^"\\]*)*)(?P<end>"(?P<key>\s*:)?|\\?\Z)|-?\d[\d.eE+-]*', re.DOTALL)
_WORD = r"(?:tr?u?e?|fa?l?s?e?|nu?l?l?|Na?N?|-?In?f?i?n?i?t?y?)(?=\s*(?:[,\]]|\Z))"
_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|.)", re.DOTALL)  # half of one says nothing
_BEGINS = re.compile(
    r"""\s*(?:\Z|\{\s*(?:\Z|["}])|\[\s*(?:\Z|[\[{"\]]|-?(?:\Z|\d+(?!\d|\s*\]\s*\S|[^\s,.eE\]]))|""" + _WORD + "))"
)


@dataclass(frozen=True, slots=True)
class Token:
    """A string or number: `text` is what it says, at `start` to `end` of the JSON text without quotes."""

    start: int
    end: int
    text: str
    key: bool = False
    quoted: bool = True


def is_json(text: str) -> bool:
    """Whether a text is a JSON object or array."""
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return False
    return True


def may_become_json(text: str) -> bool:
    """Whether a text may be the beginning of a JSON object or array."""
    return _BEGINS.match(text) is not None


def tokens(text: str) -> list[Token]:
    """The strings (keys as well) and numbers of a JSON text, in order, decoded."""
    found: list[Token] = []
    for match in _TOKEN.finditer(text):
        if match["inside"] is None:
            found.append(Token(match.start(), match.end(), match[0], quoted=False))
        else:
            start, end = match.span("inside")
            found.append(Token(start, end, _decoded(match["inside"]), match["key"] is not None))
    return found


def with_tokens(text: str, found: Sequence[Token], texts: Iterable[str]) -> str:
    """The JSON text with other texts in its tokens; a number that becomes another text becomes a string."""
    pieces: list[str] = []
    at = 0
    for token, said in zip(found, texts, strict=True):
        if said != token.text:
            encoded = json.dumps(said, ensure_ascii=text.isascii())
            pieces += (text[at : token.start], encoded[1:-1] if token.quoted else encoded)
            at = token.end
    pieces.append(text[at:])
    return "".join(pieces)


def edited(text: str, edits: Sequence[Edit]) -> str:
    """A JSON text with `edits` of it made inside its tokens only, so that it stays one.

    What an edit puts in is in the first value that it touches; of several tokens, keys stay. An edit of nothing but
    punctuation cannot be made so, and breaks the JSON.
    """
    found = tokens(text)
    own: list[list[Edit]] = [[] for _ in found]
    for edit in edits:
        touched = [i for i, token in enumerate(found) if token.start < edit.end and token.end > edit.start]
        if not touched:
            return apply(text, edits)
        touched = [i for i in touched if not found[i].key] or touched
        for i in touched:
            start, end = max(edit.start, found[i].start), min(edit.end, found[i].end)
            own[i].append(Edit(start, end, edit.replacement if i == touched[0] else ""))
    return with_tokens(text, found, [_with_edits(text, *one) for one in zip(found, own, strict=True)])


def _with_edits(text: str, token: Token, edits: Sequence[Edit]) -> str:
    if not edits:
        return token.text
    escapes = [match.span() for match in _ESCAPE.finditer(text, token.start, token.end)]
    pieces: list[str] = []
    at = token.start
    for edit in edits:
        start = next((a for a, b in escapes if a < edit.start < b), edit.start)
        pieces += (_decoded(text[at:start]), edit.replacement)
        at = next((b for a, b in escapes if a < edit.end < b), edit.end)
    return "".join([*pieces, _decoded(text[at : token.end])])


def _decoded(inside: str) -> str:
    if "\\" not in inside:
        return inside
    try:
        return str(json.loads(f'"{inside}"', strict=False))
    except ValueError:
        return inside
