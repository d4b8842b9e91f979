"""The standard `OTEL_*` variables, looked at before OpenTelemetry does: it ignores some, and logs keys of others."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from math import isfinite

from ..errors import ConfigurationError

__all__ = ["check_variables"]

_SIGNALS = ("", "TRACES_", "LOGS_", "METRICS_")
_WHOLE = tuple(
    f"OTEL_{of}_{what}"
    for of in ("BSP", "BLRP")
    for what in ("SCHEDULE_DELAY", "EXPORT_TIMEOUT", "MAX_EXPORT_BATCH_SIZE")
)
_NUMBERS = (
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_METRIC_EXPORT_TIMEOUT",
    *(f"OTEL_EXPORTER_OTLP_{signal}TIMEOUT" for signal in _SIGNALS),
)
_HEADERS = tuple(f"OTEL_EXPORTER_OTLP_{signal}HEADERS" for signal in _SIGNALS)
_HEADER = re.compile(r"""[\w!#$%&'*+.^`|~-]+[ \t]*=[^",;\\]*""", re.ASCII)  # as OpenTelemetry takes it


def check_variables(environ: Mapping[str, str] = os.environ) -> None:
    """Refuse what OpenTelemetry would log with a traceback, or with the secret that is in it, or not take.

    Raises:
        ConfigurationError: naming the variable; never its value, where that may be a key.
    """
    for name, value in _set(environ, _WHOLE):
        if not (value.isascii() and value.isdecimal() and int(value)):
            msg = f'{name} is "{value}"; it must be a whole number, 1 or more'
            raise ConfigurationError(msg)
    for name, value in _set(environ, _NUMBERS):
        if not _positive(value):
            msg = f'{name} is "{value}"; it must be a number, more than 0'
            raise ConfigurationError(msg)
    for name, value in _set(environ, _HEADERS):
        if not all(
            one.isprintable() and one.isascii() and _HEADER.fullmatch(one.strip())
            for one in value.split(",")
            if one.strip()
        ):
            msg = f'{name} is not understood; write name=value, with commas between several, and "%20" for a blank'
            raise ConfigurationError(msg)


def _set(environ: Mapping[str, str], names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    return ((name, environ[name].strip()) for name in names if environ.get(name, "").strip())


def _positive(value: str) -> bool:
    try:
        return isfinite(float(value)) and float(value) > 0
    except ValueError:
        return False
