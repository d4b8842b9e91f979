"""The handle that `configure` returns."""

from __future__ import annotations

import atexit
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ._content._upload import flush_all, not_counted_by
from ._sdk._helper import Helper, in_time
from ._violations import kept_elsewhere

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider

    from ._sdk._pipeline import Pipeline

__all__ = ["Telemetry"]

_AT_EXIT = 2.5  # seconds; with the guards' own two, an interpreter ends within five


class Telemetry:
    """What `configure` set up: three providers, and what became of what they were told."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline, self._down = pipeline, False
        self._helpers = Helper(), Helper(), Helper(), Helper()
        atexit.register(self.shutdown, _AT_EXIT)

    @property
    def tracer_provider(self) -> TracerProvider:
        """For `Guard(tracer_provider=...)`."""
        return self._pipeline.tracers

    @property
    def logger_provider(self) -> LoggerProvider:
        """For `Guard(logger_provider=...)`."""
        return self._pipeline.loggers

    @property
    def meter_provider(self) -> MeterProvider:
        """For `Guard(meter_provider=...)`."""
        return self._pipeline.meters

    @property
    def files(self) -> tuple[Path, ...]:
        """The JSON-lines files that this process has written so far: spans, logs, metrics, journal."""
        return tuple(path for file in self._pipeline.files for path in file.paths)

    @property
    def dropped(self) -> dict[str, dict[str, int]]:
        """How many items were lost so far, by signal (traces, logs, metrics, journal, content) and reason.

        Reasons: `queue_full`, `export_failed`, `shutdown` (still waiting when time was up, or too late); of the
        journal `overflow` and `write_failed`. An export of metrics counts as one, as does the content of a call that
        any guard of this process uploads (`TelemetryOptions(upload=...)`).
        """
        told: dict[str, dict[str, int]] = {}
        for (signal, reason), number in self._pipeline.drops.counts.items():
            told.setdefault(signal, {})[reason] = number
        return told

    def flush(self, timeout: float = 5.0) -> bool:
        """Send what is waiting, upload content; False if `timeout` seconds were not enough or something was lost."""
        if self._down:
            return True
        before = self._pipeline.drops.counts
        until = time.monotonic() + timeout
        milliseconds = max(1, int(timeout * 1000))
        spans, records, points, _ = self._helpers
        jobs = [
            spans.do(lambda: self.tracer_provider.force_flush(milliseconds)),
            records.do(lambda: self.logger_provider.force_flush(milliseconds)),
            points.do(lambda: self.meter_provider.force_flush(milliseconds)),
        ]
        written = flush_all(timeout)
        ended = in_time(jobs, max(0.0, until - time.monotonic()))
        return written and ended and self._pipeline.drops.counts == before

    def shutdown(self, timeout: float = 5.0) -> bool:
        """Send what is waiting, upload content, and stop; nothing is recorded after this.

        Returns after `timeout` seconds at the latest, whatever the backend does: False if something was lost then.
        What was not sent by then is counted as dropped; content that is not uploaded by then still may be.
        """
        if self._down:
            return True
        self._down = True
        atexit.unregister(self.shutdown)
        before = self._pipeline.drops.counts
        until = time.monotonic() + timeout
        spans, records, points, closer = self._helpers
        for gate in self._pipeline.gates:
            gate.close()
        # Metrics last, since they tell what the others lost.
        jobs = [spans.do(self.tracer_provider.shutdown), records.do(self.logger_provider.shutdown)]
        written = flush_all(timeout * 0.7)
        ended = in_time(jobs, max(0.0, until - time.monotonic() - timeout * 0.3)) and written
        for gate in self._pipeline.gates:
            gate.abandon()
        ended = in_time([points.do(self.meter_provider.shutdown)], max(0.0, until - time.monotonic())) and ended
        # An exporter that is still trying gives up; older ones finish their request first.
        in_time([closer.do(exporter.shutdown) for exporter in self._pipeline.exporters], 0.2)
        for helper in self._helpers:
            helper.stop()
        not_counted_by(self._pipeline.drops)
        kept_elsewhere.discard(self.logger_provider)  # what is still stopped is at least logged
        self._pipeline.drops.report(now=True)
        return ended and self._pipeline.drops.counts == before
