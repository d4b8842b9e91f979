"""Metrics of guardrails, scores, monitors and breakers: whole points, and no guard that lives for them."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from llmguard_middleware import Breaker, Call, Guard, Guardrail, Monitor, Score, scorer
from llmguard_middleware._drive import drive
from llmguard_middleware._flow import Flow
from llmguard_middleware._policy import Policy
from llmguard_middleware.telemetry._metrics._table import TABLE
from llmguard_middleware.testing import CapturedPoint, Flags, Raises, Returns

if TYPE_CHECKING:
    from llmguard_middleware.testing import CapturedTelemetry

NAMED = {"llmguard.guard.name": "g"}


def points(telemetry: CapturedTelemetry, metric: str) -> list[tuple[dict[str, Any], float]]:
    """The attributes and values of a metric; of a histogram of seconds, its counts."""
    found = [one for one in telemetry.points if one.metric == metric]
    kind, unit, _, buckets = TABLE[metric]
    for one in found:
        assert (one.kind, one.unit, one.buckets) == (kind, unit, buckets)
    return [(dict(one.attributes), one.count or 0 if one.unit == "s" else one.value) for one in found]


def verdict(rule: str, action: str, outcome: str, stage: str = "input") -> dict[str, Any]:
    """The attributes of a verdict's count."""
    return {
        **NAMED,
        "llmguard.guardrail.name": rule,
        "llmguard.stage": stage,
        "llmguard.action": action,
        "llmguard.verdict": outcome,
    }


def test_verdicts_are_counted_by_guardrail_stage_action_and_outcome(telemetry: CapturedTelemetry) -> None:
    """Each guardrail's verdict on each text, with how long it took; in a call and in a direct check."""
    guard = Guard(
        Guardrail(Flags(when="bad", name="words"), stage="input", action="log"),
        Guardrail(Raises(ValueError("no"), name="sick"), stage="input", on_error="allow"),
        **telemetry.providers,
        name="g",
    )
    with Flow(guard, Call("chat")) as flow:
        drive(flow.judge("bad", "input"), guard.workers)
        flow.answered()
    guard.check("good", stage="input")
    guard.check("bad", stage="input")
    assert points(telemetry, "llmguard.guardrail.verdicts") == [
        (verdict("words", "log", "flagged"), 2),
        (verdict("sick", "block", "error"), 3),
        (verdict("words", "log", "passed"), 1),
    ]
    assert points(telemetry, "llmguard.guardrail.duration") == [
        ({**NAMED, "llmguard.guardrail.name": "words", "llmguard.stage": "input"}, 3),
        ({**NAMED, "llmguard.guardrail.name": "sick", "llmguard.stage": "input"}, 3),
    ]


def test_a_verdict_that_is_remembered_is_not_counted_again(telemetry: CapturedTelemetry) -> None:
    """The same text under the same outermost call is judged, and counted, once."""
    guard = Guard(Guardrail(Flags(when="bad"), stage="input"), **telemetry.providers, name="g")
    with Flow(guard, Call("chat")) as flow:
        for _ in range(3):
            drive(flow.judge("good", "input"), guard.workers)
        flow.answered()
    assert points(telemetry, "llmguard.guardrail.verdicts") == [(verdict("flags", "block", "passed"), 1)]


def test_a_bypassed_guardrail_is_counted_as_skipped(telemetry: CapturedTelemetry) -> None:
    """It took no time, and says so by having no latency."""
    guard = Guard(Guardrail(Flags(), stage="input"), **telemetry.providers, name="g")
    with guard.bypass(reason="test"):
        guard.check("bad", stage="input")
    assert points(telemetry, "llmguard.guardrail.verdicts") == [(verdict("flags", "block", "skipped"), 1)]
    assert points(telemetry, "llmguard.guardrail.duration") == []


@pytest.mark.parametrize(("value", "told"), [(0.25, 0.25), (0, 0), (True, 1), (-1, None), (4000, 4000)])
def test_scores_of_guardrails_are_told(telemetry: CapturedTelemetry, value: float, told: float | None) -> None:
    """Every score is in the histogram, but those below 0, which no histogram takes."""
    rule = Guardrail(Returns(Score(float(value)), name="s"), stage="input", action="log")
    Guard(rule, **telemetry.providers, name="g").check("text", stage="input")
    expected = [] if told is None else [({"gen_ai.evaluation.name": "s", **NAMED}, told)]
    assert points(telemetry, "llmguard.evaluation.score") == expected


