"""Vectors that embedding models give, and the angle between two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import mul
from typing import Any

__all__ = ["UnlikeError", "cosine", "unit"]


class UnlikeError(ValueError):
    """What cannot be compared; the message says why."""


def unit(raw: Any) -> Sequence[float]:
    """The vector of length one in the direction of what a model gave: numbers in a sequence or array, or one in a list.

    Raises:
        UnlikeError: if it is none, or has no direction.
    """
    numbers = raw.tolist() if hasattr(raw, "tolist") else raw  # arrays and tensors, whose libraries are not imported
    try:
        if len(numbers) == 1 and not isinstance(numbers[0], (int, float)):
            (numbers,) = numbers  # a batch of one
        vector = [float(number) for number in numbers]
    except (TypeError, ValueError, LookupError):
        msg = "the embedding model gave no vector of numbers"
        raise UnlikeError(msg) from None
    length = math.hypot(*vector)
    if not math.isfinite(length) or not length:
        what = "a vector of zeros" if length == 0 else "a number that is none"
        msg = f"the embedding model gave {what}"
        raise UnlikeError(msg)
    return [number / length for number in vector]


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of the angle between two vectors of length one.

    Raises:
        UnlikeError: if they are of different sizes.
    """
    if len(one) != len(other):
        msg = f"vectors of {len(one)} and of {len(other)} numbers cannot be compared"
        raise UnlikeError(msg)
    product: float = sum(map(mul, one, other))
    return min(1.0, max(-1.0, product))
