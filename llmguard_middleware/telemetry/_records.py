"""Evaluation results and other events of a guard, as log records."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry._logs import LoggerProvider, SeverityNumber, get_logger
from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Link, Status, StatusCode, TracerProvider

from .._call import Call
from .._score import Score
from . import _names as names
from ._attributes import error_type, request_attributes, response_attributes, score_attributes, texts_of
from ._beside import suppressed
from ._boundary import never_raises, unwritten
from ._metrics import Metering, Recorder
from ._options import TelemetryOptions
from ._violations import log_violation

__all__ = ["Providers", "Records"]

_SCOPE = "llmguard_middleware"
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Providers(NamedTuple):
    """The OpenTelemetry providers of one guard; the global ones where None."""

    tracer: TracerProvider | None = None
    logger: LoggerProvider | None = None
    meter: MeterProvider | None = None


class Records:
    """What is told of one guard beside the spans of its calls."""

    def __init__(self, guard: str, digest: str, providers: Providers, options: TelemetryOptions) -> None:
        self.guard, self.digest, self.providers, self.options = guard, digest, providers, options
        self.tracer = trace.get_tracer(_SCOPE, tracer_provider=providers.tracer)
        self.logger = get_logger(_SCOPE, logger_provider=providers.logger)
        self.metering = Metering(guard, options.metrics, providers.meter)

    def recorder_in(self, context: Context | None) -> Recorder | None:
        """What records metrics here (the current context, if None).

        None as long as nobody reads them, or where instrumentation is suppressed.
        """
        recorder = self.metering.recorder
        if recorder is None or suppressed(otel.get_current() if context is None else context):
            return None
        return recorder

    @never_raises
    def bypassed(self, reason: str) -> None:
        """Somebody switched the guard off: a record of its own."""
        self.logger.emit(
            event_name=names.BYPASS,
            severity_number=SeverityNumber.WARN,
            attributes={names.BYPASS_REASON: reason, names.GUARD: self.guard, names.DIGEST: self.digest},
        )

    @never_raises
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
        attributes = _result(score_attributes(monitor, score, error, partial(texts_of, call)), score)
        if score is not None and (recorder := self.recorder_in(parent)) is not None:
            recorder.scored(monitor, score.value, parent)
        if what == "monitor":
            attributes[names.MONITOR] = monitor
        if score is not None and score.flagged:  # a word to search for, where numbers cannot be compared
            attributes[names.VERDICT] = "flagged"
        if call.response_id:
            attributes[names.RESPONSE_ID] = call.response_id
        self.record(parent, attributes)
        if suppressed(otel.get_current() if parent is None else parent):
            return
        scored = trace.get_current_span(parent).get_span_context()
        span = self.tracer.start_span(
            f"llmguard.{what} {monitor}",
            context=parent,
            attributes={**attributes, names.GUARD: self.guard, names.DIGEST: self.digest},
            links=[Link(scored)] if scored.is_valid else None,
            start_time=started,
        )
        if error is not None:
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    @never_raises
    def rated(self, call: Call, context: Context | None, name: str, score: Score) -> None:
        """A person rated a call that is over: a record in its span's context."""
        attributes = _result(score_attributes(name, score, None, tuple), score)  # a person's words are not of the call
        if (recorder := self.recorder_in(context)) is not None:
            recorder.scored(name, score.value, context)
        attributes[names.SOURCE] = "person"
        if call.response_id:
            attributes[names.RESPONSE_ID] = call.response_id
        self.record(context, attributes)

    def details(
        self,
        call: Call,
        answer: Mapping[str, Any],
        context: Context,
        content: Mapping[str, Any] = _NOTHING,
        error: BaseException | None = None,
    ) -> None:
        """Write the event of a model's call in the context of its span; `answer` holds fields of `Call`."""
        attributes = request_attributes(call, self.guard, self.digest)
        if error is None:
            attributes |= response_attributes(call.operation, answer)
        else:
            attributes[names.ERROR_TYPE] = error_type(error)
        self.logger.emit(
            event_name=names.DETAILS,
            context=context,
            severity_number=SeverityNumber.INFO,
            attributes={**attributes, **content},
        )

    def record(
        self,
        context: Context | None,
        attributes: dict[str, Any],
        digest: str = "",
        event: str = names.EVALUATION,
        *,
        violation: bool = False,
    ) -> None:
        """Write an evaluation result, or another event, in the context of the span that was scored.

        That of a `violation`, which stopped a call, is a warning: it is kept whatever becomes of the export.
        """
        told = {**attributes, names.GUARD: self.guard, names.DIGEST: digest or self.digest}
        try:
            self.logger.emit(
                event_name=event,
                context=context,
                severity_number=SeverityNumber.WARN if violation else SeverityNumber.INFO,
                attributes=told,
            )
        except Exception as error:  # noqa: BLE001 - of a provider: other records, and the log, may go better
            unwritten(error)
            if violation:
                log_violation(None, told, trace.get_current_span(context).get_span_context(), lost=True)
            return
        if violation:
            log_violation(self.providers.logger, told, trace.get_current_span(context).get_span_context())


def _result(attributes: dict[str, Any], score: Score | None) -> dict[str, Any]:
    """An evaluation's attributes with a label at least: the conventions want a value or a label."""
    if score is not None and score.value is None:
        attributes.setdefault(names.EVALUATION_LABEL, "flagged" if score.flagged else "passed")
    return attributes
