"""A process of tests that hangs says where, and ends: else CI waits for as long as it may, and knows nothing then."""

from __future__ import annotations

import faulthandler
import os

import pytest

_MINUTES = 45  # all tests take a quarter of an hour


def pytest_configure(config: pytest.Config) -> None:
    """Count from here, in each process: those that xdist started speak before the one that waits for them."""
    minutes = _MINUTES if hasattr(config, "workerinput") else _MINUTES + 1
    if not config.getoption("usepdb"):
        # A duplicate: from the first test on, what is written to stderr is captured.
        faulthandler.dump_traceback_later(minutes * 60, exit=True, file=os.dup(2))


def pytest_unconfigure() -> None:
    """It ended."""
    faulthandler.cancel_dump_traceback_later()
