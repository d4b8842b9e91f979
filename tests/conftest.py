"""What the unit tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from llmguard_middleware.testing import CapturedTelemetry, captured_telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def telemetry() -> Iterator[CapturedTelemetry]:
    """In-memory OpenTelemetry providers for one test."""
    with captured_telemetry() as captured:
        yield captured


@pytest.fixture
def said_by_processes() -> Callable[[str], set[str]]:
    """What a program says in processes whose hashes differ; it can import the modules of this folder."""

    def run(program: str) -> set[str]:
        path = str(Path(__file__).parent)
        return {
            subprocess.run(
                [sys.executable, "-c", program],
                env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for seed in ("0", "1", "77")
        }

    return run
