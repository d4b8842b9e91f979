"""Every test is a scenario: what it captured is checked when it is over, and a violation fails it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from llmguard_middleware.testing import CapturedPoint, CapturedTelemetry, _telemetry

from . import violations

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import ReadWriteLogRecord
    from opentelemetry.sdk.trace import ReadableSpan

_SCOPE = "llmguard_middleware"


class _Watched:
    """All that one capture was told by us, also what the test cleared: a processor of spans and of records."""

    def __init__(self, telemetry: CapturedTelemetry) -> None:
        self._telemetry = telemetry
        self._spans: list[ReadableSpan] = []
        self._records: list[ReadWriteLogRecord] = []
        telemetry._tracers.add_span_processor(self)  # type: ignore[arg-type]  # it has their methods
        telemetry._loggers.add_log_record_processor(self)  # type: ignore[arg-type]  # the same

    def on_start(self, span: ReadableSpan, parent_context: object = None) -> None:
        """Nothing yet."""

    _on_ending = on_start

    def on_end(self, span: ReadableSpan) -> None:
        if span.instrumentation_scope is not None and span.instrumentation_scope.name == _SCOPE:
            self._spans.append(span)

    def on_emit(self, record: ReadWriteLogRecord) -> None:
        if record.instrumentation_scope is not None and record.instrumentation_scope.name == _SCOPE:
            self._records.append(record)

    emit = on_emit  # its name until SDK 1.35

    def shutdown(self) -> None:
        """Keep it: the test is not over."""

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True

    def violations(self) -> list[str]:
        return violations(
            [_telemetry._span(span, {}) for span in self._spans],
            [_telemetry._record(record) for record in self._records],
            self._points(),
        )

    def _points(self) -> tuple[CapturedPoint, ...]:
        return self._telemetry.points


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Check what the test captured; a marker `odd_telemetry` allows violations by a part of their sentences."""
    yield
    watched = item.stash[_WATCHED]
    odd = [part for marker in item.iter_markers("odd_telemetry") for part in marker.args]
    found = sorted({wrong for one in watched for wrong in one.violations()})
    if unexpected := [wrong for wrong in found if not any(part in wrong for part in odd)]:
        pytest.fail("telemetry against the conventions:\n" + "\n".join(unexpected), pytrace=False)


_WATCHED = pytest.StashKey[list[_Watched]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[object]:
    """Watch what is captured from the first fixture on."""
    watched = item.stash[_WATCHED] = []

    def watch(telemetry: CapturedTelemetry) -> None:
        watched.append(_Watched(telemetry))

    _telemetry.on_capture.append(watch)
    try:
        return (yield)
    finally:
        _telemetry.on_capture.remove(watch)
        watched.clear()


def pytest_configure(config: pytest.Config) -> None:
    """Say what the marker means."""
    config.addinivalue_line("markers", "odd_telemetry(*parts): violations that this test makes on purpose")
