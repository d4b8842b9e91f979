"""How much may wait for a guard's monitors, and what became of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from .._checks import expect_count, expect_known, is_number
from ..errors import ConfigurationError

__all__ = ["MonitorQueue", "MonitorStats"]

Drop = Literal["newest", "oldest", "block"]


@dataclass(frozen=True)
class MonitorQueue:
    """How many scores may be pending in one guard, and what happens to one more.

    Args:
        size: scores that wait or run, over all monitors of the guard.
        drop: `newest` drops the score that arrives, `oldest` the one that has waited longest and has not started
            (the one that arrives, if all have), `block` holds the caller until there is room, at most `wait`, and
            then drops the one that arrives. On the thread of a running asyncio event loop `block` holds nobody and is
            `newest`, since every task of the loop would wait.
        wait: seconds that one answered call is held at most, over all monitors; for `block` only.

    Raises:
        ConfigurationError: for a size below 1, an unknown policy or a wait that is no number of seconds.
    """

    size: int = 1000
    drop: Drop = "newest"
    wait: float = 0.05

    def __post_init__(self) -> None:
        expect_count(self.size, "size of MonitorQueue", 1)
        expect_known(self.drop, get_args(Drop), "drop", "MonitorQueue")
        if not (is_number(self.wait) and 0 <= self.wait < math.inf):
            msg = f"wait of MonitorQueue is {self.wait!r}; give seconds, 0 or more"
            raise ConfigurationError(msg)


@dataclass(frozen=True)
class MonitorStats:
    """What became of the scores of one guard's monitors, at one moment: every score is in exactly one of the first six.

    Attributes:
        queued: wait for their turn.
        running: are under way.
        scored: came to a score, be it one that says "could not score".
        failed: the scorer raised, or returned something that is no score.
        timed_out: took longer than the monitor's `timeout`.
        dropped: were dropped by the queue.
        abandoned: sync scorers that are out of time and have not come back yet, each of which holds a thread; their
            scores are among `timed_out`.
    """

    queued: int = 0
    running: int = 0
    scored: int = 0
    failed: int = 0
    timed_out: int = 0
    dropped: int = 0
    abandoned: int = 0

    @property
    def pending(self) -> int:
        """Scores that wait or run."""
        return self.queued + self.running

    @property
    def observed(self) -> int:
        """All scores that were ever asked for."""
        return self.pending + self.scored + self.failed + self.timed_out + self.dropped
