"""What a guard's telemetry tells: the options, and the standard environment variables they come from."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from .._checks import expect_bool, expect_known, expect_seconds, expect_text
from ..errors import ConfigurationError
from ._cost import Price

__all__ = ["Content", "Metrics", "TelemetryOptions"]

Content = Literal["NO_CONTENT", "SPAN_ONLY", "EVENT_ONLY", "SPAN_AND_EVENT"]
Metrics = Literal["old", "new", "both", "none"]
Format = Literal["json", "jsonl"]

_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_EVENT = "OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT"
_MAX_CONTENT = "LLMGUARD_MAX_CONTENT"
_METRICS = "LLMGUARD_METRICS"
_UPLOAD = "OTEL_INSTRUMENTATION_GENAI_UPLOAD_BASE_PATH"
_FORMAT = "OTEL_INSTRUMENTATION_GENAI_UPLOAD_FORMAT"
_QUEUE = "OTEL_INSTRUMENTATION_GENAI_UPLOAD_MAX_QUEUE_SIZE"
_SLOW = "LLMGUARD_SLOW_GUARDRAIL"
_PRESETS = {"tempo": 2048}  # where Grafana Tempo cuts an attribute
_DEFAULT, _SMALLEST = 65_536, 128


@dataclass(frozen=True)
class TelemetryOptions:
    """What the telemetry of a guard tells besides names, numbers and verdicts.

    Args:
        content: where messages, tool arguments, results and documents go, as the guardrails let them pass: on the span,
            into an event (of model calls), both, or nowhere (the default).
        metrics: which generation of `gen_ai.client.*` metrics: `old` (`operation.duration`, `token.usage`; the default,
            since every released dashboard reads them), `new` (`inference.*`, `embeddings.*`), `both` or `none`. What
            they cost is in benchmarks/README.md.
        max_content: bytes of content in one attribute, at least 128, or `tempo` for 2,048, where Grafana Tempo would
            cut it. Longer texts are cut, say so, and leave valid JSON.
        upload: a URL that fsspec knows (`file:///var/traces`, `s3://bucket/prefix`): content is written there in the
            background and spans and events hold references only (`gen_ai.input.messages_ref`, ...). Needs the extra
            `upload`.
        upload_format: `json`, or `jsonl` with a line for each message.
        upload_queue: calls whose content may wait to be written; that of more is dropped and counted.
        price: what a call cost in USD by `(provider, model, usage)`, None if it does not know; asked before the price
            list of the extra `cost`. It is called on the caller's thread as each call of a model ends.
        suppress_below: whether a model is called under OpenTelemetry's `suppress_instrumentation`, so that whatever is
            instrumented below makes no second span of it. HTTP clients make none either, and send no trace context.
            None (the default) does so only where OpenInference is switched on, whose own heed nothing finer.
        draft_guardrail_names: whether notable guardrails are told of under the names of the conventions' draft #427 as
            well (`apply_guardrail` spans, `gen_ai.guardrail.*`), which may change with any release.
        emit_event: whether each model call is told in an event `gen_ai.client.inference.operation.details` as well,
            with its content only if `content` says so. None (the default): of calls with content, where that says so.
        slow_guardrail: seconds; a guardrail that takes longer has a span of its own even if it passes.

    Raises:
        ConfigurationError: for a word that is not one of these, a size that is too small, an upload of no content, or a
            price that cannot be called.
    """

    content: Content = "NO_CONTENT"
    metrics: Metrics = "old"
    max_content: int | str = _DEFAULT
    upload: str | None = None
    upload_format: Format = "json"
    upload_queue: int = 20
    price: Price | None = None
    suppress_below: bool | None = None
    draft_guardrail_names: bool = False
    emit_event: bool | None = None
    slow_guardrail: float = 0.1

    def __post_init__(self) -> None:
        expect_known(self.content, get_args(Content), "content", "TelemetryOptions")
        expect_known(self.metrics, get_args(Metrics), "metrics", "TelemetryOptions")
        if self.suppress_below is not None:
            expect_bool(self.suppress_below, "suppress_below of TelemetryOptions")
        if self.emit_event is not None:
            expect_bool(self.emit_event, "emit_event of TelemetryOptions")
        expect_bool(self.draft_guardrail_names, "draft_guardrail_names of TelemetryOptions")
        expect_seconds(self.slow_guardrail, "slow_guardrail of TelemetryOptions")
        if self.price is not None and not callable(self.price):
            msg = (
                f"price of TelemetryOptions is {type(self.price).__name__}; give a function of the provider, the model "
                "and its Usage that returns USD or None"
            )
            raise ConfigurationError(msg)
        expect_known(self.upload_format, get_args(Format), "upload_format", "TelemetryOptions")
        _expect_size(self.max_content, "max_content of TelemetryOptions")
        if type(self.upload_queue) is not int or self.upload_queue < 1:
            msg = f"upload_queue of TelemetryOptions must be a whole number from 1 on and is {self.upload_queue!r}"
            raise ConfigurationError(msg)
        if self.upload is None:
            return
        expect_text(self.upload, "upload of TelemetryOptions")
        if self.content == "NO_CONTENT":
            msg = 'upload= has nothing to upload: say content="SPAN_ONLY", "EVENT_ONLY" or "SPAN_AND_EVENT" as well'
            raise ConfigurationError(msg)

    @property
    def bytes_of_content(self) -> int:
        """`max_content` as a number."""
        return self.max_content if isinstance(self.max_content, int) else _PRESETS[self.max_content]

    @property
    def content_on_spans(self) -> bool:
        """Whether spans hold content."""
        return self.content in ("SPAN_ONLY", "SPAN_AND_EVENT")

    @property
    def content_in_events(self) -> bool:
        """Whether events hold content."""
        return self.content in ("EVENT_ONLY", "SPAN_AND_EVENT") and self.emit_event is not False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> TelemetryOptions:
        """The options that the environment gives: those of a guard that was given none.

        The older values `true` and `false` of the variable for content mean `NO_CONTENT`, as in OpenTelemetry's own
        instrumentations; the first with a warning.

        Raises:
            ConfigurationError: for a value that is not known, naming the variable.
        """
        content, metrics = _content(environ.get(_CONTENT) or "NO_CONTENT"), environ.get(_METRICS) or "old"
        expect_known(content, get_args(Content), "value", _CONTENT)
        expect_known(metrics, get_args(Metrics), "value", _METRICS)
        said = environ.get(_MAX_CONTENT) or str(_DEFAULT)
        size: int | str = int(said) if said.isdecimal() else said
        _expect_size(size, _MAX_CONTENT)
        event = (environ.get(_EVENT) or "").strip().lower()
        expect_known(event or "true", ("true", "false"), "value", _EVENT)
        more: dict[str, Any] = {"emit_event": event == "true" if event else None}
        if slow := environ.get(_SLOW):
            more["slow_guardrail"] = _seconds(slow)
        format_, queue = environ.get(_FORMAT) or "json", environ.get(_QUEUE) or "20"
        upload = None if content == "NO_CONTENT" else environ.get(_UPLOAD) or None
        if upload is not None:
            expect_known(format_, get_args(Format), "value", _FORMAT)
            if not queue.isdecimal() or not int(queue):
                msg = f"{_QUEUE} must be a whole number from 1 on and is {queue!r}"
                raise ConfigurationError(msg)
            return cls(content, metrics, size, upload, format_, int(queue), **more)  # type: ignore[arg-type]  # checked above
        return cls(content, metrics, size, **more)  # type: ignore[arg-type]  # checked above


def _content(said: str) -> str:
    word = said.strip().upper()
    if word == "TRUE":
        msg = f"{_CONTENT}=true captures nothing any more: write SPAN_ONLY, EVENT_ONLY or SPAN_AND_EVENT"
        warnings.warn(msg, stacklevel=4)
    return "NO_CONTENT" if word in ("TRUE", "FALSE") else word


def _seconds(said: str) -> float:
    try:
        seconds = float(said)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        msg = f"{_SLOW} must be a number of seconds greater than 0 and is {said!r}"
        raise ConfigurationError(msg)
    return seconds


def _expect_size(size: object, what: str) -> None:
    if isinstance(size, str) and size in _PRESETS:
        return
    if type(size) is not int or size < _SMALLEST:
        msg = f'{what} must be "tempo" or a number of bytes, at least {_SMALLEST}, and is {size!r}'
        raise ConfigurationError(msg)
