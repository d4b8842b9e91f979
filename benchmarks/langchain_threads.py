"""What a handler adds to the latency of model calls from eight threads: ours against the floor, paired in one run.

Wall time per call in us over the bare framework, the median and the 99th percentile of each round, and the medians of
their paired differences, +- their standard error. The bound: the 99th percentile added is at most twice the floor's.
Two kinds of model: one that answers after 10 ms, as a server's would, where threads mostly wait, and where the time
outside the model is told, too, without the system's lateness in waking the thread; and one that answers at once, where
eight threads fight for the interpreter and one that loses it waits for the seven others (some 35 ms): such waits hit
one call in a hundred, so the 99th percentile lies on their edge and tells how many there are rather than how long.

Spans go to a BatchSpanProcessor whose exporter drops them: what an exporter's thread costs is in langchain_cost.py.

Run: uv run python benchmarks/langchain_threads.py [--rounds 40]
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, local
from time import perf_counter
from typing import Any

from kit.export import Drop
from kit.pairing import added, load, take_turns
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatResult
from langchain_kit.fakes import Fake
from langchain_kit.handlers import Variant, variants
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

_THREADS = 8
_TOLD = ("p50", "p99", "outside the model p50", "p99")
_COMPARED = ("bare", "no-op", "floor", "callback", "protect", "both")


_inside = local()


class _Timed(Fake):
    """Tells its thread how long it took."""

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        before = perf_counter()
        answer = super()._generate(messages)
        _inside.took = perf_counter() - before
        return answer


def timed(variant: Variant, seconds: float, calls: int, pool: ThreadPoolExecutor) -> Callable[[], tuple[float, ...]]:
    """A round of this variant: p50 and p99 of the calls of all threads, and of their time outside the model, in us."""
    model, config = variant.model(_Timed(seconds=seconds)), variant.config()

    def one_thread(start: Barrier) -> list[tuple[float, float]]:
        times: list[tuple[float, float]] = []
        start.wait()
        for _ in range(calls):
            before = perf_counter()
            model.invoke("Hi", config)
            took = perf_counter() - before
            times.append((took, took - _inside.took))
        return times

    def one_round() -> tuple[float, ...]:
        start = Barrier(_THREADS)
        took = [time for times in pool.map(one_thread, [start] * _THREADS) for time in times]
        cuts = [statistics.quantiles(kind, n=100) for kind in zip(*took, strict=True)]
        return tuple(cut[at] * 1e6 for cut in cuts for at in (49, 98))

    return one_round


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Drop()))
    compared = {name: one for name, one in variants(provider).items() if name in _COMPARED}
    with ThreadPoolExecutor(_THREADS) as pool:
        for what, seconds, calls in (("model of 10 ms", 0.01, 50), ("model of no time", 0.0, 200)):
            rounds = {name: timed(one, seconds, calls, pool) for name, one in compared.items()}
            found = take_turns(options.rounds, rounds)
            print(f"\n{what} ({options.rounds} rounds of {_THREADS} x {calls}; {load()})")
            bare = found.pop("bare")
            print(
                "  bare      ",
                *(f"{name} {statistics.median(r[i] for r in bare):.0f} " for i, name in enumerate(_TOLD)),
            )
            cells = {
                name: [added([r[i] for r in rounds], [r[i] for r in bare]) for i in range(len(_TOLD))]
                for name, rounds in found.items()
            }
            for name, told in cells.items():
                shown = (
                    f"{what} {cell.median:+6.0f} +- {cell.error:.0f}" for what, cell in zip(_TOLD, told, strict=True)
                )
                ratios = (told[i].median / cells["floor"][i].median for i in (1, 3))
                print(
                    f"  {name:10}", "  ".join(shown), "  p99s {:.2f}x {:.2f}x the floor's".format(*ratios), flush=True
                )
    provider.shutdown()


if __name__ == "__main__":
    main()
