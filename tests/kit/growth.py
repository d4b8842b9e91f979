"""How work grows with its input, on a machine that does other things as well."""

from __future__ import annotations

import gc
from collections.abc import Callable
from time import thread_time

ROUNDS = 4


def growth(work: Callable[[str], object], unit: str, *, small: int = 10_000, times: int = 8) -> float:
    """How many times as long `times` as much text takes: about `times` if the work is linear, its square if not.

    Of this thread's CPU time and the fastest of several rounds, without the garbage collector: what else the machine
    does makes the larger of the two slower as little as the smaller one.
    """

    def seconds(length: int) -> float:
        text = unit * (length // len(unit))
        taken = []
        for _ in range(ROUNDS):
            before = thread_time()
            work(text)
            taken.append(thread_time() - before)
        return min(taken)

    work(unit * 100)
    collecting = gc.isenabled()
    gc.disable()
    try:
        # What takes less than a millisecond is mostly the clock's own.
        return seconds(small * times) / max(seconds(small), 0.001)
    finally:
        if collecting:
            gc.enable()
