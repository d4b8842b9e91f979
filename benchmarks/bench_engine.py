"""The engine's own cost, without any framework: checks, ops, monitors, streams.

Run: uv run pytest benchmarks/bench_engine.py --no-cov

The bounds are those of the design; nothing is asserted, since machines differ. A stream is compared with one scan of
the whole text in the same process (`ratio` in its extra info; the table is printed at the end).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from time import perf_counter, process_time, sleep
from typing import Any

import pytest

from llmguard_middleware import Call, Guard, Guardrail, Monitor, Score, scorer
from llmguard_middleware._drive import drive
from llmguard_middleware._flow import Flow
from llmguard_middleware.scorers import pii, secrets

PASSED = Score(value=0.0)
CHUNK = 4
TEXT = (
    "The quick brown fox jumps over the lazy dog and nothing happens at all. 안녕하세요, 오늘은 날씨가 참 좋네요. " * 8
    + "Call 010-1234-5678 or write to hong@example.com입니다. "
)


def passing(name: str) -> Any:
    """A cheap scorer that does nothing."""

    @scorer(cheap=True, name=name)
    def passes(text: str) -> Score:  # noqa: ARG001 - asks for it as a real one would
        return PASSED

    return passes


def ten() -> list[Any]:
    """Ten of them."""
    return [passing(f"passing-{number}") for number in range(10)]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_no_rule_for_the_stage(benchmark: Any) -> None:
    """At most 2 us."""
    guard = Guard(Guardrail(passing("other"), stage="output"))
    benchmark(guard.check, "some text", stage="input")


def test_ten_scorers_alone(benchmark: Any) -> None:
    """What the next one spends in the scorers themselves."""
    scorers = [one.function for one in ten()]
    benchmark(lambda: [score(text="some text") for score in scorers])


def test_ten_cheap_passing_guardrails(benchmark: Any) -> None:
    """At most 50 us beyond the scorers themselves."""
    guard = Guard(*(Guardrail(one, stage="input") for one in ten()))
    benchmark(guard.check, "some text", stage="input")


def test_an_op_without_rules(benchmark: Any) -> None:
    """The frame that an op puts around a function, with no OpenTelemetry SDK set up."""
    benchmark(Guard().op(lambda text: text), "some text")


@pytest.mark.parametrize("gap", [0.0, 0.0003, 0.003], ids=["at_once", "0.3_ms_later", "3_ms_later"])
def test_a_monitor_for_its_caller(benchmark: Any, gap: float) -> None:
    """At most 10 us; after 3 ms of other work the thread that scores has gone to sleep, and is woken by each call."""
    guard = Guard(Monitor(passing("monitor")))
    call = Call("chat", answered=True, output="fine", trace_id=1)

    def done() -> None:
        while guard.monitoring.pending:
            sleep(0)
        end = perf_counter() + gap
        while perf_counter() < end:  # works, since a processor that slept makes everything ten times as dear
            pass

    benchmark.pedantic(guard.observe, args=(call,), setup=done, rounds=1000)


def _released(guard: Guard, text: str) -> tuple[float, int]:
    """CPU seconds of the whole stream; how many characters had come in when the first one left."""
    chunks = [text[at : at + CHUNK] for at in range(0, len(text), CHUNK)]
    stream = Flow(guard, Call("chat")).stream()
    first = 0
    started = process_time()
    for number, chunk in enumerate(chunks):
        if stream.feed(chunk) and not first:
            first = (number + 1) * CHUNK
    drive(stream.finish(), guard.workers)
    return process_time() - started, first


def _scanned(guard: Guard, text: str) -> float:
    started = process_time()
    guard.check(text, stage="output")
    return process_time() - started


@pytest.mark.parametrize("kilobytes", [8, 16, 32, 64])
def test_a_windowed_stream(benchmark: Any, kilobytes: int) -> None:
    """In 4-character chunks at most 3x one scan of the whole text + 2 us a chunk; linear in the text."""
    guard = Guard(*(Guardrail(one, stage="output", action="redact") for one in (pii(), secrets())))
    text = (TEXT * (kilobytes * 1024 // len(TEXT) + 1))[: kilobytes * 1024]
    pairs = [(_scanned(guard, text), _released(guard, text)) for _ in range(7)]
    scan, (streamed, first) = min(scan for scan, _ in pairs), min(released for _, released in pairs)
    chunks = len(text) // CHUNK
    benchmark.extra_info |= {
        "scan_ms": round(scan * 1e3, 2),
        "stream_ms": round(streamed * 1e3, 2),
        "ratio": round((streamed - chunks * 2e-6) / scan, 2),
        "first_character_after": first,
    }
    print(f"\n{kilobytes} KB: {benchmark.extra_info}")
    benchmark.pedantic(_released, args=(guard, text), rounds=5)


def test_the_first_character_of_a_stream(benchmark: Any) -> None:
    """From the first chunk to the first character that leaves."""
    guard = Guard(*(Guardrail(one, stage="output", action="redact") for one in (pii(), secrets())))

    def first() -> float:
        stream = Flow(guard, Call("chat")).stream()
        started = perf_counter()
        at = 0
        while not stream.feed(TEXT[at : at + CHUNK]):
            at += CHUNK
        return perf_counter() - started

    benchmark(first)
