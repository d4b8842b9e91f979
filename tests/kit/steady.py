"""A machine that stands still for a moment makes no guardrail slow: whole spans are asserted."""

from __future__ import annotations

import os


def pytest_configure() -> None:
    """For every guard that is given no options of its own, in subprocesses too."""
    os.environ["LLMGUARD_SLOW_GUARDRAIL"] = "1.5"
