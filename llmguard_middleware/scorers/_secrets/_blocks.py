"""Private keys in the armour of PEM (RFC 7468), OpenPGP (RFC 9580) and PuTTY."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

__all__ = ["REACH", "begun", "private_keys"]

REACH: Final = 8_000  # characters: an RSA key of 8,192 bits has 6,400, and may be indented
_SIGN = "PRIVATE KEY"
_PUTTY = "PuTTY-User-Key-File-"
_LEAST = 32  # characters of a key that is cut off
_BEFORE = 24
_LINE = 256  # characters of a header or of the last line
_HEAD = re.compile(r"-{4,5} ?BEGIN (?:[A-Z0-9]{1,12} ){0,2}\Z")
_OPEN_HEAD = re.compile(r"-{1,5} ?(?:B[A-Z0-9 ]{0,50}-{0,5})?\Z")
# A line break may be an escaped one, as in JSON and in environment variables; headers hold more kinds of characters.
_BODY = re.compile(
    r"PRIVATE KEY(?: BLOCK)?-{4,5}"
    r"(?:\s|\\[nrt])*(?:(?:Proc-Type|DEK-Info|Version|Comment|Hash|Charset): ?[^\n\\]{0,100}(?:\s|\\[nrt])*){0,6}"
    r"(?P<key>(?:[A-Za-z0-9+/=]{16,}(?:[\s\"',]|\\[nrt])*)*[A-Za-z0-9+/=]{0,15}(?:[\s\"',]|\\[nrt])*)"
    r"(?P<end>-{4,5} ?END [A-Z0-9 ]{0,40}-{4,5})?"
)
_PUTTY_FILE = re.compile(
    r"PuTTY-User-Key-File-[23]: [\w.@\-]{1,60}\s(?:[A-Z][A-Za-z0-9\-]{2,30}:[^\n]{0,200}\n|[A-Za-z0-9+/=\s])*"
)


def private_keys(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each, from the first dash to the last; also of one whose end is missing."""
    at = text.find(_SIGN)
    while at >= 0:
        head = _HEAD.search(text, max(0, at - 2 * _BEFORE), at)
        if head is not None:
            start = head.start()
            body = _BODY.match(text, at, start + REACH - 1)
            if body is not None and len(body["key"]) >= _LEAST:
                yield start, body.end()
        at = text.find(_SIGN, at + 1)
    at = text.find(_PUTTY)
    while at >= 0:
        if match := _PUTTY_FILE.match(text, at, at + REACH - 1):
            yield match.span()
        at = text.find(_PUTTY, at + 1)


def begun(text: str) -> int:
    """How many characters at the end of `text` are a private key that is not complete, or its first line."""
    head = _OPEN_HEAD.search(text, max(0, len(text) - _LINE))
    tail = len(text) - head.start() if head else 0
    at = len(text)
    for _ in range(2):  # the last may be in the line that ends a key
        at = text.rfind(_SIGN, 0, at)
        if at >= 0 and (opened := _HEAD.search(text, max(0, at - 2 * _BEFORE), at)) and _goes_on(_BODY, text, at):
            tail = max(tail, len(text) - opened.start())
    at = text.rfind(_PUTTY)
    if at >= 0 and _goes_on(_PUTTY_FILE, text, at):
        tail = max(tail, len(text) - at)
    return tail


def _goes_on(pattern: re.Pattern[str], text: str, start: int) -> bool:
    """Whether a block that starts here comes close to the end of `text`: a line of it may be complete in part only."""
    match = pattern.match(text, start)
    end = start if match is None else match.end()
    closed = match is not None and pattern is _BODY and match["end"] is not None
    return not closed and len(text) - end <= _LINE
