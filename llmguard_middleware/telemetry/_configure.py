"""configure(): an OpenTelemetry SDK set-up for applications that have none."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

from opentelemetry import _logs, metrics, trace

from .._checks import expect_bool, expect_text, is_number
from ..errors import ConfigurationError, nearest
from ._handle import Telemetry
from ._sinks import Protocol, sinks
from ._variables import check_variables
from ._violations import kept_elsewhere

__all__ = ["Protocol", "check_url", "configure"]


def configure(
    endpoint: str | None = None,
    *,
    file: str | os.PathLike[str] | None = None,
    protocol: Protocol | None = None,
    service_name: str | None = None,
    set_global: bool = True,
    journal: str | os.PathLike[str] | None = None,
    console: bool = False,
    max_file_bytes: int = 64 * 2**20,
    keep_days: float | None = 14,
    journal_bytes: int = 16 * 2**20,
) -> Telemetry:
    """Set up OpenTelemetry for this process: spans, metrics and evaluation results, to a backend, to files, or to both.

    With neither `endpoint` nor `file`: to the endpoint or the exporters that the standard variables name, else to files
    in `traces/`, unless `console` is asked for. The standard `OTEL_*` variables are honoured: sampler, resource,
    limits, sizes of queues, intervals, headers, certificates, time-outs, compression, OTEL_TRACES_EXPORTER and its
    like, OTEL_SDK_DISABLED.

    Nothing that a backend does reaches the application: queues are bounded, what is lost is counted
    (`Telemetry.dropped`, the metric `llmguard.telemetry.dropped`) and told once a minute by the logger
    `llmguard.telemetry`, and the process ends within seconds.

    Violations are kept even so. Their log records are exported whatever the sampler says; each also goes into the
    journal, at once; with neither `journal` nor `file`, into the log `llmguard.violations` (level WARNING, no content).

    Args:
        endpoint: base URL of an OTLP receiver, for example `http://localhost:4318`.
        file: a folder for OTLP JSON lines, one file for each signal and process, readable by its owner only. A line is
            written as soon as its span ends, so a killed process loses nothing that was done.
        protocol: `http/protobuf` or `grpc`; if None, OTEL_EXPORTER_OTLP_PROTOCOL, else grpc for port 4317, else HTTP.
        service_name: overrides `OTEL_SERVICE_NAME`.
        set_global: make the providers the process's own; else pass them to `Guard(tracer_provider=..., ...)`.
        journal: a folder for the violations, as OTLP JSON lines that `llmguard replay` sends to a backend later.
        console: print each trace as a tree on standard error when its root ends (extra `console`).
        max_file_bytes: a file that would outgrow this is closed and the next one begun.
        keep_days: days after its last line that a file stays in its folder; None for ever. Only files of this library.
        journal_bytes: what the journal may take up; beyond it the oldest violations go, and are counted.

    Raises:
        ConfigurationError: if the SDK is not installed, an argument or a variable is wrong, a folder cannot be written,
            or this process has a provider already.
    """
    _check_switches(set_global=set_global, console=console)
    _check_installed(console=console)
    if set_global:
        _refuse_existing()
    _check_protocol(protocol)
    if endpoint is not None:
        check_url(endpoint)
    _check_folders(file=file, journal=journal)
    _check_sizes(max_file_bytes=max_file_bytes, journal_bytes=journal_bytes)
    _check_days(keep_days)
    if service_name is not None:
        expect_text(service_name, "service_name of configure()")

    from ._sdk._pipeline import Pipeline

    to = sinks(endpoint, file, elsewhere=console)
    if not to.disabled:
        check_variables()
    try:
        pipeline = Pipeline(
            to,
            endpoint,
            protocol,
            service_name,
            max_file_bytes=max_file_bytes,
            keep=None if keep_days is None else keep_days * 24 * 3600,
            journal=None if journal is None else Path(journal),
            journal_bytes=journal_bytes,
            console=console,
        )
    except ConfigurationError:
        raise
    except ValueError as error:  # as the SDK says it of its limits and filters
        msg = f"OpenTelemetry cannot be set up, correct the OTEL_* variable: {error}"
        raise ConfigurationError(msg) from error
    telemetry = Telemetry(pipeline)
    if not to.disabled:
        kept_elsewhere.add(telemetry.logger_provider)
    if set_global:
        trace.set_tracer_provider(telemetry.tracer_provider)
        _logs.set_logger_provider(telemetry.logger_provider)
        metrics.set_meter_provider(telemetry.meter_provider)
    return telemetry


_LEAST = 4096


def _check_installed(*, console: bool) -> None:
    if find_spec("opentelemetry.sdk") is None or find_spec("opentelemetry.exporter") is None:
        extras = "otlp,console" if console else "otlp"
        msg = f"configure() needs the OpenTelemetry SDK: pip install 'llmguard-middleware[{extras}]'"
        raise ConfigurationError(msg)
    if console and find_spec("rich") is None:
        msg = "configure(console=True) needs rich: pip install 'llmguard-middleware[console]'"
        raise ConfigurationError(msg)


def _check_days(keep_days: float | None) -> None:
    if keep_days is not None and not (is_number(keep_days) and keep_days > 0):
        msg = f"keep_days is {keep_days!r}; give days greater than 0, or None to keep files for ever"
        raise ConfigurationError(msg)


def _refuse_existing() -> None:
    # The API's own stand-ins live in the API's modules; anything else was set up by somebody.
    for kind, provider, stand_ins in (
        ("tracer", trace.get_tracer_provider(), "opentelemetry.trace"),
        ("logger", _logs.get_logger_provider(), "opentelemetry._logs"),
        ("meter", metrics.get_meter_provider(), "opentelemetry.metrics"),
    ):
        if not type(provider).__module__.startswith(stand_ins):
            msg = (
                f"this process already has a {kind} provider ({type(provider).__name__}), and every Guard uses it: "
                "leave configure() out, or pass set_global=False"
            )
            raise ConfigurationError(msg)


def check_url(endpoint: str) -> None:
    """Raise ConfigurationError unless this is the base URL of a receiver."""
    url = urlsplit(str(endpoint))
    try:
        well_formed = url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        well_formed = False
    if not well_formed:
        msg = f'"{endpoint}" is not an OTLP endpoint; give its base URL, for example http://localhost:4318'
        raise ConfigurationError(msg)
    if url.path.rstrip("/").endswith(("/v1/traces", "/v1/logs", "/v1/metrics")):
        path = url.path[url.path.rindex("/v1/") :]
        msg = f'"{endpoint}" takes one signal only; leave out {path}, which each signal adds itself'
        raise ConfigurationError(msg)


def _check_protocol(protocol: str | None) -> None:
    if protocol is not None and protocol not in get_args(Protocol):
        msg = f'unknown protocol "{protocol}": {nearest(str(protocol), get_args(Protocol))}'
        raise ConfigurationError(msg)


def _check_folders(**folders: object) -> None:
    for name, folder in folders.items():
        if folder is not None and not (isinstance(folder, (str, os.PathLike)) and str(folder)):
            msg = f"{name}= takes the path of a folder and was given {folder!r}"
            raise ConfigurationError(msg)


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if type(size) is not int or size < _LEAST:
            msg = f"{name} is {size!r}; it must be a whole number of bytes, {_LEAST} or more"
            raise ConfigurationError(msg)


def _check_switches(**switches: bool) -> None:
    for name, value in switches.items():
        expect_bool(value, f"{name} of configure()")
