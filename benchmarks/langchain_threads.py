"""What a handler adds to the latency of model calls from eight threads: ours against the floor, paired in one run.

Wall time per call in us over the bare framework, the median and the 99th percentile of each round, and the medians of
their paired differences, +- their standard error. The bound: the 99th percentile added is at most twice the floor's.
Two kinds of model: one that answers after 10 ms, as a server's would, where threads mostly wait; and one that answers
at once, where eight threads fight for the interpreter and a call that loses it waits for the seven others: there the
99th percentile is made of such waits, whoever handles the events.

Spans go to a BatchSpanProcessor whose exporter drops them: what an exporter's thread costs is in langchain_cost.py.

Run: uv run python benchmarks/langchain_threads.py [--rounds 40]
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import perf_counter

from langchain_kit.export import Drop
from langchain_kit.fakes import Fake
from langchain_kit.handlers import Variant, variants
from langchain_kit.pairing import added, load, take_turns
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

_THREADS = 8
_COMPARED = ("bare", "no-op", "floor", "callback", "protect", "both")


def timed(variant: Variant, seconds: float, calls: int, pool: ThreadPoolExecutor) -> Callable[[], tuple[float, float]]:
    """A round of this variant: p50 and p99 of the calls of all threads, in us."""
    model, config = variant.model(Fake(seconds=seconds)), variant.config()

    def one_thread(start: Barrier) -> list[float]:
        times: list[float] = []
        start.wait()
        for _ in range(calls):
            before = perf_counter()
            model.invoke("Hi", config)
            times.append(perf_counter() - before)
        return times

    def one_round() -> tuple[float, float]:
        start = Barrier(_THREADS)
        took = [time for times in pool.map(one_thread, [start] * _THREADS) for time in times]
        cuts = statistics.quantiles(took, n=100)
        return cuts[49] * 1e6, cuts[98] * 1e6

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
            middle, most = (statistics.median(pair[i] for pair in bare) for i in (0, 1))
            print(f"  {'bare':10} p50 {middle:8.0f}  p99 {most:8.0f}")
            cells = {
                name: [added([pair[i] for pair in pairs], [pair[i] for pair in bare]) for i in (0, 1)]
                for name, pairs in found.items()
            }
            for name, (p50, p99) in cells.items():
                print(
                    f"  {name:10} p50 +{p50.median:7.0f} +- {p50.error:4.0f}  p99 +{p99.median:7.0f} +- {p99.error:5.0f}",
                    f"  p99 {p99.median / cells['floor'][1].median:5.2f}x the floor's",
                    flush=True,
                )
    provider.shutdown()


if __name__ == "__main__":
    main()
