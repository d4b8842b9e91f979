"""Whether memory stays flat: parts that run in turn in fresh processes, sampled as they go."""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["Part", "main", "resident"]

Part = tuple[str, Callable[[int], None], int]
"""Its name, what runs so many calls of it, and how many there are."""

_SAMPLES = 10  # of each part


def resident() -> float:
    """MB of this process in memory."""
    told = Path("/proc/self/status").read_text().split("VmRSS:")[1]
    return int(told.split()[0]) / 1024


def _allocated() -> float:
    """MB that Python has allocated since it was told to watch."""
    return tracemalloc.get_traced_memory()[0] / 1024 / 1024


def _watch(parts: Callable[[float], Iterator[Part]], what: str, scale: float, blame: bool) -> None:
    if what == "tracemalloc":
        tracemalloc.start(5 if blame else 1)
    measure = resident if what == "rss" else _allocated
    early = None
    for name, run, calls in parts(scale):
        told = []
        for _ in range(_SAMPLES):
            run(calls // _SAMPLES)
            gc.collect()
            told.append(measure())
            if tracemalloc.is_tracing() and blame and early is None and len(told) == _SAMPLES // 5:
                early = tracemalloc.take_snapshot()
        samples = " ".join(f"{mb:.2f}" for mb in told)
        print(
            f"{what:12}{name:8}{calls:7} calls: grew {told[-1] - told[_SAMPLES // 5 - 1]:+.2f} MB  ({samples})",
            flush=True,
        )
    if early is not None:
        for line in tracemalloc.take_snapshot().compare_to(early, "traceback")[:12]:
            print(f"\n{line.size_diff / 1024:+.0f} KB in {line.count_diff:+} objects:")
            print("\n".join(line.traceback.format()))


def main(file: str, about: str | None, parts: Callable[[float], Iterator[Part]]) -> None:
    """Print the samples of both processes, which run this file again; `parts` makes its parts at a scale."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of calls")
    parser.add_argument("--only", choices=["rss", "tracemalloc"])
    parser.add_argument("--blame", action="store_true")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        _watch(parts, options.only, options.scale, options.blame)
        return
    for what in [options.only] if options.only else ["rss", "tracemalloc"]:
        command = [sys.executable, file, "--here", "--only", what, "--scale", str(options.scale)]
        subprocess.run(command + ["--blame"] * options.blame, check=True)  # noqa: S603 - this file
