"""LangChain's standard test suites find no difference between a fake and its protected copy."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

_SUITES = Path(__file__).with_name("standard_suites.py")
_ASIDE = "test_init_time", "test_stream_time"  # benchmarks, whose outcome is a time


@pytest.fixture(scope="module")
def outcomes() -> dict[str, dict[str, str]]:
    """The outcome of every standard test, by class and test."""
    options = [
        "-p",
        "no:cacheprovider",
        "-o",
        "addopts=",
        "--import-mode=importlib",
        "-v",
        "--tb=line",
        "-W",
        "default",
    ]
    asked = [sys.executable, "-m", "pytest", *options, "--benchmark-disable", str(_SUITES)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, cwd=_SUITES.parent, timeout=300)
    found: dict[str, dict[str, str]] = {}
    for name, test, outcome in re.findall(r"standard_suites\.py::(\w+)::(\S+) ([A-Z]+)", done.stdout):
        found.setdefault(name, {})[test] = outcome
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    return found


@pytest.mark.parametrize("suite", ["Unit", "Integration", "Retriever", "ToolUnit", "ToolIntegration"])
def test_a_copy_passes_the_standard_suite_as_the_original_does(outcomes, suite):
    """Each standard test has the same outcome on the fake and on its copy, and none fails."""
    bare, protected = (
        {test: outcome for test, outcome in outcomes[f"Test{suite}{which}"].items() if test not in _ASIDE}
        for which in ("Bare", "Protected")
    )
    assert protected == bare
    assert {test for test, outcome in bare.items() if outcome in ("FAILED", "ERROR")} == set()
    assert list(bare.values()).count("PASSED") > len(bare) / 2
