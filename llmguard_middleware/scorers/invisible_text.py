"""invisible_text: characters that nobody sees and models read."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ._patterns import PatternScorer, Span, select

__all__ = ["InvisibleText", "invisible_text"]

_PLAIN = "0-9A-Za-z\u00c0-\u024f\uac00-\ud7a3\u3040-\u30ff\u4e00-\u9fff"


class _Kind(NamedTuple):
    """One kind of characters that nobody sees: which they are, and what of them counts, seen from after the first."""

    name: str
    characters: str
    counts: str


_TAGS, _SELECTORS = "\U000e0000-\U000e007f", "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_BIDI, _FILLERS = "\u202a-\u202e\u2066-\u2069", "\u115f\u1160\u3164\uffa0"
_ZERO, _JOINERS = "\u200b\u2060-\u2064\u180e\ufeff", "\u200c\u200d"

_KINDS: Final = (
    # A copy of ASCII, with which instructions are smuggled. Flags of regions end with them, after a black flag.
    _Kind("TAG_CHARACTERS", _TAGS, f"(?<!\U0001f3f4.)(?<![{_TAGS}].)[{_TAGS}]*"),
    # More than one in a row carries bytes; one alone chooses the form of a character.
    _Kind("VARIATION_SELECTORS", _SELECTORS, f"(?<=[{_SELECTORS}].)[{_SELECTORS}]*"),
    _Kind("BIDI_CONTROLS", _BIDI, f"[{_BIDI}]*"),
    # Joiners are right between signs of many scripts and in emoji, and wrong between these letters.
    _Kind(
        "ZERO_WIDTH", _ZERO + _JOINERS, f"(?:(?<=[{_ZERO}])[{_ZERO}]*|(?<=[{_JOINERS}])(?<=[{_PLAIN}].)(?=[{_PLAIN}]))"
    ),
    _Kind("FILLERS", _FILLERS, f"[{_FILLERS}]*"),
)


class InvisibleText(PatternScorer[_Kind]):
    """Flags texts that hold such characters; value is how many stretches, label the kinds found."""

    behind = 2

    def __init__(self, kinds: list[_Kind]) -> None:
        super().__init__("invisible_text", kinds, 2)
        # One of all first, which is quickly looked for; then which it is, by the name of its group, the frequent first.
        every = "".join(kind.characters for kind in kinds)
        each = "|".join(f"(?P<{kind.name}>(?<=[{kind.characters}]){kind.counts})" for kind in reversed(kinds))
        self._pattern = re.compile(f"[{every}](?:{each})")

    def found(self, text: str) -> list[Span]:
        """Each stretch of each kind."""
        if text.isascii():
            return []
        return [(*match.span(), match.lastgroup or "") for match in self._pattern.finditer(text)]


def invisible_text(*kinds: str) -> InvisibleText:
    """Find characters that nobody sees, with which instructions and data are smuggled into prompts and out of answers.

    TAG_CHARACTERS, VARIATION_SELECTORS (two and more in a row), BIDI_CONTROLS, ZERO_WIDTH, FILLERS. What emoji and
    scripts such as Persian and Hindi need is left alone.

    Args:
        kinds: look for these only; all if none is named.

    Raises:
        ConfigurationError: if a kind is unknown.
    """
    return InvisibleText(select(_KINDS, kinds, "invisible_text"))
