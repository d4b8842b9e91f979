"""A call that no rule and no monitor is for: a span, at the cost of one."""

from __future__ import annotations

from contextvars import Context as Variables
from typing import Any

from opentelemetry.context import Context

from ._asking import judge_asking
from ._call import Call
from ._current import around
from ._flow import Flow
from ._guard import Guard
from ._scope import anything
from .telemetry import _names as names
from .telemetry._bare_span import BareSpan
from .telemetry._boundary import never_raises
from .telemetry._call_span import COUNTING, CallSpan
from .telemetry._content import Content, Ledger, ledger_in

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
    return guard.emitter.silent and guard.in_force.idle


class Unjudged(BareSpan):
    """What a `Flow` is to an adapter, for a call of which `unjudged` is true, or `quoted`: that has a `content`."""

    __slots__ = ("_in_force", "_judged", "_whole", "content", "guard")

    def __init__(self, guard: Guard, call: Call, parent: Context | None, content: Content | None = None) -> None:
        if (question := judge_asking()) is not None:
            call = call.but(attributes={**call.attributes, names.JUDGE: question.judge})
        self._in_force = in_force = guard.in_force
        BareSpan.__init__(self, guard.emitter, call, parent, in_force.default.digest)  # super() costs
        self.guard, self.content = guard, content
        self._whole: CallSpan | None = None  # made if it ends in any other way than most do
        self._judged: Flow | None = None
        if call.operation in COUNTING and (Ledger.wanted or self.owner.recorder_in(self.parent) is not None):
            self._as_whole()  # those below it look for what counts them, and for what was taken out of it

    def _made_below(self) -> Context:
        if self._whole is not None or self.content is not None:
            return self._as_whole().context
        return super()._made_below()

    def _as_whole(self) -> CallSpan:
        if self._whole is None:
            self._whole = CallSpan(self.owner, self.span, self.parent, self.call)
            self._whole.begun = self.begun
        return self._whole

    def judged(self) -> Flow:
        """The same call as a Flow, which ends it from now on: what lies below is to share with it what it knows."""
        with self.once:
            if self._judged is None:
                # What is around this code now lies below it.
                call = self.call.but(started=self._started)
                flow = Variables().run(Flow, self.guard, call, span=self._as_whole())
                flow.goes_on(self._in_force)
                self._judged = flow
            return self._judged

    def _ends(self, call: Call | None = None) -> CallSpan:
        span = self._as_whole()
        if self.arrivals is not None:
            span.arrivals = self.arrivals
        if self.content is not None:
            self._quote(span, call or self.call, self.content, answered=call is not None)
        return span

    @never_raises
    def _quote(self, span: CallSpan, call: Call, content: Content, *, answered: bool) -> None:
        if (capture := self.owner.capture) is not None:
            capture.take(span, call, content, None, None, answered=answered)

    def answered(self, **answer: Any) -> None:
        """The call is over and was answered; `answer` are fields of `Call`."""
        self.over(answer)

    def over(self, answer: dict[str, Any]) -> None:
        """The same, without a copy of what an adapter has made for this."""
        if self._whole is not None:  # it is known as a whole: it has something below, say
            call = self.call.but(answered=True, **answer)
            self._ends(call).answered(call)
        else:
            self.close(answer, self.content)

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
