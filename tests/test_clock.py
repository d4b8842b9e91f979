"""The thread that calls back at set times."""

from __future__ import annotations

import gc
import math
import queue
import threading
from time import monotonic
from typing import Any

import pytest

from llmguard_middleware._clock import Clock


def running(name: str) -> list[threading.Thread]:
    """The threads of this clock."""
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_it_calls_back_in_the_order_of_time() -> None:
    """What is due earlier is called earlier, whenever it was set; what is forgotten, and what is never due, is not."""
    clock, called = Clock("test-clock"), queue.SimpleQueue[str]()
    now = monotonic()
    clock.at("never", math.inf, lambda: called.put("never"))
    assert running("test-clock") == []
    clock.at("late", now + 1.0, lambda: called.put("late"))
    clock.at("forgotten", now + 0.7, lambda: called.put("forgotten"))
    clock.at("early", now + 0.5, lambda: called.put("early"))
    clock.forget("forgotten")
    clock.forget("unknown")
    assert [called.get(timeout=10), called.get(timeout=10)] == ["early", "late"]
    assert monotonic() >= now + 0.2
    assert called.empty()


def test_a_callback_that_raises_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """It is told by the kind of its exception."""
    clock, called = Clock("test-clock-raises"), threading.Event()

    def fails() -> None:
        raise ValueError("user text")

    clock.at("fails", 0.0, fails)
    clock.at("next", 0.0, called.set)
    assert called.wait(10)
    assert caplog.messages == ["a time-out could not be handled: ValueError"]


def test_its_thread_ends_with_it() -> None:
    """A clock that nobody uses any more takes its thread along, even if something is still set."""
    clock: Any = Clock("test-clock-end")
    clock.at("late", monotonic() + 3600, gc.collect)
    (thread,) = running("test-clock-end")
    del clock
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


def test_times_may_be_set_by_what_is_collected_while_one_is_set() -> None:
    """As a dropped call that ends does, from wherever garbage is collected."""
    clock, called = Clock("test-clock-collected"), queue.SimpleQueue[str]()

    class Key:
        fresh = True

        def __hash__(self) -> int:
            if self.fresh:
                self.fresh = False
                clock.at("inner", monotonic(), lambda: called.put("inner"))  # as a finalizer does
            return 1

    thread = threading.Thread(target=clock.at, args=(Key(), monotonic(), lambda: called.put("outer")), daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert {called.get(timeout=10), called.get(timeout=10)} == {"inner", "outer"}
