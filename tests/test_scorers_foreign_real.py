"""DeepEval's and Phoenix' own evaluators as scorers, in an environment of their own: their requirements are not ours.

Ragas and LLM Guard are too heavy for a test (0.6 and 5.6 GB); `scorers/foreign.md` says what was seen of them.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from uv import find_uv_bin

from llmguard_middleware import Score

ROOT = Path(__file__).parents[1]
PROGRAM = Path(__file__).parent / "kit" / "real_evaluators.py"
LIBRARIES = ("deepeval==4.3.1", "arize-phoenix-evals>=3")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with these libraries and this one."""
    folder = tmp_path_factory.mktemp("beside")
    uv = find_uv_bin()
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder / "env"], check=True)
    python = folder / "env/bin/python"
    wanted = ["--no-sources", "-e", ROOT, *LIBRARIES]
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *wanted], check=True, cwd=folder)
    return python


def run(python: Path, folder: Path, **environment: str) -> Any:
    """What the program tells."""
    given = {name: value for name, value in os.environ.items() if name != "DEEPEVAL_TELEMETRY_OPT_OUT"}
    done = subprocess.run(
        [python, PROGRAM], cwd=folder, env={**given, **environment}, capture_output=True, timeout=300, check=True
    )
    return pickle.loads(done.stdout)


CODE = {"kind": "code", "direction": "maximize", "threshold": 0.5}
HALLUCINATED = Score(
    value=0.0,
    flagged=True,
    explanation="It contradicts the document.",
    metadata={"threshold": 0.5, "model": "stand-in"},
)
SCORES = {
    "exact": Score(
        value=1.0, explanation="The actual and expected outputs are exact matches.", metadata={"threshold": 1}
    ),
    "not exact": Score(
        value=0.0,
        flagged=True,
        explanation="The actual and expected outputs are different.",
        metadata={"threshold": 1},
    ),
    "hallucination": HALLUCINATED,
    "hallucination, sync": HALLUCINATED,
    "a model that fails": Score.not_scored("deepeval failed: KeyError"),
    "another that fails": Score.not_scored("deepeval failed: KeyError"),
    "no documents": Score.not_scored("the call has no context"),
    "link": Score(value=1.0, explanation="There are 1 matches for the regex: https?://", metadata=CODE),
    "no link": Score(
        value=0.0, flagged=True, explanation="No substrings matched the regex pattern https?://", metadata=CODE
    ),
    "precision": Score(
        value=0.5,
        metadata={
            "beta": 1.0,
            "average": "macro",
            "labels": ["a", "b"],
            **CODE,
            "scores": {"recall": 0.25, "f1": 1 / 3},
        },
    ),
    "shouting": Score(value=1.0, flagged=True, metadata={**CODE, "direction": "minimize"}),
    "an evaluator that fails": Score.not_scored("phoenix failed: ZeroDivisionError"),
    "faithfulness": Score(
        value=0.0,
        flagged=True,
        label="unfaithful",
        explanation="Nothing says so.",
        metadata={"model": "stand-in", **CODE, "kind": "llm"},
    ),
}


def test_their_own_evaluators_score_and_tell_nobody(beside: Path, tmp_path: Path) -> None:
    """Whole scores, with sockets blocked: nothing of the network is tried, no span with content is written."""
    told = run(beside, tmp_path)
    assert told == {
        "scores": SCORES,
        "guarded": ["passed", "blocked", "blocked", "blocked"],
        "network": [],
        "spans": [],
    }


def test_what_they_would_tell_would_be_seen(beside: Path, tmp_path: Path) -> None:
    """Where DeepEval is allowed to report, it tries to, which the program notices."""
    told = run(beside, tmp_path, DEEPEVAL_TELEMETRY_OPT_OUT="0")
    assert told["scores"] == SCORES
    assert "socket.getaddrinfo" in told["network"]
