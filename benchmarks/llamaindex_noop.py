"""What a guard without rules and without an SDK costs: `instrument` over no-op handlers, the others over bare.

Process CPU in us for a call: LlamaIndex's calls of the handlers made directly for `instrument`, whole calls for
`protect` and `attach`; medians of paired differences, +- their standard error. The bound is 5 us for a chat call. No
tracer provider is set: spans are those of OpenTelemetry's API, which does nothing.

Run: uv run python benchmarks/llamaindex_noop.py [--rounds 60]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from time import process_time

from kit.pairing import added, load, take_turns
from llamaindex_events import ROWS as EVENTS
from llamaindex_events import bound, recorded, timed
from llamaindex_kit.fakes import ROWS, Fake, Row
from llamaindex_kit.handlers import Variant, variants
from opentelemetry import trace

_TIMES = 100


def _handled(row: str, variant: Variant) -> Callable[[], float]:
    told = recorded(EVENTS[row])

    def one_round() -> float:
        with variant.around_round():
            return timed(bound(told), _TIMES)

    return one_round


def _called(row: Row, variant: Variant, *, engine: bool) -> Callable[[], float]:
    made = row.made(variant.around_model(Fake()))
    if engine:
        made = variant.around_engine(made)

    def one_round() -> float:
        before = process_time()
        row.round(made)
        return (process_time() - before) / row.calls * 1e6

    return one_round


def main() -> None:
    """Print a line for each row."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    compared = variants(None)
    for name in EVENTS:
        both = {key: _handled(name, compared[key]) for key in ("no-op", "instrument")}
        found = take_turns(options.rounds, both)
        ours = added(found["instrument"], found["no-op"])
        line = f"{name:12} instrument over no-op {ours.median:6.1f} +- {ours.error:.1f}"
        engine = name == "query"
        for key in ("protect", "attach") if engine else ("protect",):
            pair = {one: _called(ROWS[name], compared[one], engine=engine) for one in ("bare", key)}
            whole = take_turns(options.rounds, pair)
            more = added(whole[key], whole["bare"])
            line += f"   {key} over bare {more.median:6.1f} +- {more.error:.1f}"
        print(line, flush=True)
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider), "somebody traces: not what this is about"
    print(load())


if __name__ == "__main__":
    main()
