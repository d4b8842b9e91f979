"""language: whether a text is in the languages that are allowed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Final

from .._score import Score
from .._scorer import Scorer
from ..errors import ConfigurationError, nearest
from ._language._identify import KNOWN, identify, is_dense, letters

__all__ = ["Language", "language"]

_MEANT: Final = {
    "kr": "ko",
    "jp": "ja",
    "cn": "zh",
    "gr": "el",
    "ua": "uk",
    "dk": "da",
    "cz": "cs",
    "nb": "no",
    "iw": "he",
}
_UNDETERMINED: Final = "und"  # ISO 639's word for it
_STRETCH: Final = 160  # letters that are looked at together
_PIECES: Final = re.compile(r"[^\n.!?\u3002\uff01\uff1f]{1,1000}[.!?\u3002\uff01\uff1f]*")
# What has no language, and a sign without which it is not there: code, links, addresses, markup.
_NO_LANGUAGE: Final = (
    ("```", re.compile(r"```[^`]{0,20000}(?:```|\Z)")),
    ("`", re.compile(r"`[^`\n]{1,200}`")),
    ("://", re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.\-]{1,20}://\S{1,2000}")),
    ("www.", re.compile(r"\bwww\.\S{1,2000}")),
    ("@", re.compile(r"(?<!\S)[^\s@]{1,64}@\S{1,255}")),
    ("<", re.compile(r"<[^<>\n]{1,200}>")),
)


class Language(Scorer):
    """Flags texts in other languages; value is their share of the text, label the language that most of it is in."""

    # Not `cheap`, although it is linear: the model takes half a second to load, and then some 1 ms a KB.

    def __init__(self, allowed: tuple[str, ...], *, tolerance: float, least: int, confidence: float) -> None:
        super().__init__(name="language")
        self.options = f"{sorted(allowed)},{tolerance:g},{least},{confidence:g}"
        self._allowed = frozenset(allowed)
        self._tolerance, self._least, self._confidence = tolerance, least, confidence

    def setup(self) -> None:
        """Load the model."""
        identify("the model", self._allowed, self._confidence)

    def score(self, text: str) -> Score:
        """How much of the text is in other languages; without a value, and passed, if it is too short to tell."""
        found: dict[str, float] = {}
        other = 0.0
        for sign, pattern in _NO_LANGUAGE:
            if sign in text:
                text = pattern.sub(" ", text)
        for stretch in _stretches(text):
            size = letters(stretch)
            if size < self._least:
                continue
            guess = identify(stretch, self._allowed, self._confidence)
            if guess.is_other or guess.language in self._allowed:
                found[guess.language] = found.get(guess.language, 0.0) + size
                other += size if guess.is_other else 0
        total = sum(found.values())
        if not total:
            return Score(label=_UNDETERMINED, explanation="too little to tell the language by")
        share = other / total
        flagged = share > self._tolerance
        among = {name: size for name, size in found.items() if not flagged or name not in self._allowed}
        shares = {name: round(size / total, 3) for name, size in sorted(found.items(), key=lambda one: -one[1])}
        label = max(among, key=among.__getitem__)
        return Score(value=round(share, 3), flagged=flagged, label=label, metadata={"languages": shares})


def _stretches(text: str) -> Iterator[str]:
    """The text in stretches of whole lines or sentences of one kind of script, each with enough letters to tell by."""
    gathered: list[str] = []
    size, dense = 0.0, False
    for piece in _PIECES.findall(text):
        here = is_dense(piece)
        if gathered and (size >= _STRETCH or here != dense):
            yield " ".join(gathered)
            gathered, size = [], 0.0
        gathered.append(piece)
        size += letters(piece)
        dense = here
    if gathered:
        yield " ".join(gathered)


def language(*allowed: str, tolerance: float = 0.5, least: int = 20, confidence: float = 0.7) -> Language:
    """Check what language a text is in. Needs the extra `[language]` (py3langid); no network.

    A Korean, Japanese, Greek or Thai text, and others that have a script of their own, is told by that. Code, links and
    addresses have no language. What is too short to tell passes, with no value and the label "und".

    Args:
        allowed: codes of ISO 639, for example "ko" and "en".
        tolerance: which share of the text may be in other languages: 0.5 says that it is mainly in those allowed, 0
            that every sentence is.
        least: letters below which a text, and the rest of one, is not judged; a Korean syllable counts as 2.5.
        confidence: how sure it must be that a sentence is in none of the allowed languages, from 0.5 to 1.

    Raises:
        ConfigurationError: if py3langid is not installed, a code is not known, or a number is out of its range.
    """
    given: tuple[object, ...] = allowed
    for code in given:
        if not isinstance(code, str) or code not in KNOWN:
            meant = _MEANT.get(str(code))
            hint = f'did you mean "{meant}"?' if meant else nearest(str(code), KNOWN)
            msg = f"language() knows no code {code!r}: {hint}"
            raise ConfigurationError(msg)
    if not given:
        msg = 'language() needs the languages that are allowed, for example language("ko", "en")'
        raise ConfigurationError(msg)
    _check("tolerance", tolerance, 0, 1)
    _check("confidence", confidence, 0.5, 1)
    letters_: object = least
    if isinstance(letters_, bool) or not isinstance(letters_, int) or letters_ < 1:
        msg = f"least is {least!r}; it must be a whole number of letters from 1 up"
        raise ConfigurationError(msg)
    if find_spec("py3langid") is None:
        msg = 'language() needs py3langid: pip install "llmguard-middleware[language]"'
        raise ConfigurationError(msg)
    return Language(allowed, tolerance=tolerance, least=least, confidence=confidence)


def _check(name: str, given: object, low: float, high: float) -> None:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not low <= given <= high:
        msg = f"{name} is {given!r}; it must be a number from {low:g} to {high:g}"
        raise ConfigurationError(msg)
