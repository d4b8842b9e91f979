"""How long importing our LangChain adapter takes beyond what an application has imported anyway, in fresh processes.

An application with a model and a prompt is there before the clock starts. The bounds are 80 ms for core and adapter,
and 250 ms with `configure()`. The cases take turns, so that a busy machine is busy for all of them; its noise only
adds, so the least is the best figure, and the median tells how much noise there was.

Bytecode is compiled once and kept in a folder of its own, whatever PYTHONDONTWRITEBYTECODE says: pip compiles what it
installs. With that variable set and nothing compiled (uv leaves that to the first start), each start compiles all
modules again; the last line tells. One full garbage collection may fall into the import, which goes over all that
LangChain has made and would come soon without us, too: a column tells the time without it. LangSmith, which LangChain
loads, loads OpenTelemetry if it is there; one case charges us with that.

Run: uv run python benchmarks/import_cost.py [--times 15]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from typing import Any, NamedTuple

from kit.pairing import load

_MODEL = """
from langchain_core.language_models import BaseChatModel
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.language_models.fake_chat_models import FakeListChatModel
model = FakeListChatModel(responses=["a"])
"""
_MORE = f"""{_MODEL}
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseLLM
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables.configurable import RunnableConfigurableFields
from langchain_core.tools import BaseTool
"""
# LangSmith does without OpenTelemetry if it is not installed.
_NO_OTEL = f"""
import sys
sys.modules["opentelemetry"] = None
{_MODEL}
del sys.modules["opentelemetry"]
"""
_CALLBACK = "from llmguard_langchain import GuardCallback"
_PROTECT = f"""{_CALLBACK}
from llmguard_langchain import protect
from llmguard_middleware import Guard
protect(model, Guard())
"""
_CONFIGURE = """
from llmguard_middleware.telemetry import configure
configure({})
"""


class Case(NamedTuple):
    """What is imported before the clock starts, and while it runs."""

    theirs: str
    ours: str


_WHOLE = "... and protect(model, Guard())"
_CASES = {
    "from llmguard_langchain import GuardCallback": Case(_MODEL, _CALLBACK),
    _WHOLE: Case(_MODEL, _PROTECT),
    "... and configure(file=...)": Case(_MODEL, _PROTECT + _CONFIGURE.format("file='traces'")),
    "... or configure(endpoint), HTTP": Case(_MODEL, _PROTECT + _CONFIGURE.format("'http://localhost:4318'")),
    "... or configure(endpoint), gRPC": Case(_MODEL, _PROTECT + _CONFIGURE.format("'http://localhost:4317'")),
    "protect, and LangChain's other kinds are there": Case(_MORE, _PROTECT),
    "protect, and OpenTelemetry is not": Case(_NO_OTEL, _PROTECT),
    "core alone, beyond nothing: Guard()": Case("", "from llmguard_middleware import Guard; Guard()"),
    "... OpenTelemetry's API of it": Case("", "from opentelemetry import _logs, context, trace"),
    "... asyncio and other standard library of it": Case(
        "", "import asyncio, dataclasses, inspect, json, hashlib, uuid"
    ),
}

# In the process: what was in module bodies is told by package, a full collection is timed apart.
_TIMED = """
import gc, json, sys
from importlib.machinery import SourceFileLoader
from time import perf_counter, process_time
{theirs}
known = set(sys.modules)
paused, inside, spent = 0.0, [], {{}}
def watch(phase, info):
    global paused
    paused += process_time() if phase == "stop" else -process_time()
gc.callbacks.append(watch)
if {blame}:
    original = SourceFileLoader.exec_module
    def exec_module(self, module):
        begun = process_time()
        inside.append(0.0)
        try:
            original(self, module)
        finally:
            whole, below = process_time() - begun, inside.pop()
            spent[module.__name__] = whole - below
            if inside:
                inside[-1] += whole
    SourceFileLoader.exec_module = exec_module
wall, cpu = perf_counter(), process_time()
{ours}
wall, cpu = perf_counter() - wall, process_time() - cpu
told = {{"wall": wall * 1e3, "cpu": cpu * 1e3, "unpaused": (cpu - paused) * 1e3}}
new = sorted(set(sys.modules) - known)
print(json.dumps({{**told, "modules": new, "spent": {{name: s * 1e3 for name, s in spent.items()}}}}))
sys.stdout.flush()
import os
os._exit(0)  # no exporter waits for a backend
"""


def _told(case: Case, folder: str, *, blame: bool = False, compiled: bool = True) -> dict[str, Any]:
    """What one fresh process measured."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": os.path.join(folder, "bytecode" if compiled else "none")}  # noqa: PTH118 - an environment variable
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if not compiled:
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    code = _TIMED.format(theirs=case.theirs, ours=case.ours, blame=blame)
    done = subprocess.run(  # noqa: S603 - our own text
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=folder
    )
    return json.loads(done.stdout)  # type: ignore[no-any-return]  # a dict


def _row(name: str, told: list[dict[str, Any]]) -> str:
    cells = []
    for what in ("wall", "cpu", "unpaused"):
        times = [one[what] for one in told]
        cells.append(f"{statistics.median(times):6.0f} {min(times):6.0f}")
    return f"  {name:47} {'  '.join(cells)}   {len(told[0]['modules']):4d}"


def _packages(told: dict[str, Any]) -> list[str]:
    """Of each package that is loaded while the clock runs: CPU in its own module bodies, and their number."""
    found: dict[str, list[float]] = {}
    for module, spent in told["spent"].items():
        parts = module.split(".")
        own = parts[0] in ("opentelemetry", "langchain_core")
        found.setdefault(".".join(parts[:3] if own else parts[:1]), []).append(spent)
    ranked = sorted(found.items(), key=lambda item: -sum(item[1]))[:12]
    return [f"  {name:47} {sum(times):6.1f} ms in {len(times)} modules" for name, times in ranked]


def main() -> None:
    """Print the table, the share of each package, and what a start without bytecode costs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        told: dict[str, list[dict[str, Any]]] = {name: [] for name in _CASES}
        for case in _CASES.values():
            _told(case, folder)  # compiles
        for _ in range(options.times):
            for name, case in _CASES.items():
                told[name].append(_told(case, folder))
        print(f"milliseconds, median and least of {options.times}; {load()}")
        print(f"  {'':47} {'wall':>13}  {'CPU':>13}  {'CPU less GC':>13}   modules")
        for name in _CASES:
            print(_row(name, told[name]))
        print("by package, when a model is protected:")
        print(*_packages(_told(_CASES[_WHOLE], folder, blame=True)), sep="\n")
        first = [_told(_CASES[_WHOLE], folder, compiled=False) for _ in range(3)]
        print(f"without any bytecode:\n{_row(_WHOLE, first)}")


if __name__ == "__main__":
    main()
