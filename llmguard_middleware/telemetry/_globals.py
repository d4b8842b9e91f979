"""The providers of the process, which OpenTelemetry's API keeps: whether one was set, at next to no cost.

To ask for one in public costs a look into the environment each time, as long as none is set: every call of a process
that traces and measures nothing would pay that, and more than once.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Generic, TypeVar

from opentelemetry import trace
from opentelemetry.metrics import MeterProvider, _internal, get_meter_provider
from opentelemetry.trace import TracerProvider

__all__ = ["METERS", "TRACERS"]

P = TypeVar("P")


class Global(Generic[P]):
    """One of them.

    Args:
        get: asks for it in public.
        module: in which the API keeps it.
        name: under which it does; it is asked in public each time if it does no longer.
    """

    def __init__(self, get: Callable[[], P], module: ModuleType, name: str) -> None:
        self._get, self._kept, self._name = get, vars(module), name
        self._asked = False

    def get(self) -> P | None:
        """The provider, or what the API has in its place; None if nobody has set any."""
        if self._asked and self._kept.get(self._name, self) is None:
            return None
        self._asked = True  # and so made, if the environment names one
        return self._get()


TRACERS: Global[TracerProvider] = Global(trace.get_tracer_provider, trace, "_TRACER_PROVIDER")
METERS: Global[MeterProvider] = Global(get_meter_provider, _internal, "_METER_PROVIDER")
