"""The providers and what is behind them: for each sink a gate, a queue and an exporter."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

from ...errors import ConfigurationError, nearest
from .. import _names as names
from .._content._upload import counted_by, not_counted_by
from .._sinks import Protocol, Signal, Sinks
from ._counted import CountedMetrics, CountedRecords, CountedRecordsProcessor, CountedSpans, CountedSpansProcessor
from ._drops import Drops
from ._gate import Gate
from ._lines import LinesFile
from ._otlp import otlp_exporter
from ._violations import LoggedIfLost, Violations

__all__ = ["Pipeline"]

_UNBOUNDED = 2**62  # what is written at once does not queue


class Pipeline:
    """Three providers of one resource, their gates and their files."""

    def __init__(
        self,
        sinks: Sinks,
        endpoint: str | None,
        protocol: Protocol | None,
        service_name: str | None,
        *,
        max_file_bytes: int,
        keep: float | None,
        journal: Path | None,
        journal_bytes: int,
        console: bool,
    ) -> None:
        self.drops = Drops()
        counted_by(self.drops)
        self.gates: list[Gate] = []
        self.exporters: list[CountedSpans | CountedRecords | CountedMetrics] = []
        self.files: list[LinesFile] = []
        resource = Resource.create({"service.name": service_name} if service_name else None)
        # At exit `Telemetry` shuts them down, within a time limit that the SDK's own hooks do not have.
        self.tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        self.loggers = LoggerProvider(resource=resource, shutdown_on_exit=False)
        self._readers: list[Callable[[], MetricReader]] = []  # made last: each has a thread that asks its provider
        try:
            if not sinks.disabled:
                self._keep_violations(sinks, journal, journal_bytes)
            if sinks.folder is not None:
                self._write(sinks, sinks.folder, max_file_bytes, keep)
            for signal, exporters in sinks.exporters.items():
                for name in exporters:
                    made = otlp_exporter(signal, endpoint, protocol) if name == "otlp" else _by_name(signal, name)
                    self._export(signal, made)
            if console and not sinks.disabled:
                from ._console import ConsoleTrees  # noqa: PLC0415 - rich, an extra

                self.tracers.add_span_processor(ConsoleTrees())
            MeterProvider(resource=resource, shutdown_on_exit=False)  # what is wrong is told before a reader is made
            readers = [make() for make in self._readers]
        except Exception:
            self._take_down()
            raise
        self.meters = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
        self.meters.get_meter("llmguard_middleware").create_observable_counter(
            "llmguard.telemetry.dropped",
            [partial(_observe, self.drops)],
            unit="{item}",
            description="Spans, log records, exports of metrics, journal lines and uploads of content that were lost.",
        )

    def _take_down(self) -> None:
        """Leave no thread and no open file of what cannot be set up."""
        not_counted_by(self.drops)
        self.tracers.shutdown()
        self.loggers.shutdown()
        for file in self.files:
            file.close()

    def _keep_violations(self, sinks: Sinks, journal: Path | None, journal_bytes: int) -> None:
        if journal is None and sinks.folder is not None and "logs" not in sinks.silent:
            return  # they are in the file of log records, at once as well
        file = None
        if journal is not None:
            lost = partial(self.drops.count, "journal", "overflow")
            file = LinesFile(journal, "violations", max_bytes=journal_bytes // 4, bound=journal_bytes, lost=lost)
            self.files.append(file)
        self.loggers.add_log_record_processor(Violations(file, self.drops))

    def _gate(self, signal: Signal, limit: int | None) -> Gate:
        gate = Gate(signal, _UNBOUNDED, self.drops, ()) if limit is None else Gate(signal, limit, self.drops)
        self.gates.append(gate)
        return gate

    def _write(self, sinks: Sinks, folder: Path, max_bytes: int, keep: float | None) -> None:
        from ._json_files import FileMetrics, FileRecords, FileSpans  # noqa: PLC0415 - forty modules, for files only

        kinds: dict[Signal, str] = {"traces": "spans", "logs": "logs", "metrics": "metrics"}
        files = {
            signal: LinesFile(folder, kind, max_bytes=max_bytes, keep=keep)
            for signal, kind in kinds.items()
            if signal not in sinks.silent
        }
        self.files = [*files.values(), *self.files]
        if "traces" in files:
            gate = self._gate("traces", None)
            spans = SimpleSpanProcessor(CountedSpans(FileSpans(files["traces"]), gate))
            self.tracers.add_span_processor(CountedSpansProcessor(spans, gate))
        if "logs" in files:
            gate = self._gate("logs", None)
            records = SimpleLogRecordProcessor(CountedRecords(LoggedIfLost(FileRecords(files["logs"])), gate))
            self.loggers.add_log_record_processor(CountedRecordsProcessor(records, gate))
        if "metrics" in files:
            points = CountedMetrics(FileMetrics(files["metrics"]), self.drops)
            self._readers.append(partial(_reader, points))

    def _export(self, signal: Signal, exporter: Any) -> None:
        if isinstance(exporter, MetricReader):  # one that is asked, such as Prometheus' own
            self._readers.append(lambda: exporter)
        elif signal == "metrics":
            points = CountedMetrics(exporter, self.drops)
            self.exporters.append(points)
            self._readers.append(partial(_reader, points))
        elif signal == "traces":
            limit = _limit("OTEL_BSP_MAX_QUEUE_SIZE")
            gate = self._gate(signal, limit)
            spans = CountedSpans(exporter, gate)
            self.exporters.append(spans)
            batches = _valid(partial(BatchSpanProcessor, spans, max_queue_size=limit))
            self.tracers.add_span_processor(CountedSpansProcessor(batches, gate))
        else:
            limit = _limit("OTEL_BLRP_MAX_QUEUE_SIZE")
            gate = self._gate(signal, limit)
            records = CountedRecords(exporter, gate)
            self.exporters.append(records)
            batches = _valid(partial(BatchLogRecordProcessor, records, max_queue_size=limit))
            self.loggers.add_log_record_processor(CountedRecordsProcessor(batches, gate))


def _observe(drops: Drops, _: CallbackOptions) -> Iterable[Observation]:
    return [
        Observation(number, {names.SIGNAL: signal, names.REASON: reason})
        for (signal, reason), number in drops.counts.items()
    ]


def _reader(exporter: CountedMetrics) -> MetricReader:
    reader: MetricReader = _valid(partial(PeriodicExportingMetricReader, exporter))
    return reader


def _valid(make: partial[Any]) -> Any:
    try:
        return make()
    except ValueError as error:
        msg = f"the OTEL_BSP_*, OTEL_BLRP_* or OTEL_METRIC_EXPORT_* variables do not fit together: {error}"
        raise ConfigurationError(msg) from error


def _limit(variable: str) -> int:
    value = os.environ.get(variable) or "2048"
    if not value.isdecimal() or int(value) == 0:
        msg = f'{variable} is "{value}"; it must be a number of items, 1 or more'
        raise ConfigurationError(msg)
    return int(value)


def _by_name(signal: Signal, name: str) -> Any:
    """Another exporter that is installed, as the standard variables name it."""
    entries = {entry.name: entry for entry in entry_points(group=f"opentelemetry_{signal}_exporter")}
    if name not in entries:
        msg = f'no exporter "{name}" of OTEL_{signal.upper()}_EXPORTER is installed; {nearest(name, entries)}'
        raise ConfigurationError(msg)
    try:
        return entries[name].load()()
    except Exception as error:
        msg = f'the exporter "{name}" of OTEL_{signal.upper()}_EXPORTER cannot be set up: {error}'
        raise ConfigurationError(msg) from error
