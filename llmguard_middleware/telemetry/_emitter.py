"""The emitter: the spans of calls on the OpenTelemetry API, and nothing of the SDK.

Attributes hold names, numbers and verdicts; an exception is told by its type, because its text may quote the prompt.
Content leaves by one door only, `_content`, if it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind

from .._call import Call, Usage
from .._verdict import Verdict
from . import _names as names
from ._attributes import ASKS_PROVIDER, request_attributes, title
from ._beside import Hush, others, suppressed, told
from ._boundary import never_raises, unwritten
from ._call_span import CallSpan
from ._content import Capture
from ._cost import Prices
from ._findings import show, tell
from ._globals import TRACERS
from ._metrics import Recorder
from ._options import TelemetryOptions
from ._records import Providers, Records

__all__ = ["Emitter"]

_CLIENT = SpanKind.CLIENT  # once: it is looked up in Python
_INTERNAL = ("invoke_workflow", "invoke_agent", "execute_tool", "rerank", "synthesize")
_NO_CALL = Call("check")
_NO_SPAN = trace.INVALID_SPAN
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_KINDS = dict.fromkeys(_INTERNAL, SpanKind.INTERNAL)


class Emitter(Records):
    """Makes the spans of one guard's calls."""

    def __init__(self, guard: str, digest: str, providers: Providers, options: TelemetryOptions) -> None:
        super().__init__(guard, digest, providers, options)
        self.prices = Prices(options.price)
        self.capture = Capture(options) if options.content_on_spans or options.content_in_events else None
        self.tells_calls = options.emit_event is True
        # Whether somebody is known to see what is told: true for good, as OpenTelemetry's providers are set once.
        self.heard = providers.tracer is not None or self.tells_calls
        # By operation: calls of several kinds take turns.
        self._last: dict[str, tuple[Call, str, str, SpanKind, dict[str, Any]]] = {}

    @property
    def silent(self) -> bool:
        """Whether nobody would see a span, a metric or an event: no provider was given or set for this process."""
        if not self.heard:
            traces = TRACERS.get()
            unset = traces is None or isinstance(traces, trace.ProxyTracerProvider)
            self.heard = not unset or self.metering.recorder is not None
        return not self.heard

    @property
    def recorder(self) -> Recorder | None:
        """What records metrics; None as long as nobody reads them."""
        return self.metering.recorder

    def start(self, call: Call, parent: Context | None = None, digest: str = "") -> CallSpan:
        """Start the span of one call under `parent` (the current context, if None).

        `digest` is that of the rules which are for this call, if they are not the common ones.
        """
        if parent is None:
            parent = otel.get_current()  # here once, or the SDK looks for it again and again
        self.prices.prepare()
        return CallSpan(self, self.open(call, parent, digest), parent, call)

    def open(
        self, call: Call, parent: Context, digest: str = "", started: int = 0, answered: Mapping[str, Any] = _NOTHING
    ) -> Span:
        """The bare span of `start`; where the application suppressed instrumentation, the one around it stands in.

        Args:
            call: what is asked.
            parent: the context above.
            digest: of the rules which are for this call; the common ones if empty.
            started: when it was, in nanoseconds since the epoch; now, if neither this nor the call says it.
            answered: attributes of its answer, if that is here already.
        """
        try:
            if suppressed(parent):
                return trace.NonRecordingSpan(trace.get_current_span(parent).get_span_context())
            # An adapter may give the same Call for the same question again.
            last = self._last.get(call.operation)
            if last is None or last[0] is not call or last[1] != (digest or self.digest):
                last = self._asked(call, digest or self.digest)
            return (
                self.tracer.start_span(  # type: ignore[truthy-bool]  # a provider may give none
                    last[2], parent, last[3], {**last[4], **answered}, None, call.started or started or None
                )
                or _NO_SPAN
            )
        except Exception as error:  # noqa: BLE001 - as in never_raises: the call goes on, without a span
            unwritten(error)
            return _NO_SPAN

    def below(self, span: Span, parent: Context, operation: str) -> Context:
        """The context below a call's span, which tells other instrumentations that it has one."""
        below = trace.set_span_in_context(span, parent)
        return told(below, operation, self.options.suppress_below) if others() else below

    def hush(self, operation: str) -> Hush | None:
        """The same for a call that no code of ours is around, in the context that is current."""
        if not others() or self.silent or suppressed(otel.get_current()):
            return None
        return Hush(operation, self.options.suppress_below)

    def flush(self, timeout: float) -> bool:
        """Wait until captured content is uploaded; False if `timeout` seconds were not enough."""
        uploads = None if self.capture is None else self.capture.uploads
        return uploads is None or uploads.flush(timeout)

    def _asked(self, call: Call, digest: str) -> tuple[Call, str, str, SpanKind, dict[str, Any]]:
        """The call and the digest of its rules; the name of its span, its kind and what it tells from the start."""
        kind = _KINDS.get(call.operation, _CLIENT)
        asked = call, digest, title(call), kind, request_attributes(call, self.guard, digest)
        self._last[call.operation] = asked
        return asked

    @never_raises
    def checked(self, verdict: Verdict) -> None:
        """A text was judged with no call around it: records and spans of what is notable, in the current context."""
        if (recorder := self.recorder_in(None)) is not None:
            recorder.judged(verdict)
        if verdict.outcome in ("passed", "skipped"):
            return
        span = CallSpan(self, trace.get_current_span(), otel.get_current(), _NO_CALL)
        show(span, self, verdict)
        tell(span, self, [verdict], passed=False)

    def measured(
        self, attributes: dict[str, Any], call: Call, usage: Usage | None, model: str, arrivals: list[float] | None
    ) -> float | None:
        """Add what was measured of an answer by `model`, and return its cost in USD, if that is known."""
        if arrivals is not None and len(arrivals) > 1:
            attributes[names.TIME_TO_FIRST_CHUNK] = arrivals[1] - arrivals[0]
            attributes[names.REQUEST_STREAM] = True  # a callback hears of it only now
        if usage is None or call.operation not in ASKS_PROVIDER:
            return None
        usd = self.prices.usd(call.provider, (model, call.model), usage)
        if usd is not None:
            attributes[names.COST] = usd
        return usd
