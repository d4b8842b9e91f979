"""Telemetry: spans and evaluation results in plain OpenTelemetry."""

from ._configure import Telemetry, configure

__all__ = ["Telemetry", "configure"]
