"""The public fakes: what users test their guards with."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, set_span_in_context

from llmguard_middleware import Guard, Guardrail, Score, TextSpan
from llmguard_middleware._scorer import bind
from llmguard_middleware.testing import (
    CapturedRecord,
    CapturedSpan,
    FakeScorer,
    Flags,
    Hangs,
    Raises,
    Returns,
    captured_telemetry,
)

if TYPE_CHECKING:
    from llmguard_middleware.testing import CapturedTelemetry


def test_spans_are_plain_values(telemetry: CapturedTelemetry) -> None:
    """A captured span has name, kind, parent and links by name, attributes, status and event names."""
    tracer = telemetry.tracer_provider.get_tracer("t")
    parent = tracer.start_span("parent", kind=SpanKind.SERVER, attributes={"a": [1, 2], "b": "x"})
    child = tracer.start_span("child", context=set_span_in_context(parent), links=[Link(parent.get_span_context())])
    child.add_event("happened")
    child.set_status(Status(StatusCode.ERROR, "why"))
    child.end()
    parent.end()
    one = CapturedSpan("child", "INTERNAL", "parent", {}, "ERROR", "why", ("parent",), ("happened",))
    two = CapturedSpan("parent", "SERVER", attributes={"a": (1, 2), "b": "x"})
    assert telemetry.spans == (one, two)
    assert telemetry.span("child") == one
    assert {span.trace_id for span in telemetry.spans} == {parent.get_span_context().trace_id}
    assert telemetry.spans[1].span_id == parent.get_span_context().span_id


def test_a_parent_from_elsewhere_is_its_id(telemetry: CapturedTelemetry) -> None:
    """A parent that was not captured is told by its span id in hex."""
    other = captured_telemetry().tracer_provider.get_tracer("t").start_span("elsewhere")
    telemetry.tracer_provider.get_tracer("t").start_span("child", context=set_span_in_context(other)).end()
    assert telemetry.span("child").parent == f"{other.get_span_context().span_id:016x}"


def test_records_are_plain_values(telemetry: CapturedTelemetry) -> None:
    """A captured record has event name, attributes and the ids of the span in whose context it was written."""
    span = telemetry.tracer_provider.get_tracer("t").start_span("s")
    logger = telemetry.logger_provider.get_logger("t")
    logger.emit(event_name="e", attributes={"a": ["x"]}, context=set_span_in_context(span))
    logger.emit(event_name="f")
    identity = span.get_span_context()
    assert telemetry.records == (
        CapturedRecord("e", {"a": ("x",)}, identity.trace_id, identity.span_id),
        CapturedRecord("f"),
    )


def test_clear_forgets(telemetry: CapturedTelemetry) -> None:
    """clear() empties spans and records, and capturing goes on."""
    telemetry.tracer_provider.get_tracer("t").start_span("s").end()
    telemetry.logger_provider.get_logger("t").emit(event_name="e")
    telemetry.clear()
    assert (telemetry.spans, telemetry.records) == ((), ())
    telemetry.tracer_provider.get_tracer("t").start_span("again").end()
    assert telemetry.span("again").name == "again"


def test_a_missing_span_is_an_assertion_that_lists_what_there_is(telemetry: CapturedTelemetry) -> None:
    """span() fails a test with the names of all spans."""
    with pytest.raises(AssertionError, match=r'^0 spans are called "a"; there are: none$'):
        telemetry.span("a")
    for _ in range(2):
        telemetry.tracer_provider.get_tracer("t").start_span("b").end()
    with pytest.raises(AssertionError, match=r'^2 spans are called "b"; there are: b, b$'):
        telemetry.span("b")


def test_captures_are_apart() -> None:
    """Two captures share nothing and set nothing global."""
    one, two = captured_telemetry(), captured_telemetry()
    one.tracer_provider.get_tracer("t").start_span("s").end()
    assert (len(one.spans), two.spans) == (1, ())


def test_without_the_sdk_the_extra_is_named() -> None:
    """The module imports without the SDK, its fakes work, and captured_telemetry() names the extra."""
    program = """
import sys
sys.modules["opentelemetry.sdk"] = None
from llmguard_middleware.errors import ConfigurationError
from llmguard_middleware.testing import Flags, captured_telemetry
assert Flags().score("x").flagged
try:
    captured_telemetry()
except ConfigurationError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    assert done.stdout == (
        'captured_telemetry() needs the OpenTelemetry SDK: install the extra "otlp", '
        'pip install "llmguard-middleware[otlp]"\n'
    )


def test_flags_finds_every_occurrence() -> None:
    """Flags gives a span of its kind for each occurrence, and remembers what it has seen."""
    fake = Flags(when="ab", kind="AB")
    assert fake.score("ab-abab") == Score(
        value=3.0, flagged=True, spans=(TextSpan(0, 2, "AB"), TextSpan(3, 5, "AB"), TextSpan(5, 7, "AB"))
    )
    assert fake.score("none") == Score(value=0.0)
    assert fake.seen == ["ab-abab", "none"]


async def test_every_fake_may_be_async() -> None:
    """use_async makes a fake an async scorer that does the same."""
    assert await Flags(when="a", use_async=True).score("a") == Flags(when="a").score("a")
    assert await Returns("high", use_async=True).score("a") == Returns("high").score("a") == "high"
    for fake in (Raises(KeyError("k"), use_async=True), Raises(KeyError, use_async=True)):
        with pytest.raises(KeyError):
            await fake.score("a")
    hangs = Hangs(use_async=True)
    hangs.release()
    assert await hangs.score("a") is False
    assert hangs.ended.is_set()


@pytest.mark.parametrize("make", [Flags, Hangs, lambda **o: Returns(1, **o), lambda **o: Raises(ValueError, **o)])
def test_options_are_those_of_a_scorer(make: Any) -> None:
    """Each fake takes name, cheap, reach and use_async."""
    bound = bind(make(name="mine", cheap=True, reach=3, use_async=True))
    assert (bound.name, bound.cheap, bound.reach, bound.is_async) == ("mine", True, 3, True)
    assert bind(make()).is_async is False


def test_hangs_until_released() -> None:
    """A hanging scorer returns once it is released, from any thread."""
    slow = Hangs()
    guard = Guard(Guardrail(slow, stage="input", timeout=60))
    threading.Thread(target=lambda: slow.started.wait(30) and slow.release()).start()
    assert guard.check("x", stage="input").outcome == "passed"
    assert (slow.ended.is_set(), slow.cancelled.is_set()) == (True, False)


def test_hangs_no_longer_than_it_says() -> None:
    """Hangs(seconds) ends by itself."""
    slow = Hangs(0.01)
    assert slow.score("x") is False


def test_a_fake_of_ones_own_says_its_outcome() -> None:
    """A subclass of FakeScorer needs outcome() and nothing else."""

    class Long(FakeScorer):
        def outcome(self, text: str) -> bool:
            return len(text) > 3

    assert Long().score("long") is True
    with pytest.raises(NotImplementedError):
        FakeScorer().score("x")
