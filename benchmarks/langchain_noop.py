"""What a guard without rules and without an SDK costs, over a handler that listens to the same and does nothing.

Added process CPU per call in us: medians of paired differences, +- their standard error. The bound is 5 us for a chat
call. No tracer provider is set: spans are those of OpenTelemetry's API, which does nothing.

Run: uv run python benchmarks/langchain_noop.py [--rounds 60]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from time import process_time

from kit.pairing import added, load, take_turns
from langchain_kit.fakes import ROWS, Row
from langchain_kit.handlers import Variant, variants
from opentelemetry import trace


def _timed(row: Row, variant: Variant) -> Callable[[], float]:
    made, config = row.made(variant.model(row.kind())), variant.config()

    def one_round() -> float:
        before = process_time()
        row.round(made, config)
        return (process_time() - before) / row.calls * 1e6

    return one_round


def main() -> None:
    """Print a line for each row."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    compared = {name: one for name, one in variants(None).items() if name in ("bare", "no-op", "callback", "protect")}
    for name, row in ROWS.items():
        found = take_turns(options.rounds, {key: _timed(row, one) for key, one in compared.items()})
        noop = added(found["no-op"], found["bare"])
        callback = added(found["callback"], found["no-op"])
        protected = added(found["protect"], found["bare"])
        print(
            f"{name:10} no-op over bare {noop.median:6.1f}",
            f"  GuardCallback over no-op {callback.median:6.1f} +- {callback.error:.1f}",
            f"  protect over bare {protected.median:6.1f} +- {protected.error:.1f}",
            flush=True,
        )
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider), "somebody traces: not what this is about"
    print(load())


if __name__ == "__main__":
    main()
