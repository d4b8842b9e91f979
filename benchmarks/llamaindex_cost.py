"""What tracing costs a LlamaIndex application: ours against the floor, hand-written spans of the model's events.

Added process CPU per call over the bare framework in us, `until the call returns / with all export work`: spans go
through a BatchSpanProcessor and OTLP/HTTP to a sink in another process. Rounds of all variants take turns in one
process, and the medians of their paired differences are compared: only the ratios carry over to another machine. +- is
the standard error of the median. The guard has no rules, except in the variant "protect, 2 rules": e-mail addresses and
the like are redacted in the question and the answer. It runs if it is named.

Run: uv run python benchmarks/llamaindex_cost.py [--rounds 25] [--only chat query] [--variants floor instrument]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from time import process_time

from kit.export import exporting
from kit.pairing import table
from llamaindex_kit.fakes import ROWS, Fake, Row
from llamaindex_kit.handlers import Variant, variants
from opentelemetry.sdk.trace import TracerProvider

_ENGINES = ("query",)


def timed(row: Row, variant: Variant, provider: TracerProvider, *, engine: bool) -> Callable[[], tuple[float, float]]:
    """A round of this variant: us per call until the calls return, and with all export work."""
    made = row.made(variant.around_model(Fake()))
    if engine:
        made = variant.around_engine(made)

    def one_round() -> tuple[float, float]:
        with variant.around_round():
            before = process_time()
            row.round(made)
            until = process_time()
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
    options = parser.parse_args()
    with exporting() as (provider, _):
        compared = variants(provider)
        if options.variants:
            compared = {name: compared[name] for name in ("bare", "floor", *options.variants)}
        else:  # the others have no rules
            del compared["protect, 2 rules"]
        for name in options.only:
            row, engine = ROWS[name], name in _ENGINES
            those = {key: one for key, one in compared.items() if engine or key != "attach"}
            timers = {key: timed(row, one, provider, engine=engine) for key, one in those.items()}
            table(name, timers, options.rounds, row.calls)


if __name__ == "__main__":
    main()
