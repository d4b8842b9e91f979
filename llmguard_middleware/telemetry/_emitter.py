"""The emitter: spans and evaluation results on the OpenTelemetry API, and nothing of the SDK.

Content never leaves by this door: attributes hold names, numbers and verdicts; an exception is told by its type,
because its text may quote the prompt.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from functools import partial, wraps
from time import time_ns
from typing import Any, Literal, ParamSpec

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry._logs import LoggerProvider, SeverityNumber, get_logger
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, TracerProvider

from .._call import Call
from .._score import Score
from .._verdict import Finding, Verdict
from ..errors import GuardrailViolation
from . import _names as names
from ._attributes import (
    error_type,
    request_attributes,
    response_attributes,
    score_attributes,
    texts_of,
    verdict_attributes,
)

__all__ = ["CallSpan", "Emitter"]

P = ParamSpec("P")

_log = logging.getLogger("llmguard.telemetry")
_SCOPE = "llmguard_middleware"
_CLIENT = SpanKind.CLIENT  # once: it is looked up in Python
_INTERNAL = ("invoke_workflow", "invoke_agent", "execute_tool", "rerank", "synthesize")
_KINDS = dict.fromkeys(_INTERNAL, SpanKind.INTERNAL)
_SLOW = 0.1  # seconds: a guardrail that takes longer gets a span of its own even if it passes


def _silent(method: Callable[P, None]) -> Callable[P, None]:
    """The one boundary where a failure is swallowed: broken telemetry must not break the call."""

    @wraps(method)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever a provider or an exporter raises
            _log.warning("telemetry could not be written: %s", type(error).__name__)

    return guarded


class Emitter:
    """Makes spans and records for one guard, with the given providers or the global ones."""

    def __init__(
        self, guard: str, digest: str, tracer_provider: TracerProvider | None, logger_provider: LoggerProvider | None
    ) -> None:
        self.guard, self.digest = guard, digest
        self._global = tracer_provider is None
        # By operation: calls of several kinds take turns.
        self._last: dict[str, tuple[Call, str, str, dict[str, Any]]] = {}
        self.tracer = trace.get_tracer(_SCOPE, tracer_provider=tracer_provider)
        self.logger = get_logger(_SCOPE, logger_provider=logger_provider)

    @property
    def silent(self) -> bool:
        """Whether no tracer provider was given, or set for the process so far: nobody would see a span."""
        return self._global and isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)

    def start(self, call: Call, parent: Context | None = None, digest: str = "") -> CallSpan:
        """Start the span of one call under `parent` (the current context, if None).

        `digest` is that of the rules which are for this call, if they are not the common ones.
        """
        if parent is None:
            parent = otel.get_current()  # here once, or the SDK looks for it again and again
        return CallSpan(self, self.open(call, parent, digest), parent)

    def open(self, call: Call, parent: Context, digest: str = "") -> Span:
        """The bare span of `start`."""
        try:
            title, attributes = self._asked(call, digest or self.digest)
            kind = _KINDS.get(call.operation, _CLIENT)
            return self.tracer.start_span(title, parent, kind, attributes, None, call.started or None)
        except Exception as error:  # noqa: BLE001 - as in _silent: the call goes on, without a span
            _log.warning("telemetry could not be written: %s", type(error).__name__)
            return trace.INVALID_SPAN

    def _asked(self, call: Call, digest: str) -> tuple[str, dict[str, Any]]:
        """The name of a call's span, and what that tells from the start."""
        # An adapter may give the same Call for the same question again.
        last = self._last.get(call.operation)
        if last is None or last[0] is not call or last[1] != digest:
            last = call, digest, _title(call), request_attributes(call, self.guard, digest)
            self._last[call.operation] = last
        return last[2], last[3].copy()

    @_silent
    def bypassed(self, reason: str) -> None:
        """Somebody switched the guard off: a record of its own."""
        self.logger.emit(
            event_name=names.BYPASS,
            severity_number=SeverityNumber.WARN,
            attributes={names.BYPASS_REASON: reason, names.GUARD: self.guard, names.DIGEST: self.digest},
        )

    @_silent
    def monitored(
        self,
        call: Call,
        parent: Context | None,
        monitor: str,
        score: Score | None,
        error: BaseException | None,
        started: int,
        what: Literal["monitor", "score"] = "monitor",
    ) -> None:
        """A call that is over was scored: a record in the scored span's context, and a span linked to it."""
        attributes = score_attributes(monitor, score, error, partial(texts_of, call))
        if what == "monitor":
            attributes[names.MONITOR] = monitor
        if call.response_id:
            attributes[names.RESPONSE_ID] = call.response_id
        self.record(parent, attributes)
        scored = trace.get_current_span(parent).get_span_context()
        span = self.tracer.start_span(
            f"llmguard.{what} {monitor}",
            context=parent,
            attributes={**attributes, names.GUARD: self.guard},
            links=[Link(scored)] if scored.is_valid else None,
            start_time=started,
        )
        if error is not None:
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    @_silent
    def rated(self, call: Call, context: Context | None, name: str, score: Score) -> None:
        """A person rated a call that is over: a record in its span's context."""
        attributes = score_attributes(name, score, None, tuple)  # what a person says is not taken from the call
        attributes[names.SOURCE] = "person"
        if call.response_id:
            attributes[names.RESPONSE_ID] = call.response_id
        self.record(context, attributes)

    @_silent
    def checked(self, verdict: Verdict) -> None:
        """A text was judged with no call around it: records and spans of what is notable, in the current context."""
        if verdict.outcome in ("passed", "skipped"):
            return
        span = CallSpan(self, trace.get_current_span(), otel.get_current())
        span.judged(verdict, self)
        span.tell([verdict], self, passed=False)

    def close(self, span: Span, answer: dict[str, Any]) -> None:
        """End a span that `open` gave: the call was answered now, by these fields of `Call`."""
        try:
            if answer and span.is_recording():
                span.set_attributes(response_attributes(answer))
            span.end()
        except Exception as error:  # noqa: BLE001 - as in _silent, at less cost
            _log.warning("telemetry could not be written: %s", type(error).__name__)

    def record(self, context: Context | None, attributes: dict[str, Any], digest: str = "") -> None:
        """Write an evaluation result in the context of the span that was scored."""
        self.logger.emit(
            event_name=names.EVALUATION,
            context=context,
            severity_number=SeverityNumber.INFO,
            attributes={**attributes, names.GUARD: self.guard, names.DIGEST: digest or self.digest},
        )


