"""A call that no rule and no monitor is for: a span, at the cost of one."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from opentelemetry import context as otel
from opentelemetry.context import Context

from ._asking import judge_asking
from ._call import Call
from ._current import around
from ._guard import Guard
from ._scope import anything
from .telemetry import _names as names
from .telemetry._boundary import never_raises
from .telemetry._call_span import COUNTING, CallSpan
from .telemetry._content import Content, ledger_in

__all__ = ["Unjudged", "quoted", "unheard", "unjudged"]


def unjudged(guard: Guard) -> bool:
    """Whether nothing is to be judged, scored or said about a call of this guard that is made here, as by a judge."""
    return (guard.in_force.idle and not anything()) or judge_asking() is not None


def quoted(guard: Guard, parent: Context | None) -> bool:
    """Whether content is captured of a call made here, and no rule of any guard around it could keep it back."""
    capture = guard.emitter.capture
    return (
        capture is not None
        and capture.simple
        and guard.in_force.bare
        and not (guard.left_out or around() or anything() or judge_asking())
        and ledger_in(parent) is None
    )


def unheard(guard: Guard) -> bool:
    """Whether there is nothing at all to be done about a call: no rule, and nobody who sees spans."""
    return guard.in_force.idle and guard.emitter.silent


class Unjudged:
    """What a `Flow` is to an adapter, for a call of which `unjudged` is true, or `quoted`: that has a `content`."""

    __slots__ = ("_begun", "_ended", "_parent", "_span", "arrivals", "call", "content", "guard")

    def __init__(self, guard: Guard, call: Call, parent: Context | None, content: Content | None = None) -> None:
        if (question := judge_asking()) is not None:
            call = call.but(attributes={**call.attributes, names.JUDGE: question.judge})
        self.guard, self.call, self.content = guard, call, content
        self._parent = otel.get_current() if parent is None else parent
        self._span = guard.emitter.open(call, self._parent)
        self._begun = perf_counter()
        self._ended: CallSpan | None = None  # made if it ends in any other way than most do
        self.arrivals: list[float] | None = None

    @property
    def context(self) -> Context:
        """The OpenTelemetry context below it."""
        if self.call.operation in COUNTING or self.content is not None:  # those below it look for it, or take out of it
            return self._whole().context
        return self.guard.emitter.below(self._span, self._parent, self.call.operation)

    def _whole(self) -> CallSpan:
        if self._ended is None:
            self._ended = CallSpan(self.guard.emitter, self._span, self._parent, self.call)
            self._ended.begun = self._begun
        return self._ended

    def _ends(self, call: Call | None = None) -> CallSpan:
        span = self._whole()
        if self.arrivals is not None:
            span.arrivals = self.arrivals
        if self.content is not None:
            self._quote(span, call or self.call, self.content, answered=call is not None)
        return span

    @never_raises
    def _quote(self, span: CallSpan, call: Call, content: Content, *, answered: bool) -> None:
        if (capture := self.guard.emitter.capture) is not None:
            capture.take(span, call, content, None, None, answered=answered)

    def timed(self) -> list[float] | None:
        """As that of a `CallSpan`."""
        if self.guard.emitter.recorder_in(self._parent) is None and not self._span.is_recording():
            return None
        self.arrivals = [perf_counter()]
        return self.arrivals

    def turned_out(self, call: Call) -> None:
        """The framework tells only now what was called."""
        self.call = call
        self._whole().renamed(call)

    def answered(self, **answer: Any) -> None:
        """The call is over and was answered; `answer` are fields of `Call`."""
        if self._ended is not None:  # it is known as a whole: it has something below, say
            call = self.call.but(answered=True, **answer)
            self._ends(call).answered(call)
            return
        emitter, content = self.guard.emitter, self.content
        emitter.close(self._span, answer, self.call, self._begun, self.arrivals, self._parent, content)

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
