"""What the unit tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from llmguard_middleware.testing import CapturedTelemetry, captured_telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def telemetry() -> Iterator[CapturedTelemetry]:
    """In-memory OpenTelemetry providers for one test."""
    with captured_telemetry() as captured:
        yield captured
