"""A token as it may be written: with signs between its characters, backwards, in another case or another encoding."""

from __future__ import annotations

import base64
import codecs
import re
from collections.abc import Callable, Iterator
from typing import Final

__all__ = ["LONGEST", "REACH", "Forms"]

LONGEST: Final = 32  # characters of a token
REACH: Final = LONGEST * 10

_CORE: Final = 8  # letters: 40 bits at least

_NOT_LETTERS: Final = bytes(one for one in range(256) if not chr(one).isalnum() or one > 127)  # noqa: PLR2004 - ASCII
_NOT_HEX: Final = bytes(one for one in range(256) if one not in b"0123456789abcdef")
_NOT_DIGITS: Final = bytes(one for one in range(256) if one not in b"0123456789")
_NOT_BASE64: Final = bytes(one for one in _NOT_LETTERS if one not in b"+/")
_WIDE: Final = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)}  # full-width forms of ASCII

# What a form can be found in at all: all other characters are left out, which is quick and finds too much.
_VIEWS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "letters": lambda data: data.lower().translate(None, _NOT_LETTERS),
    "hex": lambda data: data.lower().replace(b"0x", b"").replace(b"u00", b"").translate(None, _NOT_HEX),
    "digits": lambda data: data.translate(None, _NOT_DIGITS),
    "base64": lambda data: data.replace(b"-", b"+").replace(b"_", b"/").translate(None, _NOT_BASE64),
}


class Forms:
    """The ways to write tokens, each token of at most LONGEST letters and digits of ASCII."""

    def __init__(self, tokens: tuple[str, ...]) -> None:
        self._forms: dict[str, dict[bytes, re.Pattern[str]]] = {view: {} for view in _VIEWS}
        for token in tokens:
            low = token.lower()
            for plain in dict.fromkeys((low, low[::-1])):
                for letters in (plain, codecs.encode(plain, "rot13")):
                    self._add("letters", list(letters), "[^0-9A-Za-z]{0,8}", re.IGNORECASE)
            cases = (token, low, token.upper())
            for written in dict.fromkeys(one[::step] for one in cases for step in (1, -1)):
                pairs = [format(ord(one), "02x") for one in written]
                self._add("hex", pairs, "[^0-9A-Fa-f]{0,6}(?:0x|(?<=u)00)?", re.IGNORECASE)
                self._add("digits", [str(ord(one)) for one in written], "[^0-9]{1,6}")
                self._add("digits", [format(ord(one), "03o") for one in written], "[^0-9]{1,6}")
                self._add("digits", [format(ord(one), "08b") for one in written], "[^0-9]{0,2}")
                for core in (*_encoded(written.encode(), 3), *_encoded(written.encode("utf-16-le"), 3, 2)):
                    self._add("base64", list(core), r"\s{0,2}")
                for core in _encoded(written.encode(), 5):
                    self._add("letters", list(core.lower()), r"\s{0,2}", re.IGNORECASE)

    def _add(self, view: str, parts: list[str], between: str, flags: int = 0) -> None:
        sought = "".join(parts).encode()
        escaped = [re.escape(part).replace(r"\+", r"[+\-]").replace("/", "[/_]") for part in parts]
        self._forms[view].setdefault(sought, re.compile(between.join(escaped), flags | re.ASCII))

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        """(start, end) of each; they may overlap."""
        if not text.isascii():
            text = text.translate(_WIDE)
        data = text.encode("utf-8", "replace")
        for view, forms in self._forms.items():
            seen = _VIEWS[view](data)
            for sought, pattern in forms.items():
                match = pattern.search(text) if sought in seen else None
                while match is not None:
                    yield match.span()
                    match = pattern.search(text, match.start() + 1)  # it may begin within itself


def _encoded(data: bytes, group: int, step: int = 1) -> Iterator[str]:
    """What is the same in Base64 (of 3 bytes) or Base32 (of 5) whatever stands before and after, wherever it begins."""
    encode, size = (base64.b64encode, 4) if group == 3 else (base64.b32encode, 8)  # noqa: PLR2004 - Base64's three bytes
    for before in range(0, group * step, step):
        whole = (before + len(data)) // group * group - before
        skipped = -(-before // group) * size
        core = encode(b"\0" * before + data[:whole]).decode()[skipped:]
        if len(core) >= _CORE:  # less of a short token tells nothing
            yield core
