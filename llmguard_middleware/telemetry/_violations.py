"""Violations in the log `llmguard.violations`, for processes whose telemetry `configure` did not set up."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Mapping
from typing import Any

from opentelemetry._logs import LoggerProvider, get_logger_provider
from opentelemetry.trace import SpanContext

from . import _names as names

__all__ = ["kept_elsewhere", "log_violation", "sentence"]

_log = logging.getLogger("llmguard.violations")

kept_elsewhere: weakref.WeakSet[LoggerProvider] = weakref.WeakSet()
"""Providers that keep violations themselves."""


def log_violation(
    provider: LoggerProvider | None, attributes: Mapping[str, Any], scored: SpanContext, *, lost: bool = False
) -> None:
    """Log one violation at level INFO, unless the provider of its record keeps it; a WARNING if that is `lost`."""
    level = logging.WARNING if lost else logging.INFO
    if _log.isEnabledFor(level) and (lost or (provider or get_logger_provider()) not in kept_elsewhere):
        _log.log(level, "%s", sentence(attributes, scored.trace_id, scored.span_id))


def sentence(attributes: Mapping[str, Any], trace_id: int, span_id: int) -> str:
    """What happened, and where to look; no content."""
    guardrail, guard = attributes.get(names.GUARDRAIL, "?"), attributes.get(names.GUARD, "?")
    stage, outcome = attributes.get(names.STAGE, "?"), attributes.get(names.VERDICT, "?")
    return (
        f'guardrail "{guardrail}" of guard "{guard}" stopped a call: {stage} {outcome}'
        f" (trace {trace_id:032x}, span {span_id:016x})"
    )
