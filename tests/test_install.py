"""What an installation brings with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from uv import find_uv_bin

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def core_only(tmp_path_factory):
    """An environment with nothing but `pip install -e .`."""
    folder = tmp_path_factory.mktemp("core")
    uv = find_uv_bin()
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder / "env"], check=True)
    python = folder / "env/bin/python"
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", python, "--compile-bytecode", "--no-sources", "-e", ROOT],
        check=True,
        cwd=folder,
    )
    return folder / "env"


def installed(environment):
    """The names of the distributions in an environment."""
    listed = subprocess.run(
        [find_uv_bin(), "pip", "freeze", "--python", environment / "bin/python"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {line.split("==")[0].removeprefix("-e ").lower() for line in listed.stdout.splitlines()}


def test_the_core_brings_no_framework_and_no_sdk(core_only):
    """`pip install -e .` installs neither LangChain nor LlamaIndex nor the OpenTelemetry SDK."""
    names = installed(core_only)
    assert "opentelemetry-api" in names
    assert not {n for n in names if n.startswith(("langchain", "llama", "langgraph", "opentelemetry-sdk", "grpc"))}


def test_the_core_is_at_most_35_megabytes(core_only):
    """What `pip install -e .` puts on the disk is 35 MB at most, compiled bytecode included."""
    files = [file for file in (core_only / "lib").rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 35e6


def test_the_core_works_alone(core_only, tmp_path):
    """A guard redacts and blocks with nothing else installed; what needs an extra says which."""
    code = """
from llmguard_middleware import ConfigurationError, Guard, Guardrail
from llmguard_middleware.scorers import pii
from llmguard_middleware.telemetry import configure
guard = Guard(Guardrail(pii(), stage="input", action="redact"))
print(guard.check("hong@example.com", stage="input").guarded)
try:
    configure()
except ConfigurationError as error:
    print(error)
"""
    result = subprocess.run(
        [core_only / "bin/python", "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.stdout.splitlines() == [
        "<EMAIL_ADDRESS>",
        "configure() needs the OpenTelemetry SDK: pip install 'llmguard-middleware[otlp]'",
    ]
    demo = subprocess.run(
        [core_only / "bin/llmguard", "demo"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert demo.returncode == 2
    assert demo.stderr == "llmguard: llmguard demo needs rich: pip install 'llmguard-middleware[demo]'\n"
