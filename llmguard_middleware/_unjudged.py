"""A call that no rule and no monitor is for: a span, at the cost of one."""

from __future__ import annotations

from typing import Any

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.context import Context

from ._call import Call
from ._guard import Guard
from ._scope import anything
from .telemetry._emitter import CallSpan

__all__ = ["Unjudged", "unheard", "unjudged"]


def unjudged(guard: Guard) -> bool:
    """Whether nothing is to be judged, scored or said about a call of this guard that is made here."""
    return guard.in_force.idle and not anything()


def unheard(guard: Guard) -> bool:
    """Whether there is nothing at all to be done about a call: no rule, and nobody who sees spans."""
    return guard.in_force.idle and guard.emitter.silent


class Unjudged:
    """What a `Flow` is to an adapter, for a call of which `unjudged` is true."""

    __slots__ = ("_parent", "_span", "call", "guard")

    def __init__(self, guard: Guard, call: Call, parent: Context | None) -> None:
        self.guard, self.call = guard, call
        self._parent = otel.get_current() if parent is None else parent
        self._span = guard.emitter.open(call, self._parent)

    @property
    def context(self) -> Context:
        """The OpenTelemetry context below it."""
        return trace.set_span_in_context(self._span, self._parent)

    def _ends(self) -> CallSpan:
        return CallSpan(self.guard.emitter, self._span, self._parent)

    def turned_out(self, call: Call) -> None:
        """The framework tells only now what was called."""
        self.call = call
        self._ends().renamed(call)

    def answered(self, **answer: Any) -> None:
        """The call is over and was answered; `answer` are fields of `Call`."""
        self.guard.emitter.close(self._span, answer)

    def stopped(self, error: BaseException) -> None:
        """An exception ended the call: a failure, a framework's signal, or the reader of a stream who went away."""
        if isinstance(error, GeneratorExit):
            self._ends().abandoned()
        elif self.guard.untouched(error):
            self._ends().interrupted()
        else:
            self._ends().failed(error)

    def failed(self, error: BaseException) -> None:
        """The call is over and failed."""
        self._ends().failed(error)

    def abandoned(self, *, late: bool = False) -> None:
        """Nothing was heard of it for too long; `late` says that its answer may come all the same."""
        self._ends().abandoned()
