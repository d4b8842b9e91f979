"""configure(): an OpenTelemetry SDK set-up for applications that have none. The only file that knows the SDK."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import urlsplit

from opentelemetry import _logs, trace

from ..errors import ConfigurationError, nearest

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk.trace import TracerProvider

__all__ = ["Protocol", "Telemetry", "configure"]

Protocol = Literal["http/protobuf", "grpc"]

DEFAULT_FOLDER = "traces"


@dataclass(frozen=True)
class Telemetry:
    """What `configure` set up; `files` are the JSON-lines files being written."""

    tracer_provider: TracerProvider
    logger_provider: LoggerProvider
    files: tuple[Path, ...] = field(default=())

    def flush(self, timeout: float = 5.0) -> bool:
        """Send what is waiting; False if `timeout` seconds were not enough."""
        milliseconds = int(timeout * 1000)
        spans = self.tracer_provider.force_flush(milliseconds)
        return self.logger_provider.force_flush(milliseconds) and spans

    def shutdown(self) -> None:
        """Flush and stop: nothing is recorded after this."""
        self.tracer_provider.shutdown()
        self.logger_provider.shutdown()


def configure(
    endpoint: str | None = None,
    *,
    file: str | os.PathLike[str] | None = None,
    protocol: Protocol | None = None,
    service_name: str | None = None,
    set_global: bool = True,
) -> Telemetry:
    """Set up OpenTelemetry for this process: spans and evaluation results, to a backend, to files, or to both.

    With neither `endpoint` nor `file`: to the endpoint that the standard `OTEL_EXPORTER_OTLP_*` variables name, else to
    files in `traces/`. Sampling, resource and limits follow the standard `OTEL_*` variables.

    Args:
        endpoint: base URL of an OTLP receiver, for example `http://localhost:4318`.
        file: a folder for OTLP JSON lines, one file for each signal and process, readable by its owner only. A line is
            written as soon as its span ends, so a killed process loses nothing that was done.
        protocol: `http/protobuf` or `grpc`; if None, OTEL_EXPORTER_OTLP_PROTOCOL, else grpc for port 4317, else HTTP.
        service_name: overrides `OTEL_SERVICE_NAME`.
        set_global: make the providers the process's own; else pass them to `Guard(tracer_provider=..., ...)`.

    Raises:
        ConfigurationError: if the SDK is not installed, an argument is wrong, the folder cannot be written, or this
            process has a provider already.
    """
    if find_spec("opentelemetry.sdk") is None or find_spec("opentelemetry.exporter") is None:
        msg = "configure() needs the OpenTelemetry SDK: pip install 'llmguard-middleware[otlp]'"
        raise ConfigurationError(msg)
    if set_global:
        _refuse_existing()
    if protocol is not None and protocol not in get_args(Protocol):
        msg = f'unknown protocol "{protocol}": {nearest(str(protocol), get_args(Protocol))}'
        raise ConfigurationError(msg)
    if endpoint is not None:
        _check_url(endpoint)
    if file is not None and not isinstance(file, (str, os.PathLike)):
        msg = f"file= takes the path of a folder and was given {file!r}"
        raise ConfigurationError(msg)
    by_environment = any(key.startswith("OTEL_EXPORTER_OTLP_") and key.endswith("ENDPOINT") for key in os.environ)
    if endpoint is None and file is None and not by_environment:
        file = DEFAULT_FOLDER

    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    files = _files(Path(file)) if file is not None else ()
    resource = Resource.create({"service.name": service_name} if service_name else None)
    telemetry = Telemetry(TracerProvider(resource=resource), LoggerProvider(resource=resource), files)
    if files:
        _write(telemetry, *files)
    if endpoint is not None or (file is None and by_environment):
        _send(telemetry, endpoint, protocol or _protocol(endpoint))
    if set_global:
        trace.set_tracer_provider(telemetry.tracer_provider)
        _logs.set_logger_provider(telemetry.logger_provider)
    return telemetry


def _refuse_existing() -> None:
    # The API's own stand-ins live in the API's modules; anything else was set up by somebody.
    provider = trace.get_tracer_provider()
    if not type(provider).__module__.startswith("opentelemetry.trace"):
        msg = (
            f"this process already has a tracer provider ({type(provider).__name__}), and every Guard uses it: "
            "leave configure() out, or pass set_global=False"
        )
        raise ConfigurationError(msg)


def _check_url(endpoint: str) -> None:
    url = urlsplit(str(endpoint))
    try:
        well_formed = url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        well_formed = False
    if not well_formed:
        msg = f'"{endpoint}" is not an OTLP endpoint; give its base URL, for example http://localhost:4318'
        raise ConfigurationError(msg)


def _protocol(endpoint: str | None) -> str:
    configured = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if configured:
        return configured
    return "grpc" if endpoint and urlsplit(endpoint).port == 4317 else "http/protobuf"  # noqa: PLR2004 - OTLP's port


def _files(folder: Path) -> tuple[Path, Path]:
    stem = f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S.%f}-{os.getpid()}"
    spans, logs = folder / f"{stem}.spans.jsonl", folder / f"{stem}.logs.jsonl"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in (spans, logs):
            path.touch(mode=0o600)
    except OSError as error:
        msg = (
            f'cannot write traces into "{folder}" ({error.strerror}); choose another folder or correct its permissions'
        )
        raise ConfigurationError(msg) from error
    return spans, logs


def _write(telemetry: Telemetry, spans: Path, logs: Path) -> None:
    from opentelemetry.exporter.otlp.json.file import FileSpanExporter
    from opentelemetry.exporter.otlp.json.file._log_exporter import FileLogExporter
    from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    telemetry.tracer_provider.add_span_processor(SimpleSpanProcessor(FileSpanExporter(spans)))
    telemetry.logger_provider.add_log_record_processor(SimpleLogRecordProcessor(FileLogExporter(logs)))


def _send(telemetry: Telemetry, endpoint: str | None, protocol: str) -> None:
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    spans, logs = _exporters(endpoint, protocol)
    telemetry.tracer_provider.add_span_processor(BatchSpanProcessor(spans))
    telemetry.logger_provider.add_log_record_processor(BatchLogRecordProcessor(logs))


def _exporters(endpoint: str | None, protocol: str) -> tuple[Any, Any]:
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import _log_exporter as grpc_logs
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc_spans

        # Without TLS unless the URL says https: that is what the scheme means to the exporter too.
        return grpc_spans.OTLPSpanExporter(endpoint=endpoint), grpc_logs.OTLPLogExporter(endpoint=endpoint)
    from opentelemetry.exporter.otlp.proto.http import _log_exporter as http_logs
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as http_spans

    base = endpoint.rstrip("/") if endpoint else None
    return (
        http_spans.OTLPSpanExporter(endpoint=base and f"{base}/v1/traces"),
        http_logs.OTLPLogExporter(endpoint=base and f"{base}/v1/logs"),
    )
