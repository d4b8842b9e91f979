"""Whether memory stays flat over 50,000 queries and more through `instrument` and `attach`, in fresh processes.

One process for the resident set, and one for what Python has allocated (tracemalloc, which makes everything slower).
Each runs in turn: queries; chat calls; streamed queries, of which some are left before their end and some never read;
async queries, of which some are cancelled and some fail. Spans are made by the SDK and dropped by the exporter. Printed
are samples, and the growth of each part from its first fifth (the rest of which is warm) to its end, in MB.

Run: uv run python benchmarks/llamaindex_memory.py [--scale 1.0] [--only rss] [--blame]

`--blame` names the lines that allocated what is there at the end and was not after a fifth of the queries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from kit.export import Drop
from kit.memory import Part, main
from llama_index.core.base.llms.types import CompletionResponse
from llamaindex_kit.fakes import ASKED, Fake, engine
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from llmguard_llamaindex import attach, instrument
from llmguard_middleware import Guard

_TOGETHER = 100  # async calls


class _Moody(Fake):
    """Fails when it is asked to, and takes long enough to be cancelled."""

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        if "fail" in prompt:
            msg = "as asked"
            raise RuntimeError(msg)
        if "wait" in prompt:
            await asyncio.Event().wait()
        return self.complete(prompt)


def _queries(made: Any, calls: int) -> None:
    for _ in range(calls):
        made.query("Hi")


def _chats(llm: Any, calls: int) -> None:
    for _ in range(calls):
        llm.chat(ASKED)


def _streams(made: Any, calls: int) -> None:
    for number in range(calls):
        answer: Any = made.query("Hi")
        if number % 10 == 8:  # noqa: PLR2004 - one in ten is not read
            continue
        for _ in answer.response_gen:
            if number % 10 == 9:  # noqa: PLR2004 - one in ten
                answer.response_gen.close()


def _async(made: Any, calls: int) -> None:
    async def some() -> None:
        said = ["Hi"] * (_TOGETHER - 10) + ["fail"] * 5 + ["wait"] * 5
        tasks = [asyncio.ensure_future(made.aquery(one)) for one in said]
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
    instrument(guard)
    for name, run, made, calls in (
        ("query", _queries, engine(Fake()), 50_000),
        ("attached", _queries, attach(engine(Fake()), guard), 10_000),
        ("chat", _chats, Fake(), 50_000),
        ("stream", _streams, engine(Fake(), streaming=True), 2_000),
        ("async", _async, engine(_Moody()), 10_000),
    ):
        yield name, lambda count, run=run, made=made: run(made, count), int(calls * scale)


if __name__ == "__main__":
    main(__file__, __doc__, _parts)
