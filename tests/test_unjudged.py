"""Calls that nobody judges: one span, started when something wants it and at the latest when the call ends."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import time_ns
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from llmguard_middleware import Call, Guard, Guardrail, GuardrailViolation, Message, Usage
from llmguard_middleware._drive import drive
from llmguard_middleware._flow import Flow
from llmguard_middleware._policy import Policy
from llmguard_middleware._unjudged import Unjudged
from llmguard_middleware.testing import Flags

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmguard_middleware.testing import CapturedTelemetry

CHAT = Call("chat", provider="p", model="m")
ENDS: dict[str, Callable[[Unjudged], None]] = {
    "answered": lambda call: call.answered(output="x"),
    "failed": lambda call: call.failed(ValueError()),
    "abandoned": lambda call: call.abandoned(late=True),
    "stopped": lambda call: call.stopped(ValueError()),
    "left": lambda call: call.stopped(GeneratorExit()),
}


class Seen(SpanProcessor):
    """What a span had when it started, and how many ended."""

    def __init__(self) -> None:
        self.started: list[dict[str, Any]] = []
        self.times: list[tuple[int, int]] = []

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        """It started."""
        self.started.append(dict(span.attributes))

    def on_end(self, span: Any) -> None:
        """It ended."""
        self.times.append((span.start_time, span.end_time))


@pytest.fixture
def seen() -> Seen:
    """Of one test."""
    return Seen()


@pytest.fixture
def guard(seen: Seen) -> Guard:
    """Without a rule."""
    provider = TracerProvider()
    provider.add_span_processor(seen)
    return Guard(tracer_provider=provider, name="g")


def test_a_span_that_nobody_wants_before_is_made_whole_at_the_end(guard: Guard, seen: Seen) -> None:
    """It starts with all that there is to tell, and with the time at which the call began."""
    before = time_ns()
    call = Unjudged(guard, CHAT, None)
    begun = time_ns()
    assert seen.started == []
    call.answered(output="x", usage=Usage(3, 4), response_id="r")
    assert seen.started == [
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "p",
            "gen_ai.request.model": "m",
            "gen_ai.response.id": "r",
            "gen_ai.usage.input_tokens": 3,
            "gen_ai.usage.output_tokens": 4,
            "llmguard.guard.name": "g",
            "llmguard.guard.digest": guard.digest,
        }
    ]
    ((started, ended),) = seen.times
    assert before <= started <= begun <= ended


@pytest.mark.parametrize("wanted", [False, True])
@pytest.mark.parametrize("end", list(ENDS))
def test_each_call_has_one_span_however_it_ends(guard: Guard, seen: Seen, end: str, wanted: bool) -> None:
    """Whether anything below it wanted its span before or not."""
    call = Unjudged(guard, CHAT, None)
    if wanted:
        assert trace.get_current_span(call.context).is_recording()
    ENDS[end](call)
    assert len(seen.started) == len(seen.times) == 1


def test_what_runs_in_parallel_below_a_call_lies_below_one_span(guard: Guard, seen: Seen) -> None:
    """Whoever asks first starts it, and the others find it."""
    together = Barrier(4)

    def below(call: Unjudged) -> trace.SpanContext:
        together.wait()
        return trace.get_current_span(call.context).get_span_context()

    with ThreadPoolExecutor(4) as pool:
        for _ in range(50):
            call = Unjudged(guard, Call("invoke_workflow", name="w"), None)
            assert len({found.span_id for found in pool.map(below, [call] * 4)}) == 1
            call.answered()
    assert len(seen.started) == len(seen.times) == 50


def test_a_span_tells_the_rules_that_its_call_began_under(guard: Guard, seen: Seen) -> None:
    """Also where others are in force by the time at which it is made."""
    digest = guard.digest
    call = Unjudged(guard, CHAT, None)
    guard.swap(Policy([Guardrail(Flags(when="bad"), stage="input")]))
    call.answered(output="x")
    assert guard.in_force.default.digest != digest
    assert seen.started[0]["llmguard.guard.digest"] == digest


def test_a_call_that_goes_on_as_a_flow_has_the_span_that_it_had(telemetry: CapturedTelemetry) -> None:
    """All who ask get the same Flow, which shares its root with what lies below and ends the span."""
    guard = Guard(**telemetry.providers)
    call = Unjudged(guard, Call("invoke_workflow", name="w"), None)
    before = trace.get_current_span(call.context).get_span_context()
    flow = call.judged()
    assert call.judged() is flow
    assert flow.span.identity == (before.trace_id, before.span_id)
    assert trace.get_current_span(flow.span.context).get_span_context() == before
    flow.answered(output="x")
    assert [span.name for span in telemetry.spans] == ["invoke_workflow w"]


def test_a_violation_below_a_call_that_nobody_judged_sticks_to_it(telemetry: CapturedTelemetry) -> None:
    """Rules that came into force meanwhile stop a call below; who swallowed that finds it at the end."""
    guard = Guard(**telemetry.providers)
    call = Unjudged(guard, Call("invoke_workflow", name="w"), None)
    guard.swap(Policy([Guardrail(Flags(when="bad"), stage="input")]))
    above = call.judged()
    below = Flow(guard, CHAT, parent=call.context, outermost=False, root=above.root)
    with pytest.raises(GuardrailViolation):
        drive(below.admit([Message("user", "bad")]), guard.workers)
    with pytest.raises(GuardrailViolation):
        above.answered(output="x")
    assert above.policy.bare
    assert [span.status for span in telemetry.spans if span.name == "invoke_workflow w"] == ["ERROR"]


def test_a_call_goes_on_by_itself_whatever_is_around_the_code_that_asks(telemetry: CapturedTelemetry) -> None:
    """That code runs below it: what is around it there is not around the call."""
    guard = Guard(**telemetry.providers)
    call = Unjudged(guard, Call("invoke_workflow", name="w"), None)
    inside = Flow(guard, CHAT, parent=call.context)
    with inside.active():
        flow = call.judged()
    assert flow.outside == ()
    assert flow.outermost
    assert flow.root is not inside.root
