"""Whether memory stays flat over 100,000 calls and more through `GuardCallback` and `protect`, in fresh processes.

One process for the resident set, and one for what Python has allocated (tracemalloc, which makes everything slower).
Each runs in turn: chat calls, RAG chains, streams of 200 tokens, of which some are left before their end, and async
calls, of which some are cancelled and some fail. Spans are made by the SDK and dropped by the exporter. Printed are
samples, and the growth of each part from its first fifth (the rest of which is warm) to its end, in MB.

Run: uv run python benchmarks/langchain_memory.py [--scale 1.0] [--only rss] [--blame]

`--blame` names the lines that allocated what is there at the end and was not after a fifth of the chat calls.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kit.export import Drop
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatResult
from langchain_kit.fakes import Fake, Streaming, chain
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from llmguard_langchain import GuardCallback, protect
from llmguard_middleware import Guard

_SAMPLES = 10  # of each part
_TOGETHER = 100  # async calls


class _Moody(Fake):
    """Fails when it is asked to, and takes long enough to be cancelled."""

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        if messages[-1].content == "fail":
            msg = "as asked"
            raise RuntimeError(msg)
        if messages[-1].content == "wait":
            await asyncio.Event().wait()
        return self._generate(messages)


def _chat(model: Any, config: dict[str, Any], calls: int) -> None:
    for _ in range(calls):
        model.invoke("Hi", config)


def _stream(model: Any, config: dict[str, Any], calls: int) -> None:
    for number in range(calls):
        stream = model.stream("Hi", config)
        for _ in stream:
            if number % 10 == 9:  # noqa: PLR2004 - one in ten
                stream.close()


def _async(model: Any, config: dict[str, Any], calls: int) -> None:
    async def some() -> None:
        said = ["Hi"] * (_TOGETHER - 10) + ["fail"] * 5 + ["wait"] * 5
        tasks = [asyncio.ensure_future(model.ainvoke(one, config)) for one in said]
        await asyncio.sleep(0)
        await asyncio.wait(tasks[: _TOGETHER - 5])
        for task in tasks[-5:]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def all_of_them() -> None:
        for _ in range(calls // _TOGETHER):
            await some()

    asyncio.run(all_of_them())


def _parts(scale: float) -> Iterator[tuple[str, Callable[[int], None], int]]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Drop()))
    guard = Guard(tracer_provider=provider)
    config = {"callbacks": [GuardCallback(guard)]}
    chat, moody, streaming = (protect(kind(), guard) for kind in (Fake, _Moody, Streaming))
    rag = chain(protect(Fake(), guard))
    for name, run, made, calls in (
        ("chat", _chat, chat, 100_000),
        ("rag", _chat, rag, 20_000),
        ("stream", _stream, streaming, 5_000),
        ("async", _async, moody, 20_000),
    ):
        yield name, lambda count, run=run, made=made: run(made, config, count), int(calls * scale)


def _resident() -> float:
    """MB of this process in memory."""
    told = Path("/proc/self/status").read_text().split("VmRSS:")[1]
    return int(told.split()[0]) / 1024


def _allocated() -> float:
    """MB that Python has allocated since it was told to watch."""
    return tracemalloc.get_traced_memory()[0] / 1024 / 1024


def _watch(what: str, scale: float, blame: bool) -> None:
    if what == "tracemalloc":
        tracemalloc.start(5 if blame else 1)
    measure = _resident if what == "rss" else _allocated
    early = None
    for name, run, calls in _parts(scale):
        told = []
        for _ in range(_SAMPLES):
            run(calls // _SAMPLES)
            gc.collect()
            told.append(measure())
            if tracemalloc.is_tracing() and blame and early is None and len(told) == _SAMPLES // 5:
                early = tracemalloc.take_snapshot()
        samples = " ".join(f"{mb:.2f}" for mb in told)
        print(
            f"{what:12}{name:8}{calls:7} calls: grew {told[-1] - told[_SAMPLES // 5 - 1]:+.2f} MB  ({samples})",
            flush=True,
        )
    if early is not None:
        for line in tracemalloc.take_snapshot().compare_to(early, "traceback")[:12]:
            print(f"\n{line.size_diff / 1024:+.0f} KB in {line.count_diff:+} objects:")
            print("\n".join(line.traceback.format()))


def main() -> None:
    """Print the samples of both processes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of calls")
    parser.add_argument("--only", choices=["rss", "tracemalloc"])
    parser.add_argument("--blame", action="store_true")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        _watch(options.only, options.scale, options.blame)
        return
    for what in [options.only] if options.only else ["rss", "tracemalloc"]:
        command = [sys.executable, __file__, "--here", "--only", what, "--scale", str(options.scale)]
        subprocess.run(command + ["--blame"] * options.blame, check=True)  # noqa: S603 - this file


if __name__ == "__main__":
    main()
