"""A stretch of text in one language: by its script, or by py3langid (BSD), whose model comes with it: no network."""

from __future__ import annotations

import re
import string
from copy import copy
from functools import lru_cache
from importlib import import_module
from typing import Any, Final, NamedTuple

__all__ = ["CANDIDATES", "KNOWN", "Guess", "identify", "is_dense", "letters"]

# Languages that alone, or nearly, are written in their script.
_BY_SCRIPT: Final = {
    "el": "\u0370-\u03ff\u1f00-\u1fff",
    "he": "\u05d0-\u05ea",
    "th": "\u0e01-\u0e3a\u0e40-\u0e4e",
    "lo": "\u0e81-\u0ebd\u0ec0-\u0ecd",
    "ka": "\u10a0-\u10ff",
    "hy": "\u0531-\u0587",
    "km": "\u1780-\u17d3",
    "my": "\u1000-\u103f",
    "am": "\u1200-\u135a",
    "bn": "\u0980-\u09fe",
    "pa": "\u0a01-\u0a74",
    "gu": "\u0a81-\u0af1",
    "ta": "\u0b82-\u0bcd",
    "te": "\u0c00-\u0c4d",
    "kn": "\u0c80-\u0ccd",
    "ml": "\u0d00-\u0d4d",
    "si": "\u0d81-\u0df3",
}
_HANGUL: Final = re.compile("[가-힣ㄱ-ㆎ\u1100-\u11ff]+")
_KANA: Final = re.compile("[\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff]+")
_SOME: Final = re.compile(f"[{''.join(_BY_SCRIPT.values())}]")
_SCRIPTS: Final = {name: re.compile(f"[{characters}]+") for name, characters in _BY_SCRIPT.items()}
_HAN: Final = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
_LETTER: Final = re.compile(r"(?:[^\W\d_]|[\u0900-\u109f\u1780-\u17d3])+")  # signs of vowels, too
_DENSE: Final = 2.5  # letters of an alphabet that say as much as one syllable, kana or Chinese character
_ALL_DENSE: Final = re.compile("[가-힣ㄱ-ㆎ\u1100-\u11ff\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")

# What a text is taken for. Of all that the model knows, dialects and small languages are left out unless they are
# allowed: short sentences look like one of them by chance.
_COMMON: Final = (
    "af ar az be bg bs ca cs cy da de el en es et eu fa fi fr ga gl he hi hr hu id is it ja ka kk ko lt lv mk ms nl no "
    "pl pt ro ru sk sl sq sr sv sw th tl tr uk ur uz vi zh"
)
_RARE: Final = (
    "am as bn br eo fo fy gd gu ha ht hy ig jv km kn ku ky la lb lg ln lo mg ml mn mr mt my ne nn oc om or pa ps qu rw "
    "sa se si sn so st ta te tg tk tt ug wa xh yo yue zu"
)
CANDIDATES: Final = tuple(_COMMON.split())
KNOWN: Final = tuple(sorted({*CANDIDATES, *_RARE.split()}))


class Guess(NamedTuple):
    """The likeliest language of a text, and whether the text is surely in none of the allowed ones."""

    language: str
    is_other: bool


def letters(text: str) -> float:
    """How many letters a text has, in those of an alphabet."""
    if text.isascii():
        return len(text) - len(text.encode().translate(None, _ASCII_LETTERS))
    return _count(_LETTER, text) + (_DENSE - 1) * _count(_ALL_DENSE, text)


def _count(runs: re.Pattern[str], text: str) -> int:
    return sum(map(len, runs.findall(text)))


def is_dense(text: str) -> bool:
    """Whether most of a text is Korean, Japanese or Chinese."""
    return not text.isascii() and 2 * _DENSE * _count(_ALL_DENSE, text) > letters(text)


def identify(text: str, allowed: frozenset[str], confidence: float) -> Guess:
    """What language most of the letters of a text are in."""
    name = "" if text.isascii() else _by_script(text)
    if name:
        return Guess(name, name not in allowed and not _may_be_allowed(name, text, allowed))
    if not text.isascii():
        text = _OTHER_SCRIPTS.sub(" ", text)
    identifier = _identifier(allowed)
    name, sure = identifier.classify(text)
    if name in allowed:
        return Guess(name, is_other=False)
    if not _writing(text, allowed):
        return Guess(name, is_other=True)
    if sure < _LIKELY:
        return Guess(name, is_other=False)
    ranked = dict(identifier.rank(text))
    return Guess(name, 1 - sum(ranked.get(one, 0.0) for one in allowed) >= confidence)


def _by_script(text: str) -> str:
    """The language of most of the letters, if their script tells it."""
    half = letters(text) / 2
    hangul, kana, han = (_DENSE * _count(one, text) for one in (_HANGUL, _KANA, _HAN))
    if hangul > half:
        return "ko"
    if kana + han > half:
        return "ja" if kana else "zh"
    if hangul + kana + han > half:
        return max(("ko", hangul), ("ja", kana), ("zh", han), key=lambda one: one[1])[0]
    if _SOME.search(text) is None:
        return ""
    return next((name for name, pattern in _SCRIPTS.items() if _count(pattern, text) > half), "")


_OTHER_SCRIPTS: Final = re.compile(f"(?:{_SOME.pattern}|{_ALL_DENSE.pattern})+")
_ASCII_LETTERS: Final = string.ascii_letters.encode()
# Scripts of several languages, and which those are; all that are in no other script are written in Latin letters.
_CYRILLIC: Final = "az ba be bg kk ky mk mn ru sr tg tt uk uz"
_ARABIC: Final = "ar fa ku ps ug ur"
_DEVANAGARI: Final = "hi mr ne sa"
_OTHERS: Final = "ar ba be bg fa hi ja ko kk ky mk mn mr ne or ps ru sa tg tt ug uk ur yue zh"
_SHARED: Final = (
    (re.compile("[\u0400-\u052f]+"), frozenset(_CYRILLIC.split())),
    (re.compile("[\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc]+"), frozenset(_ARABIC.split())),
    (re.compile("[\u0900-\u097f]+"), frozenset(_DEVANAGARI.split())),
)
_NOT_LATIN: Final = frozenset(_OTHERS.split()) | set(_BY_SCRIPT)


def _writing(text: str, allowed: frozenset[str]) -> frozenset[str]:
    """Which of the allowed languages are written in the letters that most of the text has."""
    half = letters(text) / 2
    for pattern, languages in () if text.isascii() else _SHARED:
        if _count(pattern, text) > half:
            return allowed & languages
    return allowed - _NOT_LATIN


_FEW_HAN: Final = 20
_LIKELY: Final = 0.5


def _may_be_allowed(name: str, text: str, allowed: frozenset[str]) -> bool:
    """A few Chinese characters may be a Japanese title; any may be Cantonese."""
    return name == "zh" and ("yue" in allowed or ("ja" in allowed and _count(_HAN, text) < _FEW_HAN))


@lru_cache(maxsize=1)
def _model() -> Any:
    langid: Any = import_module("py3langid.langid")  # an extra
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)  # half a second


@lru_cache(maxsize=32)
def _identifier(allowed: frozenset[str]) -> Any:
    """The model for the common languages and the allowed ones."""
    identifier = copy(_model())
    known = set(identifier.labels)
    identifier.set_languages([one for one in {*CANDIDATES, *allowed} if one in known])
    return identifier
