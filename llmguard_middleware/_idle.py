"""Calls that nobody ends: of which nothing was heard for too long, or that are too many."""

from __future__ import annotations

import weakref
from collections.abc import Callable, MutableMapping
from time import monotonic
from typing import Any

from ._clock import Clock

__all__ = ["Idle"]

_SWEEPS = 4  # in the idle time
_MOST = 100_000  # calls under way; the oldest gives way


class Idle:
    """Looks now and then at the calls under way, while there are any.

    Args:
        live: the calls, by whatever names them; several names may lead to one. Each has `heard` (since the last look),
            `quiet` (looks since then) and `outer` (the call around it, or None).
        seconds: without a word after which a call is given up.
        give_up: ends a call and takes it out of `live`.
    """

    def __init__(self, live: MutableMapping[Any, Any], seconds: float, give_up: Callable[[Any], None]) -> None:
        self._live, self._seconds = live, seconds
        self._give_up = weakref.WeakMethod(give_up)
        self.begin_anew()

    def begin_anew(self) -> None:
        """After a fork: the clock's thread stayed with the parent."""
        self._clock = Clock("llmguard-idle")
        self._sweeping = False

    def watch(self) -> None:
        """There is a call under way."""
        if not self._sweeping:
            self._later()
        if len(self._live) > _MOST:
            self._end(next(iter(self._live.values())))

    def _later(self) -> None:
        self._sweeping = True
        this = weakref.ref(self)
        when = monotonic() + self._seconds / _SWEEPS
        self._clock.at("sweep", when, lambda: None if (idle := this()) is None else idle.sweep())

    def _end(self, run: Any) -> None:
        if (give_up := self._give_up()) is not None:
            give_up(run)

    def sweep(self) -> None:
        """Give up what was not heard of for too long; what is heard below counts for what lies around."""
        runs = {id(run): run for run in list(self._live.values())}.values()
        for run in runs:
            outer = run.outer if run.heard else None
            while outer is not None and not outer.heard:
                outer.heard = True
                outer = outer.outer
        for run in runs:
            run.quiet = 0 if run.heard else run.quiet + 1
            run.heard = False
            if run.quiet > _SWEEPS:
                self._end(run)
        self._sweeping = bool(self._live)
        if self._sweeping:
            self._later()
