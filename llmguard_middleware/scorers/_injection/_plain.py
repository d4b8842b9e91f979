"""A text as a model reads it: without disguise by odd letters, characters that nobody sees, or encodings."""

from __future__ import annotations

import base64
import binascii
import codecs
import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import chain, filterfalse, islice
from typing import Final
from urllib.parse import unquote

from ._outline import BYTE, SINGLE, Outline, is_known, letters_of

__all__ = ["plain", "readings"]

# Letters of other scripts that look like Latin ones (Unicode's confusables.txt, those that fonts show alike).
_ALIKE: Final = str.maketrans(
    "аеорсухіјѕԁһԛԝӏɡкмтвнАВЕКМНОРСТУХІЈЅαοριυντεκΑΒΕΖΗΙΚΜΝΟΡΤΥΧıߋ",
    "aeopcyxijsdhqwlgkmtbhABEKMHOPCTYXIJSaopiuvtekABEZHIKMNOPTYXio",
)
# Of the few there are in most texts that hold any; to translate all of a text takes ten times as long.
_ALIKE_RUN: Final = re.compile(f"[{''.join(map(chr, _ALIKE))}]+")
_OTHER_SCRIPT: Final = re.compile("[Ͱ-ϿЀ-ԯɡıߋ]")
_LATIN: Final = re.compile("[a-zA-Z]")
_UNSEEN: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\U000e0100-\U000e01ef]"
)
_LIGATURES: Final = re.compile("[\ufdfa\ufdfb]")  # whole Arabic phrases, which NFKC makes up to eighteen characters of
_TAGS: Final = re.compile("[\U000e0001-\U000e007f]+")  # ASCII that nobody sees
_SPREAD: Final = re.compile(r"(?<![a-z])(?:[a-z][ ._*\-]){4,}[a-z](?![a-z])")
_SPREAD_KOREAN: Final = re.compile(r"[가-힣](?<![가-힣]{2})(?: {1,3}[가-힣](?![가-힣])){5,}")
_KOREAN_SPACE: Final = " "  # an outline has one before each Korean word, and no other
_ODD_SPACES: Final = ("  ", "\t", "\r", "\f", "\v", "\u00a0")
_SPACES: Final = re.compile(r" {2,}|[\t\r\f\v\u00a0][ \t\r\f\v\u00a0]*")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/\-_]{24,4096}={0,2}")
# In a run of digits and what stands between them, which is quickly looked for: from the first digit of a group or the
# second, since from any other there are as many pairs less.
_HEX_RUN: Final = re.compile(r"[0-9a-fA-F\\x%,: ]{32,}")
_PAIR: Final = r"(?:(?:\\x|0x|%)?[0-9a-fA-F]{2}[ ,:]?)"
_HEX: Final = re.compile(rf"(?<![0-9a-fA-F])(?:({_PAIR}{{16,2048}})|[0-9a-fA-F]({_PAIR}{{16,2048}}))")
_MORE_HEX: Final = re.compile(rf"{_PAIR}{{16,2048}}")
_PERCENT: Final = re.compile(r"(?:%[0-9a-fA-F]{2}){4}")
_ROT13, _BACKWARDS = letters_of(["rot13"]), letters_of(["backwards"])
_LEET: Final = str.maketrans("0134578@$!", "oieastbasi")
_BETWEEN: Final = re.compile(r"[ ._*\-]")
_GAPS: Final = re.compile("  +")
_MOST_DECODED = 20
_FEW, _MANY, _LONG = 5, 16, 24  # letters that are spread, pairs of digits, characters of an encoding
_SINGLES: Final = re.compile(f"[{SINGLE}]{{{_FEW}}}")
_BYTES: Final = re.compile(f"[{BYTE}]{{{_MANY}}}")


def plain(text: str) -> str:
    """The text in lower case and Unicode's form NFKC, its disguised letters as they look."""
    if not text.isascii():
        if _TAGS.search(text):
            text = _TAGS.sub(
                lambda tags: " " + "".join(chr(ord(one) - 0xE0000) for one in tags[0] if one > "\U000e001f"), text
            )
        text = _UNSEEN.sub("", text)
        if _LIGATURES.search(text):
            text = _LIGATURES.sub(" ", text)
        text = unicodedata.normalize("NFKC", text).replace("\u2019", "'")
        if _OTHER_SCRIPT.search(text) and _LATIN.search(text):
            text = _ALIKE_RUN.sub(lambda run: run[0].translate(_ALIKE), text)
    if any(space in text for space in _ODD_SPACES):
        text = _SPACES.sub(" ", text)
    return text.lower()


