"""The open span of one call: what lies below it, what was found in it, and how it ended."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel
from opentelemetry.context import Context
from opentelemetry.trace import Span, Status, StatusCode

from .._call import Call
from .._verdict import Verdict
from ..errors import GuardrailViolation
from . import _names as names
from ._attributes import INFERENCE, error_type, request_attributes, response_attributes, title, verdict_attributes
from ._beside import suppressed
from ._boundary import never_raises, unwritten
from ._content._ledger import KEY, Ledger, ledger_in
from ._findings import show, tell
from ._metrics import Tally, below

if TYPE_CHECKING:
    from ._content import Capture
    from ._emitter import Emitter

__all__ = ["COUNTING", "CallSpan"]

COUNTING = frozenset(("invoke_agent", "invoke_workflow"))


class CallSpan:
    """The open span of one call under `parent`.

    Several guards may be around the same call: the span names the one that started it and tells the verdicts of all.

    Attributes:
        begun: when it began, on the clock of `perf_counter`.
        arrivals: when a streamed answer was asked for, and its chunks came, on that clock.
        tally: of an agent or a workflow, what it calls, if anybody counts.
    """

    __slots__ = (
        "_below", "_call", "_ledger", "_over", "_parent", "_unscanned", "_verdicts", "arrivals", "begun", "captured",
        "captures", "content", "event", "owner", "span", "tally",
    )  # fmt: skip

    def __init__(self, owner: Emitter, span: Span, parent: Context, call: Call) -> None:
        self.owner, self.span, self._parent, self._call = owner, span, parent, call
        self.begun = perf_counter()
        self._over = False
        # What its content is, which call's, and who writes it.
        self.content: dict[str, Any] | None = None
        self.captured: Call | None = None
        self.captures: Capture | None = None
        self.event: tuple[Call, dict[str, Any]] | None = None
        self._ledger: Ledger | None = None
        self._below: Context | None = None
        self.arrivals: list[float] | None = None
        self.tally: Tally | None = None
        if call.operation in COUNTING and owner.recorder_in(parent) is not None:
            self.tally = Tally(parent)
            if call.operation == "invoke_agent":
                self.tally.agent = call.name
        self._verdicts: tuple[Verdict, ...] = ()
        self._unscanned: frozenset[str] = frozenset()

    @property
    def identity(self) -> tuple[int, int]:
        """Trace and span id; 0 where nothing is traced."""
        told = self.span.get_span_context()
        return told.trace_id, told.span_id

    @property
    def visible(self) -> bool:
        """Whether spans below it are wanted."""
        return self.span.is_recording() and not suppressed(self._parent)

    @property
    def leads(self) -> bool:
        """Whether anything below it would be told so."""
        return Ledger.wanted or self.tally is not None or self.span.get_span_context().span_id != 0

    @property
    def context(self) -> Context:
        """The OpenTelemetry context below it."""
        if self._below is None:  # many calls have nothing below
            self._below = self.owner.below(self.span, self._parent, self._call.operation)
            if self.tally is not None:
                self._below = below(self._below, self.tally)
            if Ledger.wanted:  # by whichever guard
                self._below = otel.set_value(KEY, self.ledger, self._below)
        return self._below

    def timed(self) -> list[float] | None:
        """The answer is asked for and comes in pieces: the list that is told when; None if nobody wants to know.

        Of several that read the same stream the innermost begins last, and its list counts.
        """
        if self.owner.recorder_in(self._parent) is None and not self.span.is_recording():
            return None
        self.arrivals = [perf_counter()]
        return self.arrivals

    @property
    def ledger(self) -> Ledger:
        """What guardrails took out of the texts of its run."""
        if self._ledger is None:
            self._ledger = ledger_in(self._parent) or Ledger()
        return self._ledger

    def shared(self) -> None:
        """A guard that captures content joins: what lies below is to know what was taken out."""
        if self._ledger is None:
            self._ledger, self._below = self.ledger, None

    @never_raises
    def judged(self, verdict: Verdict, emitter: Emitter) -> None:
        """Count what the guardrails found, and show at once what is notable."""
        if (recorder := emitter.recorder_in(self._parent)) is not None:
            recorder.judged(verdict)
        show(self, emitter, verdict)

    @never_raises
    def renamed(self, call: Call) -> None:
        """Tell another operation and name; what was told of the one before and not of this one stays."""
        self._call = call
        if self.tally is not None and call.operation == "invoke_agent":
            self.tally.agent = call.name
        told = request_attributes(call, self.owner.guard, "")
        del told[names.DIGEST]  # that of the rules which were chosen at the start
        self.span.update_name(title(call))
        self.span.set_attributes(told)

    @never_raises
    def bypassed(self, reason: str) -> None:
        """Say on the span that its guard is switched off, and why."""
        self.span.set_attribute(names.BYPASS_REASON, reason)

    @never_raises
    def not_scanned(self, kinds: Collection[str]) -> None:
        """Say on the span which kinds of content (image, audio, ...) passed although no guardrail can look at them."""
        if not self._unscanned.issuperset(kinds):
            self._unscanned |= frozenset(kinds)
            self.span.set_attribute(names.NOT_SCANNED, sorted(self._unscanned))

    @never_raises
    def verdicts(self, verdicts: Sequence[Verdict], emitter: Emitter, response_id: str = "") -> None:
        """Put what the guardrails found into evaluation records in the span's context, and on the span when it ends."""
        self._verdicts += tuple(verdicts)
        tell(self, emitter, verdicts, response_id)

    @never_raises
    def answered(self, call: Call) -> None:
        """End the span of a call that was answered."""
        self._call = call
        told = response_attributes(call.operation, call.__dict__) if self.span.is_recording() else {}
        self._end(told, call.ended or None)

    @never_raises
    def failed(self, error: BaseException) -> None:
        """End the span of a call that failed; a violation's sentence holds no content and is kept."""
        if self.span.is_recording():
            said = str(error) if isinstance(error, GuardrailViolation) else None
            self.span.set_status(Status(StatusCode.ERROR, said))
        self._end({names.ERROR_TYPE: error_type(error)}, error=error)

    @never_raises
    def interrupted(self) -> None:
        """End the span of a call that a framework's signal ended."""
        self._end({names.INTERRUPTED: True})

    @never_raises
    def abandoned(self) -> None:
        """End the span of a stream whose reader went away."""
        self._end({names.ABANDONED: True})

    @never_raises
    def _details(self, error: BaseException | None) -> None:
        call, content = self.event or (self._call, {})
        if not self._over and call.operation in INFERENCE and not suppressed(self._parent):
            self.owner.details(call, call.__dict__, self.context, content, error)

    def _end(self, attributes: dict[str, Any], ended: int | None = None, error: BaseException | None = None) -> None:
        call, arrivals, recorder, usd = self._call, self.arrivals, self.owner.recorder_in(self._parent), None
        if recorder is not None or self.span.is_recording():
            usd = self.owner.measured(attributes, call, call.usage, call.response_model, arrivals)
        if self._verdicts:
            attributes |= verdict_attributes(self._verdicts)
        if self.captures is not None:
            try:
                attributes |= self.captures.written(self)
            except Exception as failed:  # noqa: BLE001 - whatever a value makes of itself; the span must end
                unwritten(failed)
        try:
            if attributes:
                self.span.set_attributes(attributes)  # once: each time costs
            self.span.end(ended)
        except Exception as failed:  # noqa: BLE001 - of a processor: the metrics are told all the same
            unwritten(failed)
        if self.event is not None or self.owner.tells_calls:
            self._details(error)
        over, self._over = self._over, True
        if recorder is not None and not over:
            recorder.ended(
                call,
                perf_counter() - self.begun,
                error="" if error is None else error_type(error),
                usage=call.usage,
                response_model=call.response_model,
                usd=usd,
                arrivals=arrivals,
                context=self._parent,
                tally=self.tally,
            )
