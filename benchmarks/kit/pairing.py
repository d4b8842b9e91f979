"""Rounds of all variants that take turns in one process, and the medians of their paired differences."""

from __future__ import annotations

import gc
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

__all__ = ["Added", "added", "load", "take_turns"]

T = TypeVar("T")
_WARM_UP = 2  # rounds that are thrown away


class Added(NamedTuple):
    """A median of paired differences and its standard error."""

    median: float
    error: float


def take_turns(rounds: int, variants: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """What each variant measured in each round. Who goes first changes: what one leaves behind, the next pays for."""
    names = list(variants)
    told: dict[str, list[T]] = {name: [] for name in names}
    for number in range(rounds + _WARM_UP):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            gc.collect()
            told[name].append(variants[name]())
    return {name: found[_WARM_UP:] for name, found in told.items()}


def added(one: Sequence[float], base: Sequence[float]) -> Added:
    """By how much `one` is above `base`, round by round."""
    differences = [a - b for a, b in zip(one, base, strict=True)]
    low, median, high = statistics.quantiles(differences, n=4)
    return Added(median, 1.2533 * (high - low) / 1.349 / len(differences) ** 0.5)


def load() -> str:
    """How busy the machine is, as a line to print under a table."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
