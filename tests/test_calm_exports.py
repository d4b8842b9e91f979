"""Threads that export leave the interpreter to the calls, and a sink that fails again and again alone."""

from __future__ import annotations

import gc
import sys
import threading
from types import FunctionType, ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import TraceState

from llmguard_middleware._courtesy import Unhurried
from llmguard_middleware.telemetry._sdk._counted import CountedSpans, CountedSpansProcessor
from llmguard_middleware.telemetry._sdk._drops import Drops
from llmguard_middleware.telemetry._sdk._gate import Gate

HOUR = 3600.0


class Sink:
    """An exporter that fails until it is told otherwise."""

    def __init__(self):
        self.batches, self.answer = [], SpanExportResult.FAILURE

    def export(self, spans):
        """As told."""
        self.batches.append(list(spans))
        return self.answer

    def shutdown(self):
        """Nothing."""


class Behind:
    """A sink behind a gate through which so many items have gone, and what sends them."""

    def __init__(self, pauses=(HOUR,), limit=100):
        self.sink, self.drops = Sink(), Drops()
        self.gate = Gate("traces", limit, self.drops, pauses)
        self.exporter = CountedSpans(self.sink, self.gate)

    def send(self, *items):
        """Have these come in, and export them."""
        for _ in items:
            assert self.gate.enter()
        return self.exporter.export(items)

    def begin_to_send(self, *items):
        """The same in a thread, which had time to get to where it rests."""
        thread = threading.Thread(target=self.send, args=items)
        thread.start()
        thread.join(0.1)
        return thread

    @property
    def dropped(self):
        """How many were lost."""
        return sum(self.drops.counts.values())


@pytest.fixture
def failed_twice():
    """A sink that has failed as often as is bearable."""
    behind = Behind()
    for number in range(2):
        behind.send(number)
    return behind


def test_a_sink_that_failed_twice_is_let_alone(failed_twice):
    """The third batch is not tried at once: it is kept."""
    thread = failed_twice.begin_to_send("kept")
    assert thread.is_alive()
    assert (failed_twice.sink.batches, failed_twice.dropped) == ([[0], [1]], 2)
    failed_twice.gate.close()
    thread.join()


@pytest.mark.parametrize("how", ["flush", "shutdown", "close"])
def test_nobody_rests_when_all_is_to_be_sent(failed_twice, how):
    """A flush, a shutdown of the provider and the end of the application end the rest, and each later one."""

    class Inner:
        """The SDK's processor, which sends what waits."""

        def force_flush(self, timeout):
            failed_twice.send("flushed")
            return True

        def shutdown(self):
            failed_twice.send("flushed")

    thread = failed_twice.begin_to_send("kept")
    processor = CountedSpansProcessor(Inner(), failed_twice.gate)
    if how == "close":
        failed_twice.gate.close()
        failed_twice.exporter.export(["flushed"])
    elif how == "flush":
        assert processor.force_flush() is True
    else:
        processor.shutdown()
    thread.join()
    assert sorted(map(str, failed_twice.sink.batches)) == ["['flushed']", "['kept']", "[0]", "[1]"]


def test_a_sink_that_is_back_is_not_let_alone_any_more(failed_twice):
    """One success ends it: the failures before do not count."""
    failed_twice.sink.answer = SpanExportResult.SUCCESS
    with failed_twice.gate.hurried():
        failed_twice.send("back")
    failed_twice.sink.answer = SpanExportResult.FAILURE
    failed_twice.send("another failure")
    failed_twice.send("tried at once")
    assert failed_twice.sink.batches[-1] == ["tried at once"]
    assert failed_twice.dropped == 4


def test_after_the_pause_it_is_tried_again():
    """Once the pause is over, the batch is sent without anybody's help."""
    behind = Behind(pauses=(0.01,))
    for number in range(4):
        behind.send(number)
    assert behind.sink.batches == [[0], [1], [2], [3]]


def test_what_is_kept_for_a_sink_that_is_let_alone_counts_as_waiting():
    """No more than the limit is kept meanwhile, the batch in hand included; the rest is turned away and counted."""
    behind = Behind(limit=3)
    behind.send(0)
    behind.send(1)
    thread = behind.begin_to_send("kept", "kept")
    assert [behind.gate.enter() for _ in range(3)] == [True, False, False]
    assert behind.drops.counts == {("traces", "export_failed"): 2, ("traces", "queue_full"): 2}
    behind.gate.abandon()
    behind.gate.close()
    thread.join()
    assert behind.drops.counts[("traces", "shutdown")] == 3
    assert behind.sink.batches == [[0], [1]]


