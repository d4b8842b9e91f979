"""The span of a call that has nothing but one, started when something wants it and at the latest when the call ends."""

from __future__ import annotations

from threading import RLock
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span

from .._call import Call
from ._attributes import INFERENCE, response_attributes
from ._beside import suppressed
from ._boundary import unwritten

if TYPE_CHECKING:
    from ._content import Content
    from ._emitter import Emitter
    from ._metrics import Recorder

__all__ = ["BareSpan"]


class BareSpan:
    """The span of one call under `parent`.

    Most have nothing below them that had to know the span before it ends. It is started then, with all its attributes
    and the time at which the call began: to add attributes to a span later costs a fifth of the span.

    Attributes:
        owner: whose span it is.
        call: what was asked.
        parent: the context above.
        digest: of the rules that were in force when the call began.
        begun: when that was, on the clock of `perf_counter`.
        arrivals: as those of a `CallSpan`.
        once: taken by what is made on demand: branches that run in parallel below a call may ask at the same moment.
    """

    __slots__ = ("_below", "_span", "_started", "arrivals", "begun", "call", "digest", "once", "owner", "parent")

    def __init__(self, owner: Emitter, call: Call, parent: Context | None, digest: str) -> None:
        self.owner, self.call, self.digest = owner, call, digest
        self.parent = otel.get_current() if parent is None else parent
        self._started, self.begun = time_ns(), perf_counter()
        self._span: Span | None = None
        self._below: Context | None = None
        self.arrivals: list[float] | None = None
        self.once = RLock()
        owner.prices.prepare()

    @property
    def span(self) -> Span:
        """The span itself, which has started."""
        if self._span is None:
            with self.once:
                if self._span is None:
                    self._span = self.owner.open(self.call, self.parent, self.digest, self._started)
        return self._span

    @property
    def context(self) -> Context:
        """The OpenTelemetry context below it."""
        if self._below is None:
            self._below = self._made_below()
        return self._below

    def _made_below(self) -> Context:
        return self.owner.below(self.span, self.parent, self.call.operation)

    def timed(self) -> list[float] | None:
        """As that of a `CallSpan`."""
        if self.owner.recorder_in(self.parent) is None:
            unseen = suppressed(self.parent) if self._span is None else not self._span.is_recording()
            if unseen:
                return None
        self.arrivals = [perf_counter()]
        return self.arrivals

    def close(self, answer: dict[str, Any], content: Content | None = None) -> None:
        """End it: the call was answered now, by these fields of `Call`, and said `content`."""
        try:
            owner, call, span = self.owner, self.call, self._span
            recorder = None if owner.metering.recorder is None else owner.recorder_in(self.parent)
            recording = span is None or span.is_recording()
            attributes, usd = {}, None
            if answer or self.arrivals is not None:
                if recording:
                    attributes = response_attributes(call.operation, answer)
                if recording or recorder is not None:
                    usage, model = answer.get("usage"), answer.get("response_model", "")
                    usd = owner.measured(attributes, call, usage, model, self.arrivals)
            try:
                if content is not None and recording and owner.capture is not None and self.span.is_recording():
                    attributes |= owner.capture.quoted(call, content)
                if self._span is None:
                    self._span = owner.open(call, self.parent, self.digest, self._started, attributes)
                elif attributes and recording:
                    self._span.set_attributes(attributes)
                self._span.end()
            except Exception as error:  # noqa: BLE001 - of a processor: the metrics are told all the same
                unwritten(error)
            if recorder is not None or owner.tells_calls:
                self._beside_span(recorder, answer, usd)
        except Exception as error:  # noqa: BLE001 - as in never_raises, at less cost
            unwritten(error)

    def _beside_span(self, recorder: Recorder | None, answer: dict[str, Any], usd: float | None) -> None:
        """Tell of the answer what is not told on the span."""
        call, seconds = self.call, perf_counter() - self.begun
        if self.owner.tells_calls and call.operation in INFERENCE and not suppressed(self.parent):
            self.owner.details(call, answer, trace.set_span_in_context(self.span, self.parent))
        if recorder is not None:
            recorder.ended(
                call,
                seconds,
                usage=answer.get("usage"),
                response_model=answer.get("response_model", ""),
                usd=usd,
                arrivals=self.arrivals,
                context=self.parent,
            )
