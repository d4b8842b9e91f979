"""Sending OTLP requests as they are; headers, certificate and time-out are those of `OTEL_EXPORTER_OTLP_*`."""

from __future__ import annotations

import http.client
import os
import ssl
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from opentelemetry.util.re import parse_env_headers

from ..errors import ConfigurationError, LLMGuardError
from ._sinks import Protocol, Signal
from ._variables import check_variables

__all__ = ["BackendError", "RetryLaterError", "Send", "sender"]

Send = Callable[[Signal, Any], None]

_RETRY = (429, 502, 503, 504)  # https://opentelemetry.io/docs/specs/otlp/#retryable-response-codes
_PACKAGE = {"traces": "trace", "logs": "logs", "metrics": "metrics"}
_SERVICE = {"traces": "TraceService", "logs": "LogsService", "metrics": "MetricsService"}


class BackendError(LLMGuardError):
    """The backend did not take what was sent; the message says why."""


class RetryLaterError(BackendError):
    """The same, but it may yet."""


def sender(endpoint: str, protocol: Protocol) -> Send:
    """A function that sends one request, and raises BackendError if it was not taken.

    Raises:
        ConfigurationError: for a variable that cannot be used.
    """
    check_variables()
    headers = dict(parse_env_headers(os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", ""), liberal=True))
    timeout = float(os.environ.get("OTEL_EXPORTER_OTLP_TIMEOUT") or 10)
    certificate = os.environ.get("OTEL_EXPORTER_OTLP_CERTIFICATE") or None
    make = _grpc if protocol == "grpc" else _http
    try:
        return make(endpoint, headers, timeout, certificate)
    except OSError as error:  # ssl's own is one
        msg = f'OTEL_EXPORTER_OTLP_CERTIFICATE: "{certificate}" is no certificate ({type(error).__name__})'
        raise ConfigurationError(msg) from None


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """A POST that is sent elsewhere becomes a GET: rather fail."""


def _http(endpoint: str, headers: dict[str, str], timeout: float, certificate: str | None) -> Send:
    opener = build_opener(_NoRedirect, HTTPSHandler(context=ssl.create_default_context(cafile=certificate)))
    base = endpoint.rstrip("/")

    def send(signal: Signal, request: Any) -> None:
        url = f"{base}/v1/{signal}"
        body = request.SerializeToString()
        asked = Request(url, body, {**headers, "Content-Type": "application/x-protobuf"})  # noqa: S310 - checked
        try:
            with opener.open(asked, timeout=timeout) as answer:
                answer.read(1 << 16)  # there is little to say, and a backend may say it for ever
        except HTTPError as error:
            kind = RetryLaterError if error.code in _RETRY else BackendError
            error.close()
            raise kind(f"{url} answered {error.code} {error.reason}") from None
        except (URLError, http.client.HTTPException, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise RetryLaterError(f"{url} cannot be reached ({type(reason).__name__}: {reason})") from None

    return send


def _grpc(endpoint: str, headers: dict[str, str], timeout: float, certificate: str | None) -> Send:
    from importlib import import_module
    from pathlib import Path
    from urllib.parse import urlsplit

    import grpc  # type: ignore[import-untyped]  # it has no types

    target = urlsplit(endpoint)
    if target.scheme == "https":
        roots = Path(certificate).read_bytes() if certificate else None
        channel = grpc.secure_channel(target.netloc, grpc.ssl_channel_credentials(roots))
    else:
        channel = grpc.insecure_channel(target.netloc)
    retry = (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
    )

    def send(signal: Signal, request: Any) -> None:
        package = _PACKAGE[signal]
        module = import_module(f"opentelemetry.proto.collector.{package}.v1.{package}_service_pb2_grpc")
        stub = getattr(module, f"{_SERVICE[signal]}Stub")(channel)
        try:
            stub.Export(request, timeout=timeout, metadata=tuple(headers.items()))
        except grpc.RpcError as error:
            kind = RetryLaterError if error.code() in retry else BackendError
            raise kind(f"{endpoint} answered {error.code().name}: {error.details()}") from None

    return send
