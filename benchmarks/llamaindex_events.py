"""What the handlers themselves take: LlamaIndex's calls of them, recorded once, are made again directly.

Without LlamaIndex around and without export, so differences of a microsecond show. Process CPU in us for each call of
the row; spans are made by the SDK and dropped.

Run: uv run python benchmarks/llamaindex_events.py [--profile query]
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
from collections.abc import Callable
from statistics import median
from time import process_time
from typing import Any

from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.span_handlers import BaseSpanHandler
from llamaindex_kit.fakes import ASKED, Fake, engine
from llamaindex_kit.handlers import NoOpEvents, NoOpSpans, variants
from opentelemetry.sdk.trace import TracerProvider

TIMES, ROUNDS = 300, 15


def _stream(llm: Any) -> None:
    for _ in llm.stream_chat(ASKED):
        pass


ROWS: dict[str, Callable[[], Any]] = {
    "chat": lambda: Fake().chat(ASKED),
    "query": lambda: engine(Fake()).query("Hi"),
    "stream_chat": lambda: _stream(Fake()),
}


def recorded(call: Callable[[], Any]) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """What the dispatcher tells handlers of one call."""
    told: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def recording(name: str) -> Callable[..., None]:
        return lambda _, *args, **kwargs: told.append((name, args, kwargs))

    spans = type("Spans", (NoOpSpans,), {name: recording(name) for name in ("span_enter", "span_exit", "span_drop")})
    events = type("Events", (NoOpEvents,), {"handle": recording("handle")})
    root = get_dispatcher()
    before = root.span_handlers, root.event_handlers
    root.span_handlers, root.event_handlers = [spans()], [events()]
    try:
        call()
    finally:
        root.span_handlers, root.event_handlers = before
    return told


def bound(told: list[tuple[str, tuple[Any, ...], dict[str, Any]]]) -> list[tuple[Any, tuple[Any, ...], dict[str, Any]]]:
    """Those calls, of the handlers that listen now."""
    root = get_dispatcher()
    return [
        (getattr(handler, name), args, kwargs)
        for name, args, kwargs in told
        for handler in (root.event_handlers if name == "handle" else root.span_handlers)
        if isinstance(handler, (BaseEventHandler, BaseSpanHandler)) and type(handler).__module__[:11] != "llama_index"
    ]


def timed(calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]], times: int = TIMES) -> float:
    """Us for one time."""
    before = process_time()
    for _ in range(times):
        for call, args, kwargs in calls:
            call(*args, **kwargs)
    return (process_time() - before) / times * 1e6


def main() -> None:
    """Print a line for each row and handler."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--profile", choices=list(ROWS), help="where instrument spends it")
    options = parser.parse_args()
    compared = variants(TracerProvider())
    for row, call in ROWS.items():
        if options.profile not in (None, row):
            continue
        told = recorded(call)
        rounds: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            for name in ("no-op", "floor", "by hand, 4 spans", "instrument"):
                with compared[name].around_round():
                    rounds.setdefault(name, []).append(timed(bound(told)))
        for name, found in rounds.items():
            ratio = median(one / floor for one, floor in zip(found, rounds["floor"], strict=True))
            print(f"{row:12} {name:18} {median(found):7.1f} us  {ratio:5.2f}x  ({len(told)} calls of handlers)")
        if options.profile:
            profile = cProfile.Profile()
            with compared["instrument"].around_round():
                profile.runcall(timed, bound(told))
            pstats.Stats(profile).sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    main()
