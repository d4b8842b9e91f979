"""Telemetry: spans, metrics and evaluation results in plain OpenTelemetry."""

from ._configure import configure
from ._handle import Telemetry
from ._options import TelemetryOptions

__all__ = ["Telemetry", "TelemetryOptions", "configure"]