def test_scores_of_monitors_and_persons_are_told(telemetry: CapturedTelemetry) -> None:
    """A monitor's score and a person's rating are told under their names, in one metric."""
    guard = Guard(Monitor(Returns(Score(0.5), name="truth")), **telemetry.providers, name="g")
    _, call = guard.op(_echo).call("hello")
    assert guard.flush() == 0
    call.add_feedback("stars", value=0.75)
    assert points(telemetry, "llmguard.evaluation.score") == [
        ({"gen_ai.evaluation.name": "truth", **NAMED}, 0.5),
        ({"gen_ai.evaluation.name": "stars", **NAMED}, 0.75),
    ]


def _echo(text: str) -> str:
    return text


def test_monitors_tell_what_became_of_their_scores(telemetry: CapturedTelemetry) -> None:
    """Scores that came and that failed are counted, and the queue is empty at the end."""
    guard = Guard(
        Monitor(Returns(Score(0.5), name="truth")),
        Monitor(Raises(ValueError("no"), name="sick")),
        **telemetry.providers,
        name="g",
    )
    for _ in range(3):
        guard.op(_echo)("hello")
    assert guard.flush() == 0
    assert points(telemetry, "llmguard.monitor.scores") == [
        ({**NAMED, "llmguard.outcome": "scored"}, 3),
        ({**NAMED, "llmguard.outcome": "failed"}, 3),
    ]
    assert points(telemetry, "llmguard.monitor.queue.size") == [(NAMED, 0)]


def test_guards_of_one_name_add_up(telemetry: CapturedTelemetry) -> None:
    """Two guards of one name are one series, of which neither hides the other."""
    guards = [Guard(Monitor(Returns(Score(0.5))), **telemetry.providers, name="g") for _ in range(2)]
    for guard in guards:
        guard.op(_echo)("hello")
        assert guard.flush() == 0
    assert points(telemetry, "llmguard.monitor.scores") == [({**NAMED, "llmguard.outcome": "scored"}, 2)]


def test_no_guard_is_kept_alive_by_its_metrics(telemetry: CapturedTelemetry) -> None:
    """A guard that nobody needs any more goes, and what its monitors had done stays counted."""
    guard = Guard(Monitor(Returns(Score(0.5))), **telemetry.providers, name="g")
    guard.op(_echo)("hello")
    assert guard.flush() == 0
    guard.shutdown()
    gone = weakref.ref(guard)
    del guard
    gc.collect()
    assert gone() is None
    assert points(telemetry, "llmguard.monitor.scores") == [({**NAMED, "llmguard.outcome": "scored"}, 1)]
    assert points(telemetry, "llmguard.monitor.queue.size") == []


@scorer(name="away")
def _away(text: str) -> bool:
    raise ConnectionError(text)


def test_breakers_tell_their_state(telemetry: CapturedTelemetry) -> None:
    """Closed is 0, half open 1, open 2, by guard and guardrail; rules without a breaker tell nothing."""
    now = [0.0]
    breaker = Breaker(failures=1, cooldown=10, clock=lambda: now[0])
    rule = Guardrail(_away, stage="input", breaker=breaker)
    guard = Guard(
        rule,
        Guardrail(Flags(name="plain"), stage="output", action="log", breaker=None),
        **telemetry.providers,
        name="g",
    )
    state = {**NAMED, "llmguard.guardrail.name": "away"}
    told = lambda: points(telemetry, "llmguard.breaker.state")  # noqa: E731 - three times the same question
    assert told() == [(state, 0)]
    guard.check("x", stage="input")
    assert told() == [(state, 2)]
    now[0] = 11
    assert told() == [(state, 1)]
    guard.swap(Policy([Guardrail(Flags(name="plain", cheap=True), stage="input")]))
    assert told() == []
    guard.swap(Policy([rule]))
    assert told() == [(state, 1)]


def test_a_point_of_a_counter_is_one(telemetry: CapturedTelemetry) -> None:
    """What we count ourselves and let be read is exported as a counter."""
    Guard(Guardrail(Flags(), stage="input"), **telemetry.providers, name="g").check("bad", stage="input")
    told = [one for one in telemetry.points if one.metric == "llmguard.guardrail.verdicts"]
    assert told == [
        CapturedPoint(
            "llmguard.guardrail.verdicts", verdict("flags", "block", "blocked"), 1, None, "{verdict}", "counter"
        )
    ]
