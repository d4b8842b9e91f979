"""Who reads a guard's metrics: the meter provider that it was given, or that of the process as soon as there is one."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from opentelemetry.metrics import MeterProvider, NoOpMeterProvider

from .._boundary import unwritten
from .._globals import METERS
from ._instruments import Instruments
from ._recorder import Recorder

if TYPE_CHECKING:
    from .._options import Metrics
    from ._observed import Observed

__all__ = ["Metering"]


class Metering:
    """Makes a guard's recorder once somebody reads metrics, and has the guard observed from then on."""

    def __init__(self, guard: str, generation: Metrics, provider: MeterProvider | None) -> None:
        self._guard, self._generation = guard, generation
        self._recorder: Recorder | None = None
        self._observed: weakref.ref[Observed] | None = None
        # Whether the process' provider is looked for, which may be set later than this is made.
        self._looks = provider is None and generation != "none"
        if provider is not None and generation != "none":
            self._record_with(provider)

    @property
    def recorder(self) -> Recorder | None:
        """What records metrics; None as long as nobody reads them."""
        if not self._looks:
            return self._recorder
        if (now := METERS.get()) is None:
            return None
        # The API's own stands for one that was not set yet, and cannot be told from others in public.
        if not type(now).__module__.startswith("opentelemetry.metrics"):
            self._looks = False
            self._record_with(now)
        return self._recorder

    def watch(self, guard: Observed) -> None:
        """Have the guard's monitors and breakers observed."""
        self._observed = weakref.ref(guard)
        self._observe()

    def _record_with(self, provider: MeterProvider) -> None:
        if isinstance(provider, NoOpMeterProvider):
            return
        try:
            self._recorder = Recorder(Instruments.of(provider), self._guard, self._generation)
        except Exception as error:  # noqa: BLE001 - whatever a provider raises: the guard goes on, without metrics
            unwritten(error)
        self._observe()

    def _observe(self) -> None:
        guard = None if self._observed is None else self._observed()
        if self._recorder is not None and guard is not None:
            self._observed = None
            self._recorder.instruments.watched.add(guard)
