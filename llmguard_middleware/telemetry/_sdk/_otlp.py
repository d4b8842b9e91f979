"""The OTLP exporters: gRPC or HTTP, all else as the standard `OTEL_EXPORTER_OTLP_*` variables say."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from ...errors import ConfigurationError
from .._sinks import Protocol, Signal, protocol_of

__all__ = ["otlp_exporter"]

_PACKAGES = {
    "grpc": "opentelemetry.exporter.otlp.proto.grpc",
    "http/protobuf": "opentelemetry.exporter.otlp.proto.http",
}
_CLASSES = {
    "traces": ("trace_exporter", "OTLPSpanExporter"),
    "logs": ("_log_exporter", "OTLPLogExporter"),
    "metrics": ("metric_exporter", "OTLPMetricExporter"),
}


def otlp_exporter(signal: Signal, endpoint: str | None, protocol: Protocol | None) -> Any:
    """The exporter of one signal to `endpoint`, a base URL (None: as the environment says).

    Raises:
        ConfigurationError: for a variable that the exporter does not understand.
    """
    chosen = protocol or protocol_of(signal, endpoint)
    module, name = _CLASSES[signal]
    if endpoint is None and chosen != "grpc":
        _check_variables(signal)
    # gRPC goes without TLS unless the URL says https: that is what the scheme means to the exporter too.
    url = f"{endpoint.rstrip('/')}/v1/{signal}" if endpoint and chosen != "grpc" else endpoint
    if endpoint is None and chosen != "grpc":
        for variable in (f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
            told = os.environ.get(variable, "")
            if told and not told.startswith(("http://", "https://")):
                msg = f"{variable} is not an OTLP endpoint; give a URL, for example http://localhost:4318"
                raise ConfigurationError(msg)
    try:
        return getattr(import_module(f"{_PACKAGES[chosen]}.{module}"), name)(endpoint=url)
    except Exception as error:
        msg = f"the OTLP exporter for {signal} cannot be set up, see OTEL_EXPORTER_OTLP_*: {error}"
        raise ConfigurationError(msg) from error


def _check_variables(signal: Signal) -> None:
    for name in (f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        value = os.environ.get(name, "").strip()
        if value and not value.startswith(("http://", "https://")):
            msg = f'{name} is "{value}", which is no URL; give one such as http://localhost:4318'
            raise ConfigurationError(msg)
