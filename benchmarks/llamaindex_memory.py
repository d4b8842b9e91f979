"""Whether memory stays flat over 50,000 queries and more: ours beside bare LlamaIndex, each in a fresh process.

LlamaIndex itself grows: a `CallbackManager` that is not the outermost of its trace keeps the ids of its events for ever
(`_trace_map`). So each part runs bare, with hand-written spans, and with each of ours, and what counts is how much more
grows than in the bare process, from the first fifth of the calls (the rest of which is warm) to the last. Printed are
resident memory, and the blocks that Python has allocated (`sys.getallocatedblocks`: exact, costs nothing, does not see
blocks of more than 512 bytes). Spans are made by the SDK and dropped by the exporter. The guard has no rules.

Run: uv run python benchmarks/llamaindex_memory.py [--scale 1.0] [--parts query chat] [--variants bare attach] [--blame]

`--blame` counts by type what is there at the end and was not after a fifth of the calls.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from kit.export import Drop
from kit.memory import resident
from llama_index.core.base.llms.types import CompletionResponse
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.memory import ChatMemoryBuffer
from llamaindex_kit.fakes import ASKED, Fake, engine
from llamaindex_kit.handlers import variants
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

_SAMPLES = 10
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
    for _ in range(calls):
        for _ in made.query("Hi").response_gen:
            pass


def _abandoned(made: Any, calls: int) -> None:
    for number in range(calls):
        answer: Any = made.query("Hi")
        if number % 2:  # the others are never read
            next(iter(answer.response_gen))
            answer.response_gen.close()


def _turns(made: Any, calls: int) -> None:
    for number in range(calls):
        if number % 2:
            made.chat("Hi")
        else:
            for _ in made.stream_chat("Hi").response_gen:
                pass
        if number % 10 == 9:  # noqa: PLR2004 - a conversation has ten turns
            made.reset()


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


def _chatting(llm: Any) -> Any:
    return SimpleChatEngine.from_defaults(llm=llm, memory=ChatMemoryBuffer.from_defaults(llm=llm))


def _model(llm: Any) -> Any:
    return llm


def _streaming(llm: Any) -> Any:
    return engine(llm, streaming=True)


class _Part(NamedTuple):
    """What is made of the model, what runs so many calls of it, how many there are, and whether it has an engine."""

    llm: Callable[[], Any]
    made: Callable[[Any], Any]
    run: Callable[[Any, int], None]
    calls: int
    engine: bool = True


PARTS = {
    "query": _Part(Fake, engine, _queries, 50_000),
    "chat": _Part(Fake, _model, _chats, 50_000, engine=False),
    "stream": _Part(Fake, _streaming, _streams, 5_000),
    "abandoned": _Part(Fake, _streaming, _abandoned, 5_000),
    "turns": _Part(Fake, _chatting, _turns, 5_000),
    "async": _Part(_Moody, engine, _async, 10_000),
}
VARIANTS = ("bare", "by hand, 4 spans", "instrument", "attach", "protect")


def _watch(part: _Part, name: str, scale: float, *, blame: bool) -> None:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Drop()))
    variant = variants(provider)[name]
    made = part.made(variant.around_model(part.llm()))
    if part.engine:
        made = variant.around_engine(made)
    told: list[tuple[float, int]] = []
    calls = max(_TOGETHER, int(part.calls * scale) // _SAMPLES)
    early: Counter[str] = Counter()
    with variant.around_round():
        for number in range(_SAMPLES):
            part.run(made, calls)
            gc.collect()
            told.append((resident(), sys.getallocatedblocks()))
            if blame and number == _SAMPLES // 5 - 1:
                early = _counted()
    warm, end = told[_SAMPLES // 5 - 1], told[-1]
    measured = calls * (_SAMPLES - _SAMPLES // 5)
    print(end[0] - warm[0], (end[1] - warm[1]) / measured, *(f"{mb:.2f}" for mb, _ in told))
    if blame:
        for kind, more in (_counted() - early).most_common(12):
            print(f"    {more / measured:8.4f} a call  {kind}", file=sys.stderr)


def _counted() -> Counter[str]:
    gc.collect()
    return Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects())


def _rows(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    for part in options.parts:
        for variant in options.variants:
            if variant != "attach" or PARTS[part].engine:
                yield part, variant


def main() -> None:
    """Print a line for each part and variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of calls")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--blame", action="store_true")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        _watch(PARTS[options.parts[0]], options.variants[0], options.scale, blame=options.blame)
        return
    bare = 0.0
    for part, variant in _rows(options):
        command = [sys.executable, __file__, "--here", "--parts", part, "--variants", variant]
        command += ["--scale", str(options.scale)] + ["--blame"] * options.blame
        found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()  # noqa: S603 - this file
        grew, blocks = float(found[0]), float(found[1])
        bare = blocks if variant == "bare" else bare
        beyond = "" if variant == "bare" or "bare" not in options.variants else f" ({blocks - bare:+.3f} to bare)"
        print(f"{part:10}{variant:18}{grew:+6.2f} MB, {blocks:+.3f} blocks a call{beyond}  [{' '.join(found[2:])}]")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
