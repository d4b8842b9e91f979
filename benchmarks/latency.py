"""What guardrails cost in time: at once, cut short, racing with the model, and the event loop's longest wait.

Each figure is a ratio or a difference of two things that were measured in turns, in one run.

Run: uv run python benchmarks/latency.py
"""

from __future__ import annotations

import asyncio
import gc
import re
import statistics
from collections.abc import Awaitable, Callable
from time import perf_counter

from llmguard_middleware import Guard, Guardrail, GuardrailViolation, scorer
from llmguard_middleware.scorers import pii, prompt_injection, secrets

SLOW, MODEL = 0.3, 0.5  # seconds
ROUNDS = 10


def slow(number: int) -> Guardrail:
    """A guardrail that takes its time."""

    async def waits(text: str) -> bool:  # noqa: ARG001 - what a scorer takes
        await asyncio.sleep(SLOW)
        return False

    return Guardrail(waits, stage="input", name=f"slow-{number}")


@scorer
async def flags(text: str) -> bool:  # noqa: ARG001
    """A fast one that stops the call."""
    await asyncio.sleep(0.01)
    return True


@scorer
async def late(text: str) -> bool:  # noqa: ARG001
    """One that stops the call when the model is half done."""
    await asyncio.sleep(MODEL / 2)
    return True


@scorer
def python(text: str) -> bool:
    """A sync scorer that is plain Python and busy."""
    return sum(ord(char) * 31 % 7 for char in text * 20) < 0


@scorer(cheap=True, reach=20)
def expression(text: str) -> bool:
    """A cheap one of one's own."""
    return re.search(r"\bforbidden\b", text) is not None


async def timed(call: Callable[[], Awaitable[object]]) -> float:
    """Seconds that it takes."""
    started = perf_counter()
    await call()
    return perf_counter() - started


async def paired(one: Callable[[], Awaitable[object]], other: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """The medians of both, measured in turns."""
    await one()
    await other()
    times = [(await timed(one), await timed(other)) for _ in range(ROUNDS)]
    return statistics.median(first for first, _ in times), statistics.median(second for _, second in times)


async def at_once() -> None:
    """Five slow guardrails beside one, and with a fast one that flags."""
    one, five = Guard(slow(0)), Guard(*(slow(n) for n in range(5)))
    cut = Guard(*(slow(n) for n in range(5)), Guardrail(flags, stage="input"))
    single, together = await paired(lambda: one.acheck("x", stage="input"), lambda: five.acheck("x", stage="input"))
    print(f"five async guardrails of {SLOW * 1e3:.0f} ms   {together / single:5.2f} x one       (at most 1.2)")
    _, short = await paired(lambda: one.acheck("x", stage="input"), lambda: cut.acheck("x", stage="input"))
    print(f"with one that flags after 10 ms       {short * 1e3:5.1f} ms          (not {SLOW * 1e3:.0f})")


async def race() -> None:
    """A model call with a guardrail that races with it, beside one without."""

    async def model(text: str) -> str:  # noqa: ARG001
        await asyncio.sleep(MODEL)
        return "answer"

    plain = Guard().op(model)
    racing = Guard(Guardrail(slow(0).scorer, stage="input", name="racing", race=True)).op(model)
    before = Guard(slow(0)).op(model)
    alone, raced = await paired(lambda: plain("x"), lambda: racing("x"))
    print(
        f"a race beside a model of {MODEL * 1e3:.0f} ms       {100 * (raced / alone - 1):+5.1f} %           (at most 5)"
    )
    _, waited = await paired(lambda: plain("x"), lambda: before("x"))
    print(f"the same guardrail before it          {100 * (waited / alone - 1):+5.1f} %")
    stopped = Guard(Guardrail(late, stage="input", race=True)).op(model)
    try:
        released = await stopped("x")
    except GuardrailViolation:
        released = ""
    print(f"released by a race that flags         {len(released):5d} characters  (0)")


class Collector:
    """How long Python's garbage collector has had the process to itself, in seconds."""

    def __init__(self) -> None:
        self.seconds = self._since = 0.0
        gc.callbacks.append(self._note)

    def _note(self, phase: str, _: object) -> None:
        if phase == "start":
            self._since = perf_counter()
        else:
            self.seconds += perf_counter() - self._since


async def loop_waits(guard: Guard, text: str, collector: Collector) -> tuple[float, float]:
    """The longest that a task of the loop has to wait for its turn while a text is judged, in seconds.

    Twice: as it is, and without what the garbage collector took meanwhile.
    """
    longest, stop = (0.0, 0.0), False

    async def heart() -> None:
        nonlocal longest
        last, collected = perf_counter(), collector.seconds
        while not stop:
            await asyncio.sleep(0)
            now, pauses = perf_counter(), collector.seconds
            wait = now - last
            longest = max(longest[0], wait), max(longest[1], wait - (pauses - collected))
            last, collected = now, pauses

    beats = asyncio.ensure_future(heart())
    await asyncio.sleep(0)
    await guard.acheck(text, stage="input")
    stop = True
    await beats
    return longest


async def event_loop() -> None:
    """The longest wait of an idle loop, and of one beside scorers."""
    text = "The quick brown fox, hong@example.com, calls 010-1234-5678 on Monday. " * 15_000  # 1 MB
    guards = {
        "idle": Guard(slow(0)),
        "a sync scorer in Python": Guard(Guardrail(python, stage="input")),
        "cheap ones, 1 MB": Guard(
            Guardrail(pii(), stage="input", action="redact"),
            Guardrail(secrets(), stage="input", action="redact"),
            Guardrail(expression, stage="input"),
            Guardrail(prompt_injection(), stage="input", name="injection", action="log"),
        ),
    }
    collector = Collector()
    for what, guard in guards.items():
        part = text[:50_000] if what == "a sync scorer in Python" else text
        waits = [await loop_waits(guard, part, collector) for _ in range(5)]
        all_of_it, own = (statistics.median(each) * 1e3 for each in zip(*waits, strict=True))
        print(
            f"loop beside {what:<24}  {all_of_it:5.1f} ms          (at most 20; without garbage collection {own:.1f})"
        )


def full_collection() -> float:
    """What Python's own collector takes for this process while nothing of a call is alive, as it comes: caches cold."""
    pauses = []
    for _ in range(5):
        bytearray(32 << 20).count(1)
        started = perf_counter()
        gc.collect()
        pauses.append(perf_counter() - started)
    return statistics.median(pauses)


async def main() -> None:
    """Print all figures."""
    await at_once()
    await race()
    await event_loop()
    pause = full_collection() * 1e3
    print(f"a full garbage collection, idle       {pause:5.1f} ms          (of a process that has imported this much)")


if __name__ == "__main__":
    asyncio.run(main())
