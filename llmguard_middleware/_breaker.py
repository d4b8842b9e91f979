"""Circuit breaker: a scorer that is away is left alone for a while, then one call tries whether it is back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from ._checks import expect_count, expect_seconds
from .errors import LLMGuardError, ScorerServiceError, ScorerTimeoutError

__all__ = ["Breaker", "Circuit", "is_outage"]

State = Literal["closed", "open", "half_open"]
Admission = Literal["", "call", "probe"]


@dataclass(frozen=True)
class Breaker:
    """When to give up on a scorer, and for how long (M. Nygard, Release It!, 2007).

    What counts as a failure is a time-out, or an exception that says that the scorer's service is away: OSError with
    ConnectionError and TimeoutError, and those of other libraries. What a text can cause by itself does not, or whoever
    may send a few texts could switch the scorer off for all: ValueError, TypeError, LookupError, AttributeError,
    ArithmeticError, AssertionError, RecursionError, and our own errors other than ScorerTimeoutError and
    ScorerServiceError.

    Args:
        failures: after so many failures in a row the circuit opens.
        cooldown: seconds until one call may try again: the circuit closes if it succeeds, or stays open as long again.
        clock: seconds that only go forward.
    """

    failures: int = 5
    cooldown: float = 30.0
    clock: Callable[[], float] = field(default=time.monotonic, repr=False, compare=False)

    def __post_init__(self) -> None:
        expect_count(self.failures, "failures of Breaker", 1)
        expect_seconds(self.cooldown, "cooldown of Breaker")


# What a text can make a scorer raise while nothing is wrong with the service behind it.
_OF_THE_TEXT = (
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, RecursionError, LLMGuardError
)  # fmt: skip


def is_outage(error: Exception) -> bool:
    """Whether this error says that the scorer is away, and not only that it could not cope with one text."""
    if isinstance(error, (ScorerTimeoutError, ScorerServiceError)) or not isinstance(error, _OF_THE_TEXT):
        return True
    # Some are both: a certificate that fails comes from the system, with a number; an address that is none does not.
    return isinstance(error, OSError) and error.errno is not None


class Circuit:
    """The state of one guardrail's breaker.

    It has no lock that a fork could leave held: the probe, which must happen once, is a pop from a list.
    """

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker
        self._failed = 0
        self._opened: float | None = None
        self._probe: list[None] = []

    @property
    def state(self) -> State:
        """closed: all calls score; open: none does; half_open: one may try."""
        if self._opened is None:
            return "closed"
        return "half_open" if self._breaker.clock() - self._opened >= self._breaker.cooldown else "open"

    def admits(self) -> Admission:
        """As what a call may score; if it may, it must tell how it went: `succeeded`, `failed` or `withdrawn`."""
        if self._opened is None:
            return "call"
        if self.state == "open":
            return ""
        try:
            self._probe.pop()
        except IndexError:
            return ""
        return "probe"

    def succeeded(self) -> None:
        """A score came back."""
        self._failed = 0
        self._opened = None

    def failed(self) -> None:
        """The scorer is away or was out of time."""
        self._failed += 1
        if self._failed >= self._breaker.failures or self._opened is not None:
            self._opened = self._breaker.clock()
            self._probe = [None]

    def withdrawn(self, admitted: Admission) -> None:
        """Nothing is known of the scorer, and the probe may be made by the next call."""
        if admitted == "probe" and self._opened is not None:
            self._probe = [None]
