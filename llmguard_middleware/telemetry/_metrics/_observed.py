"""Guards whose monitors and breakers are asked how they stand when metrics are collected; none is kept alive by it."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from opentelemetry.metrics import Observation

from .. import _names as names

__all__ = ["Observed", "Watched"]

_STATES = {"closed": 0, "half_open": 1, "open": 2}


class Observed(Protocol):
    """What is asked of a guard."""

    name: str

    @property
    def policies(self) -> Any: ...
    @property
    def monitors(self) -> Any: ...
    @property
    def monitoring(self) -> Any: ...
    @property
    def settled(self) -> Mapping[Any, int]: ...


class _Guard:
    """One guard, and the books of its monitors, which outlive it."""

    def __init__(self, guard: Observed) -> None:
        self.name, self.guard = guard.name, weakref.ref(guard)
        self.settled = guard.settled


class Watched:
    """The guards of one meter provider. Several may have the same name: then what they count is added up."""

    def __init__(self) -> None:
        self._guards: list[_Guard] = []
        self._gone: Counter[tuple[str, str]] = Counter()

    def add(self, guard: Observed) -> None:
        """From now on this one, too."""
        self._guards.append(_Guard(guard))

    def read(self, name: str) -> Iterator[Observation]:
        """How one of the metrics stands."""
        self._forget()
        if name == "llmguard.monitor.queue.size":
            yield from self._queues()
        elif name == "llmguard.monitor.scores":
            yield from self._scores()
        elif name == "llmguard.breaker.state":
            yield from self._breakers()

    def _forget(self) -> None:
        """Guards that are gone leave what they counted behind, or the counters would go down."""
        for one in list(self._guards):
            if one.guard() is None:
                try:
                    self._guards.remove(one)
                except ValueError:  # another reader was quicker
                    continue
                self._gone.update({(one.name, outcome): count for outcome, count in dict(one.settled).items()})

    def _queues(self) -> Iterator[Observation]:
        pending: Counter[str] = Counter()
        for one in self._guards:
            if (guard := one.guard()) is not None and guard.monitors:
                pending[one.name] += guard.monitoring.pending
        for name, scores in pending.items():
            yield Observation(scores, {names.GUARD: name})

    def _scores(self) -> Iterator[Observation]:
        counts = Counter(self._gone)
        for one in self._guards:
            if (guard := one.guard()) is not None:
                one.settled = guard.settled  # after a fork, other books
            counts.update({(one.name, outcome): count for outcome, count in dict(one.settled).items()})
        for (name, outcome), count in counts.items():
            if count:
                yield Observation(count, {names.GUARD: name, names.OUTCOME: outcome})

    def _breakers(self) -> Iterator[Observation]:
        states: dict[tuple[str, str], int] = {}
        for one in self._guards:
            guard = one.guard()
            for policy in () if guard is None else guard.policies:
                for rule in policy.guardrails:
                    if rule.circuit is not None:
                        key, state = (one.name, rule.name), _STATES[rule.circuit.state]
                        states[key] = max(state, states.get(key, 0))
        for (name, rule), state in states.items():
            yield Observation(state, {names.GUARD: name, names.GUARDRAIL: rule})
