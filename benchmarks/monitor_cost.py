"""What monitors cost the caller: a protected call with monitors that raise, hang and wait, paired with one without.

Then observe() by itself: with a thread to wake, and behind scorers that hang, which is its bookkeeping alone.

Run: uv run python benchmarks/monitor_cost.py
"""

from __future__ import annotations

import asyncio
import logging
import statistics
import threading
from time import perf_counter, sleep

from langchain_core.language_models.fake_chat_models import FakeListChatModel

from llmguard_langchain import protect
from llmguard_middleware import Call, Guard, Monitor

ROUNDS, CALLS, MODEL_SECONDS = 200, 5, 0.002


def raises(output: str) -> float:
    """A broken scorer."""
    raise ValueError(output)


def waits(output: str) -> float:
    """A slow one."""
    sleep(0.05)
    return float(len(output))


def hangs(output: str) -> float:
    """One that never comes back."""
    threading.Event().wait()
    return float(len(output))


async def hangs_async(output: str) -> float:
    """The same on the event loop."""
    await asyncio.Event().wait()
    return float(len(output))


def per_call(model: FakeListChatModel) -> float:
    """Seconds for a call, the median of a few."""
    times = []
    for _ in range(CALLS):
        sleep(MODEL_SECONDS)  # calls come one after the other, not in a burst that only measures the queue
        started = perf_counter()
        model.invoke("Hi")
        times.append(perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    """Print the medians and the paired difference."""
    logging.getLogger("llmguard").addHandler(logging.NullHandler())
    plain = protect(FakeListChatModel(responses=["Hello."]), Guard())
    variants = {
        "no monitor (again)": Guard(),
        "one that returns": Guard(Monitor(len_of_answer)),
        "one that raises": Guard(Monitor(raises)),
        "one that waits 50 ms": Guard(Monitor(waits)),
        "one that hangs": Guard(Monitor(hangs)),
        "one that hangs, async": Guard(Monitor(hangs_async)),
    }
    models = {name: protect(FakeListChatModel(responses=["Hello."]), guard) for name, guard in variants.items()}
    base: list[float] = []
    differences: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(ROUNDS):
        for name, model in models.items():
            without = per_call(plain)
            base.append(without)
            differences[name].append(per_call(model) - without)
    middle = statistics.median(base)
    print(f"a protected call without monitors: {middle * 1e6:.0f} µs")
    for name, found in differences.items():
        extra = statistics.median(found)
        quartiles = statistics.quantiles(found, n=4)
        spread = f"quartiles {quartiles[0] * 1e6:+.1f} to {quartiles[2] * 1e6:+.1f}"
        print(f"{name:24} {extra * 1e6:+6.1f} µs  {extra / middle:+6.1%}  {spread}")
    woken, queued = Guard(Monitor(len_of_answer)), Guard(Monitor(hangs))
    observing(queued, 0.05, 3)
    print(f"observe(), a thread to wake: {observing(woken, MODEL_SECONDS, 500) * 1e6:.1f} µs")
    print(f"observe(), its bookkeeping:  {observing(queued, 0, 900) * 1e6:.1f} µs")


def observing(guard: Guard, pause: float, calls: int) -> float:
    """Seconds that observe() takes, the median."""
    call = Call("chat", model="m", answered=True, output="hello", trace_id=1)
    times = []
    for _ in range(calls):
        sleep(pause)
        started = perf_counter()
        guard.observe(call)
        times.append(perf_counter() - started)
    return statistics.median(times)


def len_of_answer(output: str) -> float:
    """A good one."""
    return float(len(output))


if __name__ == "__main__":
    main()
