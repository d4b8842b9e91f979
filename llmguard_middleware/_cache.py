"""Verdict cache: scores kept by what was scored, for guardrails that ask for it."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ._checks import expect_count, expect_seconds
from ._score import Score
from ._scorer import BoundScorer

__all__ = ["ScoreCache", "VerdictCache"]


@dataclass(frozen=True)
class VerdictCache:
    """Keep the scores of one guardrail.

    Args:
        size: how many; the least recently used go first.
        ttl: seconds that one is kept.
        clock: seconds that only go forward.
    """

    size: int = 1024
    ttl: float = 300.0
    clock: Callable[[], float] = field(default=time.monotonic, repr=False, compare=False)

    def __post_init__(self) -> None:
        expect_count(self.size, "size of VerdictCache", 1)
        expect_seconds(self.ttl, "ttl of VerdictCache")


class ScoreCache:
    """Scores of one scorer by a hash of everything that it was given. What was given is not kept, its scores are."""

    def __init__(self, options: VerdictCache, scorer: BoundScorer) -> None:
        self._options = options
        self._parameters = scorer.parameters
        self._uncacheable = scorer.everything
        self._scores: OrderedDict[bytes, tuple[float, Score]] = OrderedDict()

    def key(self, available: Mapping[str, Any]) -> bytes | None:
        """What identifies this score; None if the scorer is given more than texts and numbers."""
        if self._uncacheable:
            return None
        given = [(name, available[source]) for name, source, _ in self._parameters if source in available]
        # Of these types exactly: the repr of a subclass may be anything, the same for all.
        if not all(value is None or type(value) in (str, int, float, bool) for _, value in given):
            return None
        return hashlib.blake2b(repr(given).encode("utf-8", "surrogatepass"), digest_size=20).digest()

    def get(self, key: bytes) -> Score | None:
        """The score, if there is one that is young enough."""
        kept = self._scores.get(key)
        if kept is None or self._options.clock() - kept[0] > self._options.ttl:
            return None
        with suppress(KeyError):  # another thread dropped it
            self._scores.move_to_end(key)
        return kept[1]

    def put(self, key: bytes, score: Score) -> None:
        """Keep a score."""
        self._scores[key] = (self._options.clock(), score)
        with suppress(KeyError):  # another thread dropped it
            self._scores.move_to_end(key)
        while len(self._scores) > self._options.size:
            with suppress(KeyError):  # another thread was faster
                self._scores.popitem(last=False)
