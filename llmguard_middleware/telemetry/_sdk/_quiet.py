"""Silence for what exporters log of each failure: our exporters' drops are counted and told once a minute."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["quiet"]

_quiet: ContextVar[bool] = ContextVar("llmguard_quiet_exporters", default=False)


def _unless_quiet(_: logging.LogRecord) -> bool:
    return not _quiet.get()


# Filters of a logger see only its own records, hence each by name. Others' exporters are left as they are.
for _name in (
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.proto.http._log_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "urllib3.connectionpool",
):
    logging.getLogger(_name).addFilter(_unless_quiet)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep these loggers silent in this thread for the length of the block."""
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)
