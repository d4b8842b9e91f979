"""What tracing costs a LangChain application: ours against the floor, one hand-written span per model call.

Added process CPU per call over the bare framework in us, `until the call returns / with all export work`: spans go
through a BatchSpanProcessor and OTLP/HTTP to a sink in another process. Rounds of all variants take turns in one
process, and the medians of their paired differences are compared: only the ratios carry over to another machine.
Ratios are to `floor`, which ignores all events but those of models; +- is the standard error of the median. A RAG
chain starts threads, so its row needs many rounds.

Run: uv run python benchmarks/langchain_cost.py [--rounds 25] [--only chat rag] [--variants floor callback] [--peers]

`--peers` adds those that are installed, content off: see README.md beside this file for how to install them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from time import process_time

from kit.export import exporting
from kit.pairing import table
from langchain_kit.fakes import ROWS, Row
from langchain_kit.handlers import Variant, variants
from langchain_kit.peers import peers
from opentelemetry.sdk.trace import TracerProvider


def timed(row: Row, variant: Variant, provider: TracerProvider) -> Callable[[], tuple[float, float]]:
    """A round of this variant: us per call until the calls return, and with all export work."""
    made, config = row.made(variant.model(row.kind())), variant.config()

    def one_round() -> tuple[float, float]:
        with variant.around_round():
            before = process_time()
            row.round(made, config)
            until = process_time()
            if variant.flush is not None:
                variant.flush()
            provider.force_flush()
            after = process_time()
        return (until - before) / row.calls * 1e6, (after - before) / row.calls * 1e6

    return one_round


def main() -> None:
    """Print a table for each row."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--only", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--variants", nargs="+", help="those to run besides bare and floor")
    parser.add_argument("--peers", action="store_true")
    options = parser.parse_args()
    with exporting() as (provider, url):
        compared = variants(provider) | (peers(provider, url) if options.peers else {})
        if options.variants:
            compared = {name: compared[name] for name in ("bare", "floor", *options.variants)}
        for name in options.only:
            row = ROWS[name]
            timers = {key: timed(row, one, provider) for key, one in compared.items()}
            table(name, timers, options.rounds, row.calls)


if __name__ == "__main__":
    main()
