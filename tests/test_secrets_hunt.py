"""A secret in everything that an op is given is in no byte of what telemetry writes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from modules_beside import module_beside

from llmguard_middleware import Guard, Guardrail, Score, scorer
from llmguard_middleware.telemetry import TelemetryOptions
from llmguard_middleware.testing.conformance import Hunt, hunts
from llmguard_middleware.testing.conformance._hunting import written
from llmguard_middleware.testing.conformance._texts import SECRET, leaks

if TYPE_CHECKING:
    from llmguard_middleware.testing import CapturedTelemetry

OPS = module_beside(__file__, "test_conformance").OPS


@pytest.mark.parametrize("hunt", hunts(OPS), ids=str)
async def test_ops_keep_secrets(hunt: Hunt) -> None:
    """No span, record, metric, upload, log line, warning or error output of an op holds a part of the secret."""
    await hunt.run()


@pytest.mark.parametrize("content", ["SPAN_AND_EVENT", "upload"])
async def test_a_hunt_finds_what_is_there(content: str) -> None:
    """With no rule and content on, what was said is captured as it is, and the hunt says where."""
    hunt = Hunt(OPS, OPS.modes[0], "no rules", content, "asked")
    with pytest.raises(AssertionError, match="the secret is in .*uploads" if content == "upload" else "in .*spans"):
        await hunt.run()


@scorer(name="finds")
def finds(text: str) -> Score:
    """Finds the secret, and quotes it."""
    return Score(0.5, flagged=SECRET in text, explanation=text, metadata={"text": text})


def test_a_text_that_is_checked_directly_stays_inside(
    telemetry: CapturedTelemetry, caplog: pytest.LogCaptureFixture
) -> None:
    """check() and acheck() tell outcomes only, whatever a scorer says or raises."""

    @scorer(name="raises")
    def raises(text: str) -> bool:
        raise ValueError(text)

    rules = [Guardrail(one, stage="input", name=name) for name, one in (("a", finds), ("b", raises))]
    guard = Guard(*rules, **telemetry.providers, telemetry=TelemetryOptions("SPAN_AND_EVENT"))
    for stage in ("input", "output"):
        guard.check(f"so {SECRET}", stage=stage, inputs={"context": SECRET})  # type: ignore[arg-type]  # a Stage
        asyncio.run(guard.acheck(f"so {SECRET}", stage=stage))  # type: ignore[arg-type]  # as above
    with guard.bypass(reason="a test"):
        guard.check(SECRET, stage="input")
    assert not leaks(written(telemetry), caplog.text)


CONFIGURED = """
import logging, os, sys, warnings
from pathlib import Path
from llmguard_middleware import Guard, Guardrail, Monitor, Score, scorer
from llmguard_middleware._actions import Hash
from llmguard_middleware.telemetry import TelemetryOptions, configure

SECRET, folder = os.environ["SECRET"], Path(sys.argv[1])
logging.basicConfig(level=logging.DEBUG)
telemetry = configure(file=folder / "traces", set_global=False)

@scorer(name="finds", cheap=True)
def finds(text: str) -> Score:
    at = text.find(SECRET)
    return Score(flagged=at >= 0, spans=[(at, at + len(SECRET), "KEY")] if at >= 0 else (), explanation=text)

@scorer(name="fails")
def fails(output: str) -> bool:
    raise ValueError(f"{output} {SECRET}")

stages = ("input", "output", "tool_call", "tool_result")
guard = Guard(
    *(Guardrail(finds, stage=stage, action=Hash(key=SECRET.encode()), name=f"at-{stage}") for stage in stages),
    Monitor(fails, name="m"),
    tracer_provider=telemetry.tracer_provider,
    logger_provider=telemetry.logger_provider,
    telemetry=TelemetryOptions("SPAN_AND_EVENT", upload=(folder / "uploads").as_uri()),
)

@guard.op(stages=("tool_call", "tool_result"))
def fetch(url: str, headers: dict) -> dict:
    return {"url": url, "said": f"key {SECRET}"}

@guard.op
def answer(text: str, fail: bool = False) -> str:
    if fail:
        raise RuntimeError(f"401: key {SECRET} of {text} is wrong")
    return fetch(f"https://x/?key={SECRET}", {"Authorization": f"Bearer {SECRET}"})["said"] + SECRET

answer(f"my key is {SECRET}")
try:
    answer(f"my key is {SECRET}", fail=True)
except RuntimeError:
    pass
guard.flush(5)
telemetry.flush(5)
"""


def test_files_and_uploads_hold_no_secret(tmp_path: Path) -> None:
    """Nothing that a process writes has it: traces, uploads, log lines of every level, standard output and error."""
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", CONFIGURED, str(tmp_path)],
        env={**os.environ, "SECRET": SECRET},
        capture_output=True,
        text=True,
        check=True,
    )
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} == {"traces", "uploads"}
    texts = [path.read_text() for path in files]
    assert any("<KEY:" in text for text in texts)
    assert not leaks(*texts, *map(str, files), done.stdout, done.stderr)
