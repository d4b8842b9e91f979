"""Whether memory stays flat over 100,000 calls and more through `GuardCallback` and `protect`, in fresh processes.

One process for the resident set, and one for what Python has allocated (tracemalloc, which makes everything slower).
Each runs in turn: chat calls, RAG chains, streams of 200 tokens, of which some are left before their end, and async
calls, of which some are cancelled and some fail. Spans are made by the SDK and dropped by the exporter. Printed are
samples, and the growth of each part from its first fifth (the rest of which is warm) to its end, in MB.

Run: uv run python benchmarks/langchain_memory.py [--scale 1.0] [--only rss] [--blame]

`--blame` names the lines that allocated what is there at the end and was not after a fifth of the chat calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from kit.export import Drop
from kit.memory import Part, main
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatResult
from langchain_kit.fakes import Fake, Streaming, chain
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from llmguard_langchain import GuardCallback, protect
from llmguard_middleware import Guard

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


def _parts(scale: float) -> Iterator[Part]:
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


if __name__ == "__main__":
    main(__file__, __doc__, _parts)