def readings(text: str, lower: str, words: Outline) -> Iterator[tuple[str, str]]:
    """What else the text may say, and how it is hidden there; `lower` is `plain(text)`, `words` its outline."""
    present = frozenset(words.letters)
    yield from _spread(text, lower, words)
    if _leet(words.tokens) > 1:
        yield "leet", lower.translate(_LEET)
    if not present.isdisjoint(_ROT13):
        yield "rot13", codecs.decode(lower, "rot13")
    if not present.isdisjoint(_BACKWARDS):
        yield "backwards", lower[::-1]
    if "%" in text and _PERCENT.search(text):
        yield "percent", plain(unquote(text, errors="replace"))
    chunks = text.split()
    long = ""
    if max(map(len, chunks), default=0) >= _LONG:
        long = " ".join([chunk for chunk in chunks if len(chunk) >= _LONG])
    in_pairs = _BYTES.search(words.letters)
    if long or in_pairs:
        decoded = chain(_from_base64(long), _from_hex(text if in_pairs else long))
        for kind, said in islice(decoded, _MOST_DECODED):
            yield kind, plain(said)


def _spread(text: str, lower: str, words: Outline) -> Iterator[tuple[str, str]]:
    """The text with its spread letters and syllables put together, where there are any."""
    if _SINGLES.search(words.letters):
        apart = _GAPS.sub("\t", text.lower())
        joined = _SPREAD.sub(lambda word: _BETWEEN.sub("", word[0]), apart).replace("\t", " ")
        if joined != lower:
            yield "spread", joined
    if _KOREAN_SPACE in words.tokens and _SPREAD_KOREAN.search(text):
        yield "spread", _SPREAD_KOREAN.sub(lambda word: _together(word[0]), text)


def _together(spread: str) -> str:
    """Spread syllables as words: wider gaps are those between words, if there are any."""
    return re.sub(" +", lambda gap: " " if len(gap[0]) > 1 else "", spread)


def _leet(tokens: list[str]) -> int:
    """How many words are known if their digits and signs are letters."""
    leet = {word for word in _odd(set(tokens)) if len(word) >= _FEW and is_known(word.translate(_LEET))}
    return sum(map(leet.__contains__, tokens)) if leet else 0


def _odd(tokens: Iterable[str]) -> Iterator[str]:
    """The words that nobody knows and that are neither letters alone nor a number."""
    return filterfalse(is_known, filterfalse(str.isdigit, filterfalse(str.isalpha, tokens)))


def _from_base64(text: str) -> Iterator[tuple[str, str]]:
    for match in _BASE64.finditer(text):
        coded = match[0].rstrip("=").replace("-", "+").replace("_", "/")
        coded = coded[: len(coded) - 1] if len(coded) % 4 == 1 else coded
        try:
            raw = base64.b64decode(coded + "=" * (-len(coded) % 4))
        except (binascii.Error, ValueError):
            continue
        if (said := _readable(raw)) is not None:
            yield "base64", said


def _from_hex(text: str) -> Iterator[tuple[str, str]]:
    for written in _in_hex(text):
        digits = re.sub(r"\\x|0x|[%\s,:]", "", written)
        if (said := _readable(bytes.fromhex(digits[: len(digits) // 2 * 2]))) is not None:
            yield "hex", said


def _in_hex(text: str) -> Iterator[str]:
    for run in _HEX_RUN.finditer(text):
        match = _HEX.search(text, *run.span())
        while match is not None:
            yield match[match.lastindex or 0]
            end = match.end()
            match = _MORE_HEX.match(text, end, run.end()) or _HEX.search(text, end, run.end())


def _readable(raw: bytes) -> str | None:
    """The text that these bytes are, if they are one."""
    try:
        said = raw.decode()
    except UnicodeDecodeError:
        return None
    return said if said.replace("\n", " ").replace("\t", " ").isprintable() and " " in said else None
