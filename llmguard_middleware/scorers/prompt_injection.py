"""prompt_injection: attempts to override the instructions of an application, direct or inside documents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from .._score import Score
from .._scorer import Scorer
from ..errors import ConfigurationError
from ._injection._plain import plain, readings
from ._injection._outline import Outline
from ._injection._signals import MARKS, phrases_for

__all__ = ["PromptInjection", "prompt_injection"]

_WORDS_APART, _APART = 50, 300  # as close as that, the same family is found once
_WORDS_WITHIN: Final = 70
_WITHIN: Final = 400  # characters in which signals count together; a long document says much that is harmless


class PromptInjection(Scorer):
    """Flags a text that tries to override instructions; label is the family of what says most."""

    name = "prompt_injection"
    cheap = True
    extent = _WITHIN

    def __init__(self, threshold: float) -> None:
        super().__init__(name="prompt_injection")
        self.threshold = threshold
        self.options = f"{threshold:g}"

    def score(self, text: str) -> Score:
        """Value from 0 to 1: the sum of the weights of what is found close together."""
        lower = plain(text)
        words = Outline(lower)
        best, label = _strongest(words, lower)
        if best < 1:
            for disguise, reading in readings(text, lower, words):
                value, family = _strongest(Outline(reading), reading)
                # Who takes the pains to hide such words means them.
                if value >= min(1.0, self.threshold) and value > best:
                    best, label = value, f"{disguise}:{family}"
        value = min(1.0, round(best, 2))
        flagged = value >= self.threshold
        return Score(value=value, flagged=flagged, label=label if flagged else "")


class _Found(NamedTuple):
    at: int
    name: str
    weight: float


def _strongest(words: Outline, lower: str) -> tuple[float, str]:
    """The largest sum of weights of the families that are found within a stretch, and the heaviest of them."""
    found = [
        _Found(match.start(), phrase.name, phrase.weight)
        for phrase in phrases_for(words.present)
        for match in _apart(phrase.pattern, words.letters, _WORDS_APART)
    ]
    marks = [
        _Found(match.start(), mark.name, mark.weight)
        for mark in MARKS
        if mark.sign in lower and any(trigger in lower for trigger in mark.triggers)
        for match in _apart(mark.pattern, lower, _APART)
        if len(set(match[match.lastindex or 0])) >= mark.distinct
    ]
    # Counting words costs nothing; where a word is in the text is asked if it matters.
    if not marks and (len(lower) <= _WITHIN or _heaviest(found, _WORDS_WITHIN)[0] < 1):
        return _heaviest(found, _WORDS_WITHIN)
    starts = words.starts() if found else []
    return _heaviest([*(one._replace(at=starts[one.at]) for one in found), *marks], _WITHIN)


def _heaviest(found: list[_Found], within: int) -> tuple[float, str]:
    found.sort()
    best, label, first = 0.0, "", 0
    for last, (at, _, _) in enumerate(found):
        while at - found[first].at > within:
            first += 1
        weights = {name: weight for _, name, weight in found[first : last + 1]}
        if (total := sum(weights.values())) > best:
            best, label = total, max(weights, key=weights.__getitem__)
    return best, label


def _apart(pattern: re.Pattern[str], text: str, distance: int) -> Iterator[re.Match[str]]:
    """Where the pattern matches; once is enough within a distance."""
    match = pattern.search(text)
    while match is not None:
        yield match
        match = pattern.search(text, match.start() + distance)


def prompt_injection(*, threshold: float = 1.0) -> PromptInjection:
    """Find attempts to override the application's instructions, by phrase and structure; no model, no network.

    For what users say (stage "input") and for what comes from elsewhere: documents ("retrieval") and results of tools
    ("tool_result"). English and Korean; letters of other scripts that look alike, characters that nobody sees, spread
    letters, Base64, hexadecimal, ROT13 and percent encoding are seen through.

    Args:
        threshold: flagged from this value on, above 0 and at most 1. Lower finds more, and more that is harmless.

    Raises:
        ConfigurationError: if the threshold is out of its range.
    """
    given: object = threshold  # a setting in a file may be anything
    if not isinstance(given, (int, float)) or isinstance(given, bool) or not 0 < given <= 1:
        msg = f"threshold is {threshold!r}; it must be a number above 0 and at most 1"
        raise ConfigurationError(msg)
    return PromptInjection(float(threshold))