def _title(call: Call) -> str:
    subject = call.model or call.name
    return f"{call.operation} {subject}" if subject else call.operation


class CallSpan:
    """The open span of one call under `parent`.

    Several guards may be around the same call: the span names the one that started it and tells the verdicts of all.
    """

    __slots__ = ("_below", "_owner", "_parent", "_unscanned", "_verdicts", "span")

    def __init__(self, owner: Emitter, span: Span, parent: Context) -> None:
        self._owner, self.span, self._parent = owner, span, parent
        self._below: Context | None = None
        self._verdicts: tuple[Verdict, ...] = ()
        self._unscanned: frozenset[str] = frozenset()

    @property
    def identity(self) -> tuple[int, int]:
        """Trace and span id; 0 where nothing is traced."""
        told = self.span.get_span_context()
        return told.trace_id, told.span_id

    @property
    def context(self) -> Context:
        """The OpenTelemetry context below it."""
        if self._below is None:  # many calls have nothing below
            self._below = trace.set_span_in_context(self.span, self._parent)
        return self._below

    @_silent
    def judged(self, verdict: Verdict, emitter: Emitter) -> None:
        """Show at once, as spans of their own, the guardrails that flagged, failed or were slow: they end now."""
        for finding in verdict.findings:
            if finding.remembered:  # and was shown where it was found
                continue
            if finding.outcome not in ("passed", "skipped") or finding.seconds > _SLOW:
                self._finding_span(emitter, verdict, finding)

    @_silent
    def renamed(self, call: Call) -> None:
        """Tell another operation and name; what was told of the one before and not of this one stays."""
        told = request_attributes(call, self._owner.guard, "")
        del told[names.DIGEST]  # that of the rules which were chosen at the start
        self.span.update_name(_title(call))
        self.span.set_attributes(told)

    @_silent
    def bypassed(self, reason: str) -> None:
        """Say on the span that its guard is switched off, and why."""
        self.span.set_attribute(names.BYPASS_REASON, reason)

    @_silent
    def not_scanned(self, kinds: Collection[str]) -> None:
        """Say on the span which kinds of content (image, audio, ...) passed although no guardrail can look at them."""
        if not self._unscanned.issuperset(kinds):
            self._unscanned |= frozenset(kinds)
            self.span.set_attribute(names.NOT_SCANNED, sorted(self._unscanned))

    @_silent
    def verdicts(self, verdicts: Sequence[Verdict], emitter: Emitter, response_id: str = "") -> None:
        """Put what the guardrails found into evaluation records in the span's context, and on the span when it ends."""
        self._verdicts += tuple(verdicts)
        self.tell(verdicts, emitter, response_id)

    def tell(
        self, verdicts: Sequence[Verdict], emitter: Emitter, response_id: str = "", *, passed: bool = True
    ) -> None:
        """Write evaluation records in the context of the span; what passed shares one, if it is told at all."""
        clean: list[str] = []
        digest = verdicts[0].digest if verdicts else ""
        for verdict in verdicts:
            for finding in verdict.findings:
                if finding.remembered:
                    continue
                if finding.outcome == "passed":
                    clean.append(finding.rule)
                elif finding.outcome != "skipped":
                    self._finding(emitter, verdict, finding, response_id)
        if clean and passed:
            attributes: dict[str, Any] = {
                names.EVALUATION_NAME: emitter.guard,
                names.EVALUATION_LABEL: "passed",
                names.GUARDRAIL_NAMES: sorted(set(clean)),
            }
            if response_id:
                attributes[names.RESPONSE_ID] = response_id
            emitter.record(self.context, attributes, digest)

    def _finding(self, emitter: Emitter, verdict: Verdict, finding: Finding, response_id: str) -> None:
        attributes = score_attributes(finding.rule, finding.score, finding.error, lambda: (verdict.text,))
        attributes.setdefault(names.EVALUATION_LABEL, finding.outcome)
        attributes |= {
            names.GUARDRAIL: finding.rule,
            names.STAGE: verdict.stage,
            names.ACTION: finding.action,
            names.VERDICT: finding.outcome,
        }
        if response_id:
            attributes[names.RESPONSE_ID] = response_id
        emitter.record(self.context, attributes, verdict.digest)

    def _finding_span(self, emitter: Emitter, verdict: Verdict, finding: Finding) -> None:
        if not self.span.is_recording():
            return
        ended = time_ns()
        span = emitter.tracer.start_span(
            f"llmguard.guardrail {finding.rule}",
            context=self.context,
            attributes={
                names.GUARD: emitter.guard,
                names.GUARDRAIL: finding.rule,
                names.STAGE: verdict.stage,
                names.ACTION: finding.action,
                names.VERDICT: finding.outcome,
                **({names.ERROR_TYPE: error_type(finding.error)} if finding.error is not None else {}),
            },
            start_time=ended - int(finding.seconds * 1e9),
        )
        span.end(ended)

    @_silent
    def answered(self, call: Call) -> None:
        """End the span of a call that was answered."""
        self._end(response_attributes(call.__dict__) if self.span.is_recording() else {}, call.ended or None)

    @_silent
    def failed(self, error: BaseException) -> None:
        """End the span of a call that failed; a violation's sentence holds no content and is kept."""
        if self.span.is_recording():
            said = str(error) if isinstance(error, GuardrailViolation) else None
            self.span.set_status(Status(StatusCode.ERROR, said))
        self._end({names.ERROR_TYPE: error_type(error)})

    @_silent
    def interrupted(self) -> None:
        """End the span of a call that a framework's signal ended."""
        self._end({names.INTERRUPTED: True})

    @_silent
    def abandoned(self) -> None:
        """End the span of a stream whose reader went away."""
        self._end({names.ABANDONED: True})

    def _end(self, attributes: dict[str, Any], ended: int | None = None) -> None:
        if self._verdicts:
            attributes |= verdict_attributes(self._verdicts)
        if attributes:
            self.span.set_attributes(attributes)  # once: each time costs
        self.span.end(ended)