def test_a_file_is_never_let_alone():
    """What the calling threads write themselves would make them wait."""
    behind = Behind(pauses=())
    for number in range(5):
        behind.send(number)
    assert behind.dropped == 5


@given(st.lists(st.integers()))
def test_an_unhurried_list_holds_the_same(items):
    """Whoever reads it gets each item, in order, and knows how many they are."""
    unhurried = Unhurried(items)
    assert (list(unhurried), len(unhurried), unhurried[:]) == (items, len(items), items)


@pytest.mark.parametrize(("kind", "heard"), [(Unhurried, True), (list, False)])
def test_between_the_items_other_threads_have_their_turn(kind, heard):
    """A thread that wants the interpreter has it before all items are read, even if it is never taken by force."""
    ready, go, turns = threading.Event(), threading.Event(), []

    def other():
        ready.set()
        go.wait()
        turns.append("now")

    thread = threading.Thread(target=other)
    thread.start()
    ready.wait()
    before = sys.getswitchinterval()
    sys.setswitchinterval(60)
    try:
        go.set()
        number = sum(1 for _ in kind(range(400)))
        had = bool(turns)
    finally:
        sys.setswitchinterval(before)
    thread.join()
    assert (number, had) == (400, heard)


@pytest.mark.parametrize(("waiting", "calm"), [(1, True), (60, False)])
def test_a_sink_that_is_well_is_served_faster_when_much_waits(waiting, calm):
    """The calls come first until half of the queue is full: to drop telemetry would be worse than to be in the way."""
    behind = Behind()
    kinds = []
    behind.sink.export = lambda spans: kinds.append(type(spans)) or SpanExportResult.SUCCESS
    for _ in range(waiting):
        behind.gate.enter()
    behind.exporter.export([0])
    assert kinds == [Unhurried if calm else list]


def walked(span):
    """How many objects of its own the garbage collector has to walk over for this span."""
    shared = (span.resource, span.instrumentation_scope, span.status)
    found, look = {}, [span]
    while look:
        one = look.pop()
        if not gc.is_tracked(one) or id(one) in found or any(one is each for each in shared):
            continue
        if not isinstance(one, (type, FunctionType, ModuleType, TraceState)):
            found[id(one)] = one
            look += gc.get_referents(one)
    return len(found)


def span_of(kind):
    """A span that has ended, and what went into the queue for it."""
    queued, provider = [], TracerProvider(shutdown_on_exit=False)
    processor = CountedSpansProcessor(None, Gate("traces", 10, Drops()))
    processor._inner = type("Inner", (), {"on_end": lambda _, span: queued.append(span)})()
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("test", "1", attributes={"of": "scope"})
    with tracer.start_as_current_span("above") as above:
        links = [trace.Link(above.get_span_context())] if kind == "link" else None
        span = tracer.start_span("it", kind=trace.SpanKind.CLIENT, links=links, attributes={"a": 1, "b": ("c", "d")})
        if kind == "event":
            span.add_event("happened", {"x": 1})
        if kind == "error":
            span.set_status(trace.StatusCode.ERROR, "why")
        if kind == "many":
            span.set_attributes({f"{number}": number for number in range(200)})
        span.end()
    return span, queued[0]


@pytest.mark.parametrize("kind", ["plain", "error", "event", "link", "many"])
def test_a_queued_span_tells_what_the_span_told(kind):
    """What waits for its export is light, and says all the same."""
    span, queued = span_of(kind)
    assert queued.to_json() == span.to_json()
    told = ("dropped_attributes", "dropped_events", "dropped_links", "resource", "instrumentation_scope", "context")
    assert [getattr(queued, name) for name in told] == [getattr(span, name) for name in told]


def test_a_queued_span_is_light():
    """The garbage collector walks over a third of the objects, or thousands that wait would slow each call."""
    span, queued = span_of("plain")
    assert walked(queued) * 2 < walked(span._readable_span())
