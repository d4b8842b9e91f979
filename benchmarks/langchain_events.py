"""What the handlers themselves take for one RAG chain: its events, recorded once, are given to each directly.

Without LangChain around, without threads and without export, so differences of a microsecond show. Process CPU in us
per chain; spans are made by the SDK and dropped.

Run: uv run python benchmarks/langchain_events.py [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
from collections.abc import Callable
from statistics import median
from time import process_time
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_kit.fakes import Fake, chain
from langchain_kit.handlers import variants
from opentelemetry.sdk.trace import TracerProvider

Event = tuple[str, tuple[Any, ...], dict[str, Any]]
NAMES = [f"on_{what}_{when}" for what in ("chain", "retriever", "llm") for when in ("start", "end")]
TIMES, ROUNDS = 1500, 9


def recorded() -> list[Event]:
    """The events of one chain."""
    events: list[Event] = []

    def recording(name: str) -> Callable[..., None]:
        return lambda _, *args, **kwargs: events.append((name, args, kwargs))

    body: dict[str, Any] = {name: recording(name) for name in (*NAMES, "on_chat_model_start")}
    recorder: type[BaseCallbackHandler] = type("Recorder", (BaseCallbackHandler,), body)
    chain(Fake()).invoke("Hi", {"callbacks": [recorder()]})
    return events


def told(handler: Any, events: list[Event], times: int = TIMES) -> float:
    """Tell a handler of so many chains; us for each."""
    calls = [(getattr(handler, name), args, kwargs) for name, args, kwargs in events]
    before = process_time()
    for _ in range(times):
        for call, args, kwargs in calls:
            call(*args, **kwargs)
    return (process_time() - before) / times * 1e6


def main() -> None:
    """Print a line for each handler."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--profile", action="store_true", help="where GuardCallback spends it")
    options = parser.parse_args()
    events, compared = recorded(), variants(TracerProvider())
    handlers = {name: compared[name].callbacks[0] for name in ("no-op", "floor", "floor, all spans", "callback")}
    rounds = [{name: told(handler, events) for name, handler in handlers.items()} for _ in range(ROUNDS)]
    for name in handlers:
        print(f"{name:18} {median(one[name] for one in rounds):6.1f} us for {len(events)} events")
    if options.profile:
        profile = cProfile.Profile()
        profile.runcall(told, handlers["callback"], events)
        pstats.Stats(profile).sort_stats("tottime").print_stats(40)


if __name__ == "__main__":
    main()
