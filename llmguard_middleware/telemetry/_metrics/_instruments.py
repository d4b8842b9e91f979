"""The instruments of one meter provider, which all guards of the process share, and the counters that it reads."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from ..._forks import renewed_in_children
from .. import _names as names
from ._backlog import Backlog
from ._observed import Watched
from ._series import Names, SeriesOf
from ._table import TABLE

__all__ = ["Instruments"]

_SCOPE = "llmguard_middleware"
_TOKENS = ("input_tokens", "output_tokens", "cache_read.input_tokens", "cache_write.input_tokens")
_COUNTED = tuple(f"gen_ai.client.inference.usage.{kind}" for kind in (*_TOKENS, "reasoning.output_tokens"))


class Instruments:
    """Instruments that are made when they are first wanted, and what they add up.

    Attributes:
        names: keeps the values of attributes few.
        series: of model calls, embeddings and retrievals.
        watched: what is asked how it stands whenever it is collected.
        lock: held while a total is changed.
        backlog: values of histograms on their way to the SDK.
    """

    def __init__(self, provider: MeterProvider) -> None:
        self._meter = provider.get_meter(_SCOPE)
        self.names = Names()
        self.series = SeriesOf(self.names)
        self.watched = Watched()
        self.lock = threading.RLock()
        self.backlog = Backlog()
        self._verdicts: dict[tuple[str, ...], int] = {}
        self._histograms: dict[str, Callable[..., None]] = {}
        self._making = threading.RLock()
        self._observes: set[str] = set()
        renewed_in_children(self)

    @classmethod
    def of(cls, provider: MeterProvider) -> Instruments:
        """Those of this provider."""
        return _SHARED.of(provider)

    def histogram(self, name: str) -> Callable[..., None]:
        """How to record a value: `record(amount, attributes, context)`."""
        return self._histograms.get(name) or self._made(name)

    def _made(self, name: str) -> Callable[..., None]:
        with self._making:
            if name not in self._histograms:
                metric = TABLE[name]
                histogram = self._meter.create_histogram(
                    name, metric.unit, metric.says, explicit_bucket_boundaries_advisory=metric.buckets
                )
                self._histograms[name] = partial(self.backlog.add, histogram.record)
            return self._histograms[name]

    def observe(self, *which: str) -> None:
        """Have these read from now on: those whose names begin so."""
        for start in which:
            if start in self._observes:
                continue
            with self._making:
                if start in self._observes:
                    continue
                self._observes.add(start)
                for name, metric in TABLE.items():
                    if metric.kind == "histogram" or not name.startswith(start):
                        continue
                    gauge = metric.kind == "gauge"
                    make = self._meter.create_observable_gauge if gauge else self._meter.create_observable_counter
                    make(name, [partial(_read, weakref.ref(self), name)], metric.unit, metric.says)

    def judged(self, *verdict: str) -> None:
        """Count a verdict: of which guard, guardrail, stage, action, outcome."""
        with self.lock:
            self._verdicts[verdict] = self._verdicts.get(verdict, 0) + 1

    def read(self, name: str) -> Iterator[Observation]:
        """How a counter or a gauge stands."""
        if name in _COUNTED:
            at = _COUNTED.index(name)
            for series in list(self.series.all.values()):
                if (total := series.totals[at]) is not None:
                    yield Observation(total, series.text)
        elif name == "llmguard.cost":
            for series in list(self.series.all.values()):
                if series.usd is not None:
                    yield Observation(series.usd, series.cost)
        elif name == "llmguard.guardrail.verdicts":
            with self.lock:
                verdicts = dict(self._verdicts)
            for verdict, count in verdicts.items():
                yield Observation(count, dict(zip(_VERDICT, verdict, strict=True)))
        else:
            yield from self.watched.read(name)

    def begin_anew(self) -> None:
        """After a fork, which another thread's lock may have survived."""
        self.lock, self._making = threading.RLock(), threading.RLock()
        self.backlog.clear()


_VERDICT = (names.GUARD, names.GUARDRAIL, names.STAGE, names.ACTION, names.VERDICT)


def _read(instruments: weakref.ref[Instruments], name: str, _: CallbackOptions) -> Iterable[Observation]:
    alive = instruments()
    if alive is None:
        return ()
    alive.backlog.flush()  # before the histograms are collected, too: the SDK asks callbacks first
    return list(alive.read(name))


class _Shared:
    """Those of each provider: a second instrument of one name would be a second metric of that name."""

    def __init__(self) -> None:
        self._all: weakref.WeakKeyDictionary[Any, Instruments] = weakref.WeakKeyDictionary()
        self.begin_anew()
        renewed_in_children(self)

    def begin_anew(self) -> None:
        """After a fork: who held the lock stayed with the parent."""
        self._lock = threading.RLock()  # what is collected while it is held may lead back here

    def of(self, provider: MeterProvider) -> Instruments:
        """Those of this one."""
        try:
            with self._lock:
                return self._all.get(provider) or self._all.setdefault(provider, Instruments(provider))
        except TypeError:  # one that cannot be referred to weakly
            return Instruments(provider)


_SHARED = _Shared()
