"""Values of histograms wait for each other: none is missing from what is read, none is told twice."""

from __future__ import annotations

import os
import threading
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from llmguard_middleware import Call, Guard
from llmguard_middleware._unjudged import Unjudged
from llmguard_middleware.telemetry._metrics._backlog import Backlog
from llmguard_middleware.telemetry._metrics._instruments import Instruments

CHAT = Call.made("chat", provider="openai", model="m")


def _durations(reader: InMemoryMetricReader) -> int:
    data: Any = reader.get_metrics_data()
    points = {
        metric.name: metric.data.data_points
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    return sum(point.count for point in points.get("gen_ai.client.operation.duration", ()))


def test_each_collection_finds_every_call_before_it() -> None:
    """However many values wait, a collection tells of all calls that were over before it."""
    reader = InMemoryMetricReader()
    guard = Guard(meter_provider=MeterProvider([reader]))
    for calls in range(1, 101):
        Unjudged(guard, CHAT, None).answered()
        if calls % 7 == 0:
            assert _durations(reader) == calls


def test_threads_that_hand_on_at_once_tell_each_value_once() -> None:
    """Eight threads that add and flush lose no value and double none."""
    backlog, told = Backlog(), []

    def add(thread: int) -> None:
        for number in range(500):
            backlog.add(lambda amount, *_: told.append(amount), thread * 500 + number, {})
            if number % 9 == 0:
                backlog.flush()

    threads = [threading.Thread(target=add, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    backlog.flush()
    assert sorted(told) == list(range(4000))


def test_a_value_that_is_refused_costs_no_other_value() -> None:
    """If an instrument raises, the values behind it are handed on all the same."""
    backlog, told = Backlog(), []

    def refuse(*_: object) -> None:
        raise RuntimeError

    backlog.add(refuse, 1, {})
    backlog.add(lambda amount, *_: told.append(amount), 2, {})
    backlog.flush()
    assert told == [2]


def test_a_forked_child_does_not_tell_what_its_parent_tells() -> None:
    """What waits at a fork is told by the parent only."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    guard = Guard(meter_provider=provider)
    Instruments.of(provider).backlog._due = True  # its thread does not come before the fork
    Unjudged(guard, CHAT, None).answered()
    child = os.fork()
    if not child:
        told = 2
        try:
            told = _durations(reader)
        finally:
            os._exit(told)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert _durations(reader) == 1


def test_no_call_hands_values_on_itself() -> None:
    """A thread of its own does, soon: the SDK's work is not in the way of the call that happens to find many."""
    backlog, told, all_told = Backlog(), [], threading.Event()

    def record(amount: float, *_: object) -> None:
        told.append((threading.current_thread().name, amount))
        if len(told) == 500:
            all_told.set()

    for number in range(500):
        backlog.add(record, number, {})
    assert all_told.wait(30)
    assert told == [("llmguard-metrics", number) for number in range(500)]


def test_no_more_wait_than_memory_is_meant_for() -> None:
    """If the thread does not keep up, the calls hand values on."""
    backlog, told = Backlog(), []
    backlog._due = True  # and it never comes
    for number in range(3000):
        backlog.add(lambda amount, *_: told.append(amount), number, {})
    assert told == list(range(2048))


def test_where_no_thread_can_be_had_the_call_hands_them_on() -> None:
    """As at the end of the interpreter: nothing is lost for it."""

    class NoThread:
        def at(self, *_: object) -> None:
            raise RuntimeError

    backlog, told = Backlog(), []
    backlog._clock = NoThread()  # type: ignore[assignment]  # nothing else is asked of it
    for number in range(3):
        backlog.add(lambda amount, *_: told.append(amount), number, {})
    assert told == [0, 1, 2]
