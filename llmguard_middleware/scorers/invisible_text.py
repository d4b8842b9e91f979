"""invisible_text: characters that nobody sees and models read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from .._score import TextSpan
from ._patterns import PatternScorer, select

__all__ = ["InvisibleText", "invisible_text"]

_PLAIN = "0-9A-Za-z\u00c0-\u024f\uac00-\ud7a3\u3040-\u30ff\u4e00-\u9fff"


class _Kind:
    """One kind of characters that nobody sees."""

    def __init__(self, name: str, pattern: str) -> None:
        self.name, self.pattern = name, re.compile(pattern)


_KINDS: Final = (
    # A copy of ASCII, with which instructions are smuggled. Flags of regions end with them, after a black flag.
    _Kind("TAG_CHARACTERS", "(?<!\U0001f3f4)(?<![\U000e0000-\U000e007f])[\U000e0000-\U000e007f]+"),
    # More than one in a row carries bytes; one alone chooses the form of a character.
    _Kind("VARIATION_SELECTORS", "(?<=[\ufe00-\ufe0f\U000e0100-\U000e01ef])[\ufe00-\ufe0f\U000e0100-\U000e01ef]+"),
    _Kind("BIDI_CONTROLS", "[\u202a-\u202e\u2066-\u2069]+"),
    # Joiners are right between signs of many scripts and in emoji, and wrong between these letters.
    _Kind("ZERO_WIDTH", f"[\u200b\u2060-\u2064\u180e\ufeff]+|(?<=[{_PLAIN}])[\u200c\u200d](?=[{_PLAIN}])"),
    _Kind("FILLERS", "[\u115f\u1160\u3164\uffa0]+"),
)


class InvisibleText(PatternScorer[_Kind]):
    """Flags texts that hold such characters; value is how many stretches, label the kinds found."""

    behind = 2

    def __init__(self, kinds: list[_Kind]) -> None:
        super().__init__("invisible_text", kinds, 2)

    def found(self, text: str) -> Iterator[TextSpan]:
        """Each stretch of each kind."""
        if not text.isascii():
            for kind in self._kinds:
                for match in kind.pattern.finditer(text):
                    yield TextSpan(match.start(), match.end(), kind.name)


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
