"""How long importing our LangChain adapter takes beyond LangChain's own modules, in fresh processes.

What an application has imported anyway (models, callbacks, prompts, retrievers, Runnables) is there before the clock
starts. The bound is 80 ms. One full garbage collection may fall into it, which goes over all that LangChain has made
and would come soon without us, too: a line tells the time without it. The second part says which packages it was, by
-X importtime.

Run: uv run python benchmarks/import_cost.py [--times 9]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections import defaultdict

from langchain_kit.pairing import load

_THEIRS = """
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel, BaseLLM
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnablePassthrough
from langchain_core.tools import BaseTool
"""
_OURS = "import llmguard_langchain"
_TIMED = f"""{_THEIRS}
import gc
from time import perf_counter, process_time
paused = 0.0
def watch(phase, info):
    global paused
    paused += process_time() if phase == "stop" else -process_time()
gc.callbacks.append(watch)
wall, cpu = perf_counter(), process_time()
{_OURS}
wall, cpu = perf_counter() - wall, process_time() - cpu
print(wall * 1e3, cpu * 1e3, (cpu - paused) * 1e3)
"""


def _told(code: str, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - our own text


def _by_package() -> dict[str, tuple[float, int]]:
    """Of each package that our import loads: milliseconds in its own modules, and how many they are."""
    before, after = (_modules(code) for code in (_THEIRS, _THEIRS + _OURS))
    found: defaultdict[str, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
    for module in after.keys() - before.keys():
        parts = module.split(".")
        package = ".".join(parts[:2]) if parts[0] == "opentelemetry" else parts[0]
        spent, count = found[package]
        found[package] = spent + after[module], count + 1
    return found


def _modules(code: str) -> dict[str, float]:
    """Milliseconds in each module's own body."""
    lines = _told(code, "-X", "importtime").stderr.splitlines()
    told = (line.removeprefix("import time:").split("|") for line in lines if line.startswith("import time:"))
    return {name.strip(): int(own) / 1e3 for own, _, name in told if own.strip().isdigit()}


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=9)
    options = parser.parse_args()
    _told(_TIMED)  # compiles what was not compiled
    both = [tuple(map(float, _told(_TIMED).stdout.split())) for _ in range(options.times)]
    told = ("wall", "CPU", "CPU less pauses of the garbage collector")
    for what, times in zip(told, zip(*both, strict=True), strict=True):
        print(
            f"{what}: median {statistics.median(times):.1f} ms, least {min(times):.1f} ms of {options.times} ({load()})"
        )
    print("by package, with the cost of measuring:")
    for package, (spent, count) in sorted(_by_package().items(), key=lambda item: -item[1][0])[:12]:
        print(f"  {package:32} {spent:6.1f} ms in {count} modules")


if __name__ == "__main__":
    main()
