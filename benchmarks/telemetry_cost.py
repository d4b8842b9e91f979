"""What the emitter costs: alone with a no-op tracer, then with spans, metrics and content, against a hand-written span.

Part one is us per call of the emitter by itself: a call is opened and closed, with tracers that do nothing and no meter
provider (bound: 10). Part two is a chat call of LangChain's under GuardCallback, in added process CPU over the bare
framework as in langchain_cost.py, `until the call returns / with all export work` (bounds to the floor, in total: 1.5
with metrics, 1.8 with content, too). Metrics are collected every 60 s in an application and once in a run here, after
the clock was read: it costs the same however many calls there were.

Run: uv run python benchmarks/telemetry_cost.py [--rounds 40] [--only chat stream] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
from collections.abc import Callable
from functools import partial
from pstats import Stats
from time import process_time

from kit.export import exporting
from kit.pairing import load, table
from langchain_cost import timed
from langchain_kit.fakes import ROWS
from langchain_kit.handlers import Floor, Variant
from opentelemetry import trace
from opentelemetry.metrics import MeterProvider as AnyMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NoOpTracerProvider

from llmguard_langchain import GuardCallback
from llmguard_middleware import Call, Guard, Usage
from llmguard_middleware._flow import Flow
from llmguard_middleware._unjudged import Unjudged
from llmguard_middleware.telemetry import TelemetryOptions
from llmguard_middleware.telemetry._metrics._instruments import Instruments

_CALL = Call.made("chat", provider="openai", model="gpt-4o-mini", server_address="api.openai.com", server_port=443)
_ANSWER = {"usage": Usage(3, 4), "response_model": "gpt-4o-mini-2024-07-18", "response_id": "r", "output": "Hello."}
_CALLS = 20_000


def _metered() -> MeterProvider:
    return MeterProvider([InMemoryMetricReader()])


def _emitter(guard: Guard, made: Callable[[Guard], Flow | Unjudged]) -> float:
    """Us per call: the least of five, as other processes only add to it."""
    least = float("inf")
    for _ in range(5):
        before = process_time()
        for _ in range(_CALLS):
            made(guard).answered(**_ANSWER)
        if (recorder := guard.emitter.recorder) is not None:
            recorder.instruments.backlog.flush()
        least = min(least, process_time() - before)
    return least / _CALLS * 1e6


def alone() -> None:
    """Print what the emitter costs by itself."""
    silent = NoOpTracerProvider()
    rows: dict[str, Guard] = {"no-op tracer": Guard(tracer_provider=silent)}
    for which in ("old", "new", "both"):
        options = TelemetryOptions(metrics=which)  # type: ignore[arg-type]  # one of them
        rows[f"no-op tracer, metrics {which}"] = Guard(
            tracer_provider=silent, meter_provider=_metered(), telemetry=options
        )
    rows["unsampled spans"] = Guard(tracer_provider=TracerProvider(ALWAYS_OFF))
    print(f"the emitter alone ({load()})")
    for name, guard in rows.items():
        bare = _emitter(guard, lambda guard: Unjudged(guard, _CALL, None))
        flow = _emitter(guard, lambda guard: Flow(guard, _CALL))
        print(f"  {name:28} {bare:6.1f} us; as a Flow {flow:6.1f} us", flush=True)


def _variants(provider: TracerProvider) -> dict[str, Variant]:
    tracer = trace.get_tracer("floor", tracer_provider=provider)

    def callback(options: TelemetryOptions, meters: AnyMeterProvider | None = None) -> Variant:
        guard = Guard(tracer_provider=provider, meter_provider=meters, telemetry=options)
        # What waits for its thread is part of the total of this round, and of no other's.
        flush = None if meters is None else Instruments.of(meters).backlog.flush
        return Variant(callbacks=[GuardCallback(guard)], flush=flush)

    metered = partial(callback, meters=_metered())
    return {
        "bare": Variant(),
        "floor": Variant(callbacks=[Floor(tracer)]),
        "span": callback(TelemetryOptions(metrics="none")),
        "metrics old": metered(TelemetryOptions(metrics="old")),
        "metrics new": metered(TelemetryOptions(metrics="new")),
        "metrics both": metered(TelemetryOptions(metrics="both")),
        "content": callback(TelemetryOptions(content="SPAN_ONLY", metrics="none")),
        "content, metrics old": metered(TelemetryOptions(content="SPAN_ONLY", metrics="old")),
        "content, metrics both": metered(TelemetryOptions(content="SPAN_ONLY", metrics="both")),
    }


def compared(rows: list[str], rounds: int, only: list[str] | None) -> None:
    """Print a table for each row."""
    with exporting() as (provider, _):
        variants = _variants(provider)
        if only:
            variants = {name: variants[name] for name in ("bare", "floor", *only)}
        for name in rows:
            row = ROWS[name]
            timers = {key: timed(row, one, provider) for key, one in variants.items()}
            table(name, timers, rounds, row.calls)


def main() -> None:
    """Print both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--only", nargs="*", choices=list(ROWS), default=["chat", "stream"])
    parser.add_argument(
        "--variants", nargs="+", help="those to run besides bare and floor; the emitter alone is left out"
    )
    parser.add_argument("--profile", action="store_true", help="the emitter with all metrics, by function")
    options = parser.parse_args()
    if options.profile:
        guard = Guard(tracer_provider=TracerProvider(), meter_provider=_metered())
        profile = cProfile.Profile()
        profile.runcall(_emitter, guard, lambda guard: Unjudged(guard, _CALL, None))
        Stats(profile).sort_stats("tottime").print_stats(25)
        return
    if not options.variants:
        alone()
    compared(options.only, options.rounds, options.variants)


if __name__ == "__main__":
    main()
