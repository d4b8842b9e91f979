"""What a judge may answer: a number between two, or one of several labels, each of which has a value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from ..._checks import is_number
from ...errors import ConfigurationError

__all__ = ["Labels", "Numbers", "Place", "Scale", "scale_of"]

_EXAMPLES = 'scale=(1, 5) for numbers, or scale={"yes": 1, "no": 0} for labels'


class Place(NamedTuple):
    """Where on its scale an answer is: its value from 0 to 1 (of labels: what they stand for), and its label."""

    value: float
    label: str = ""


@dataclass(frozen=True)
class Numbers:
    """Numbers from `least` to `most`, which become values from 0 to 1."""

    least: float
    most: float

    key: ClassVar[str] = "score"

    @property
    def told(self) -> str:
        """As it is put in a prompt and in options."""
        return f"{self.least:g} to {self.most:g}"

    def schema(self) -> dict[str, Any]:
        """The JSON schema of an answer."""
        return {"type": "number", "minimum": self.least, "maximum": self.most}

    def place(self, answer: Any) -> Place | str:
        """Where this answer is, or why it is nowhere."""
        number = _number(answer)
        if number is None:
            return "its score is no number"
        if not self.least <= number <= self.most:  # nor NaN, nor infinity
            return f"its score is not between {self.least:g} and {self.most:g}"
        return Place((number - self.least) / (self.most - self.least))


@dataclass(frozen=True)
class Labels:
    """Words, each of which stands for a value."""

    values: Mapping[str, float]

    key: ClassVar[str] = "label"

    @property
    def told(self) -> str:
        """As it is put in a prompt and in options."""
        return ", ".join(f'"{label}"' for label in self.values)

    def schema(self) -> dict[str, Any]:
        """The JSON schema of an answer."""
        return {"type": "string", "enum": list(self.values)}

    def place(self, answer: Any) -> Place | str:
        """Where this answer is, or why it is nowhere."""
        said = answer.strip().casefold() if isinstance(answer, str) else None
        for label, value in self.values.items():
            if label.casefold() == said:
                return Place(value, label)
        return f"its label is none of {len(self.values)} that it was given"


Scale = Numbers | Labels


def _number(answer: Any) -> float | None:
    """A JSON number, or a text that is one and nothing else."""
    if isinstance(answer, str):
        try:
            return float(answer) if _plain(answer) else None
        except ValueError:
            return None
    try:
        return float(answer) if is_number(answer) else None
    except OverflowError:
        return math.inf


def _plain(answer: str) -> bool:
    # Not what else Python reads as a number: "1_000", "infinity", "nan", digits of other scripts.
    return answer.isascii() and all(one.isdigit() or one in "+-.eE" for one in answer)


def scale_of(given: Any) -> Scale:
    """The scale that a setting says: two numbers, or values by label.

    Raises:
        ConfigurationError: saying what to write.
    """
    if isinstance(given, (Numbers, Labels)):
        return given
    if isinstance(given, Mapping):
        return _labels(given)
    if isinstance(given, (list, tuple)) and len(given) == 2:  # noqa: PLR2004 - from and to
        least, most = given
        if is_number(least) and is_number(most) and math.isfinite(least) and math.isfinite(most) and least < most:
            return Numbers(float(least), float(most))
    msg = f"scale is {given!r}; give the least and the greatest number or a value for each label: {_EXAMPLES}"
    raise ConfigurationError(msg)


def _labels(given: Mapping[Any, Any]) -> Labels:
    for label, value in given.items():
        if not isinstance(label, str) or not label.strip() or not is_number(value) or not math.isfinite(value):
            msg = f"scale has {label!r}: {value!r}; give each label, a text, its value, a number: {_EXAMPLES}"
            raise ConfigurationError(msg)
    if len({label.strip().casefold() for label in given}) < max(2, len(given)):
        msg = f"scale has labels that are the same in lower case, or fewer than two: {_EXAMPLES}"
        raise ConfigurationError(msg)
    return Labels({label.strip(): float(value) for label, value in given.items()})
