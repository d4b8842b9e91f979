"""Rounds of all variants that take turns in one process, and the medians of their paired differences."""

from __future__ import annotations

import gc
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

__all__ = ["Added", "added", "load", "table", "take_turns"]

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


def table(name: str, timers: Mapping[str, Callable[[], tuple[float, float]]], rounds: int, calls: int) -> None:
    """Let these take turns, and print what each adds to "bare", in us and as a multiple of what "floor" adds.

    Each timer gives the microseconds of one call: until it returns, and in total. Each line shows both, with errors.
    """
    found = take_turns(rounds, timers)
    cells = {
        key: [added([pair[i] for pair in pairs], [pair[i] for pair in found["bare"]]) for i in (0, 1)]
        for key, pairs in found.items()
        if key != "bare"
    }
    floor = cells["floor"]
    bare = sorted(pair[0] for pair in found["bare"])[rounds // 2]
    print(f"\n{name} ({rounds} rounds of {calls}; bare {bare:.0f} us; {load()})")
    for key, (until, total) in cells.items():
        print(
            f"  {key:22} {until.median:7.0f} / {total.median:7.0f}",
            f"  {until.median / floor[0].median:6.2f}x / {total.median / floor[1].median:5.2f}x",
            f"  +- {until.error / floor[0].median:.2f} / {total.error / floor[1].median:.2f}",
            flush=True,
        )
