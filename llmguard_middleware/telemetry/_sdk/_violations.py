"""Violations on record, whatever becomes of the export: each goes into the journal at once, or else into the log."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LogRecordProcessor, ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.resources import Resource

from .. import _names as names
from .._violations import sentence
from ._drops import Drops
from ._lines import LinesFile

__all__ = ["LoggedIfLost", "Violations"]

_log = logging.getLogger("llmguard.violations")


def _is_violation(told: LogRecord) -> bool:
    return told.event_name == names.EVALUATION and told.severity_number is SeverityNumber.WARN


class LoggedIfLost(LogRecordExporter):
    """An exporter to a file that is the only one to keep violations: those that it cannot write go into the log."""

    def __init__(self, inner: LogRecordExporter) -> None:
        self._inner = inner

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Export, or log."""
        try:
            return self._inner.export(batch)
        except Exception:
            for told in (one.log_record for one in batch if _is_violation(one.log_record)):
                _log.warning("%s", sentence(told.attributes or {}, told.trace_id or 0, told.span_id or 0))
            raise

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is buffered."""
        return True

    def shutdown(self) -> None:
        """Close the file."""
        self._inner.shutdown()  # type: ignore[no-untyped-call]  # the SDK has no type for it


class Violations(LogRecordProcessor):
    """Writes the evaluation record of each violation, as the OTLP JSON line that `llmguard replay` sends later."""

    def __init__(self, journal: LinesFile | None, drops: Drops) -> None:
        self._journal = None
        if journal is not None:
            from ._json_files import FileRecords  # noqa: PLC0415 - forty modules, for files only

            self._journal = FileRecords(journal)
        self._drops = drops

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Keep the record if it tells of a violation."""
        told = log_record.log_record
        if not _is_violation(told):
            return
        try:
            if self._journal is not None:
                resource = log_record.resource or Resource.get_empty()
                scope, limits = log_record.instrumentation_scope, log_record.limits
                self._journal.export([ReadableLogRecord(told, resource, scope, limits)])
                return
        except Exception:  # noqa: BLE001 - a full disk, say: the log is still there
            self._drops.count("journal", "write_failed")
        _log.warning("%s", sentence(told.attributes or {}, told.trace_id or 0, told.span_id or 0))

    def shutdown(self) -> None:
        """Close the journal."""
        if self._journal is not None:
            self._journal.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is buffered."""
        return True
