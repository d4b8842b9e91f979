"""Many threads and tasks share one guard for a minute, and children are forked meanwhile.

LLMGUARD_STRESS_SECONDS says how long; `_stress.py` is the program.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_threads_tasks_and_children_share_one_guard() -> None:
    """Eight threads and two hundred tasks, switched as often as can be: nobody gets what is another's, nothing is left
    behind, nobody waits for ever, memory does not grow; and each child forked meanwhile works and ends.
    """
    seconds = float(os.environ.get("LLMGUARD_STRESS_SECONDS", "60"))
    # Without coverage, whose own lock a fork may leave held in the child.
    unwatched = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", str(Path(__file__).with_name("_stress.py"))],
        env={**unwatched, "LLMGUARD_STRESS_SECONDS": str(seconds)},
        capture_output=True,
        text=True,
        timeout=seconds + 240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["stuck"] == 0
    assert figures["tasks_left"] == 0
    assert figures["pending"] == 0
    assert figures["books"]
    assert figures["scored"] > 0
    assert figures["least_calls"] > 0
    assert figures["threads_lost"] == 0
    assert figures["threads_more"] <= 8 + 1 + 2 + 1 + 4  # pool, loop, monitors, their loop, those that hand over
    assert figures["megabytes_more"] < 20
    assert len(figures["forks"]) == 5
    assert max(figures["forks"]) < 20
