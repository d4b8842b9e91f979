"""length: how long a text is, in characters or words."""

from __future__ import annotations

from typing import Literal

from .._score import Score
from .._scorer import Scorer
from ..errors import ConfigurationError

__all__ = ["Length", "length"]

Unit = Literal["characters", "words"]


class Length(Scorer):
    """Flags texts that are too short or too long; value is the length, label "short" or "long"."""

    name = "length"
    cheap = True

    def __init__(self, least: int, most: int | None, unit: Unit) -> None:
        super().__init__(name="length")
        self.least, self.most, self.unit = least, most, unit
        self.options = f"{least},{most},{unit}"

    def score(self, text: str) -> Score:
        """How long `text` is."""
        size = len(text) if self.unit == "characters" else len(text.split())
        label = "short" if size < self.least else "long" if self.most is not None and size > self.most else ""
        return Score(value=float(size), flagged=bool(label), label=label)


def length(*, least: int = 0, most: int | None = None, unit: Unit = "characters") -> Length:
    """Measure how long a text is.

    Args:
        least: flagged below.
        most: flagged above; None for no bound, as a monitor that only measures has none.
        unit: "characters", or "words", which are what stands between spaces.

    Raises:
        ConfigurationError: for another unit, or bounds that no text meets.
    """
    if unit not in ("characters", "words"):
        msg = f'unit is {unit!r}; it must be "characters" or "words"'
        raise ConfigurationError(msg)
    bounds: tuple[object, ...] = (least,) if most is None else (least, most)
    if not all(isinstance(bound, int) and bound >= 0 for bound in bounds) or (most is not None and most < least):
        msg = f"least is {least!r} and most is {most!r}; give whole numbers from 0 up, least no greater than most"
        raise ConfigurationError(msg)
    return Length(least, most, unit)
