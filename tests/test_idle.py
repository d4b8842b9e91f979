"""Calls that nobody ends are given up."""

from __future__ import annotations

import threading

from llmguard_middleware._idle import Idle


class Run:
    """A call under way."""

    def __init__(self, outer: Run | None = None) -> None:
        self.heard, self.quiet, self.outer = True, 0, outer


class Calls:
    """Some calls, and which of them were given up."""

    def __init__(self, seconds: float = 3600.0) -> None:
        self.live: dict[str, Run] = {}
        self.left: list[Run] = []
        self.gone = threading.Event()
        self.idle = Idle(self.live, seconds, self.give_up)

    def give_up(self, run: Run) -> None:
        """Forget it."""
        self.left.append(run)
        self.live = {name: one for name, one in self.live.items() if one is not run}
        self.gone.set()


def test_what_is_not_heard_of_is_given_up() -> None:
    """A call is given up after so many looks without a word; one that is heard of meanwhile is not."""
    calls = Calls()
    calls.live.update(silent=(silent := Run()), talking=(talking := Run()))

    for _ in range(6):
        talking.heard = True
        calls.idle.sweep()

    assert calls.left[0] is silent
    assert talking not in calls.left


def test_what_is_heard_below_counts_above() -> None:
    """A call that waits for another one is as alive as that."""
    calls = Calls()
    above = Run()
    calls.live.update(above=above, below=(below := Run(above)))

    for _ in range(6):
        below.heard = True
        calls.idle.sweep()

    assert calls.left == []


def test_the_clock_looks() -> None:
    """Somebody looks, without being asked, while there is a call under way."""
    calls = Calls(seconds=0.02)
    calls.live["one"] = Run()
    calls.idle.watch()

    assert calls.gone.wait(30)
