"""prompt_injection: attempts to override the instructions of an application, direct or inside documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .._score import Score
from .._scorer import Scorer
from ..errors import ConfigurationError
from ._injection._plain import plain, readings
from ._injection._signals import signals_for

__all__ = ["PromptInjection", "prompt_injection"]

_WITHIN: Final = 2000  # characters in which signals count together; a long document says much that is harmless


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
        best, label = _strongest(lower)
        if best < 1:
            for disguise, reading in readings(text, lower):
                value, family = _strongest(reading)
                # Who takes the pains to hide such words means them.
                if value >= min(1.0, self.threshold) and value > best:
                    best, label = value, f"{disguise}:{family}"
        value = min(1.0, round(best, 2))
        flagged = value >= self.threshold
        return Score(value=value, flagged=flagged, label=label if flagged else "")


def _strongest(lower: str) -> tuple[float, str]:
    """The largest sum of weights of the families that are found within a stretch, and the heaviest of them."""
    found = sorted(_found(lower))
    best, label, first = 0.0, "", 0
    for last, (at, _, _) in enumerate(found):
        while at - found[first][0] > _WITHIN:
            first += 1
        weights = {name: weight for _, name, weight in found[first : last + 1]}
        if (total := sum(weights.values())) > best:
            best, label = total, max(weights, key=weights.__getitem__)
    return best, label


def _found(lower: str) -> Iterator[tuple[int, str, float]]:
    for signal in signals_for(lower):
        if all(any(word in lower for word in group) for group in signal.words):
            last = -_WITHIN
            for match in signal.pattern.finditer(lower):
                if match.start() - last >= _WITHIN // 4:  # once is enough
                    last = match.start()
                    yield last, signal.name, signal.weight


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
