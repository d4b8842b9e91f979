"""Metrics on the OpenTelemetry API: of calls, tokens, cost, verdicts, scores, monitors and breakers."""

from ._metering import Metering
from ._recorder import Recorder
from ._tally import Tally, below

__all__ = ["Metering", "Recorder", "Tally", "below"]
