"""Breaker: a scorer that keeps failing is left alone, and one call tries whether it is back."""

from __future__ import annotations

import asyncio
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from llmguard_middleware import (
    Breaker,
    ConfigurationError,
    Guard,
    Guardrail,
    ScorerError,
    ScorerServiceError,
    ScorerUnavailableError,
    scorer,
)
from llmguard_middleware._breaker import Circuit
from llmguard_middleware.testing import Hangs, Raises, Returns


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Now."""
        return self.now


class Broken:
    """A scorer that fails while `broken`."""

    name = "sick"

    def __init__(self) -> None:
        self.broken, self.calls = True, 0

    def score(self, text: str) -> bool:
        """Passes, or fails."""
        self.calls += 1
        if self.broken:
            raise ConnectionError(text)
        return False


def circuit_of(guard: Guard) -> Circuit:
    """The circuit of the only rule."""
    (rule,) = guard.guardrails
    assert rule.circuit is not None
    return rule.circuit


def sick_guard(*, failures: int = 2, cooldown: float = 10.0, **options: Any) -> tuple[Guard, Broken, Clock]:
    """A guard whose scorer fails, with a clock of its own."""
    sick, clock = Broken(), Clock()
    breaker = Breaker(failures=failures, cooldown=cooldown, clock=clock)
    return Guard(Guardrail(sick, stage="input", breaker=breaker, **options)), sick, clock


def test_it_opens_after_so_many_failures_in_a_row_and_refuses_at_once() -> None:
    """After `failures` failures the scorer is not asked any more, and the finding says why."""
    guard, sick, _ = sick_guard(failures=3)
    outcomes = [guard.check("x", stage="input") for _ in range(5)]
    assert sick.calls == 3
    assert all(verdict.stops for verdict in outcomes)
    error = outcomes[-1].findings[0].error
    assert isinstance(error, ScorerUnavailableError)
    assert str(error) == 'scorer "sick" keeps failing and is left alone for a while'


def test_one_success_starts_the_count_again() -> None:
    """Failures that are not in a row do not open the circuit."""
    guard, sick, _ = sick_guard(failures=2)
    for broken in (True, False) * 4:
        sick.broken = broken
        guard.check("x", stage="input")
    assert circuit_of(guard).state == "closed"
    assert sick.calls == 8


def test_a_probe_that_succeeds_closes_it() -> None:
    """After the cool-down one call may try; if it comes back the circuit is closed."""
    guard, sick, clock = sick_guard()
    for _ in range(2):
        guard.check("x", stage="input")
    assert circuit_of(guard).state == "open"
    clock.now, sick.broken = 10.0, False
    assert circuit_of(guard).state == "half_open"
    assert guard.check("x", stage="input").outcome == "passed"
    assert circuit_of(guard).state == "closed"
    assert [guard.check("x", stage="input").outcome for _ in range(3)] == ["passed"] * 3


def test_a_probe_that_fails_opens_it_for_as_long_again() -> None:
    """A failed probe costs a whole cool-down."""
    guard, sick, clock = sick_guard()
    for _ in range(2):
        guard.check("x", stage="input")
    clock.now = 10.0
    guard.check("x", stage="input")
    assert sick.calls == 3
    clock.now = 19.9
    guard.check("x", stage="input")
    assert sick.calls == 3
    clock.now = 20.0
    guard.check("x", stage="input")
    assert sick.calls == 4


def test_exactly_one_of_fifty_threads_probes() -> None:
    """While a probe is under way nobody else scores, however many ask at once."""
    clock = Clock()
    circuit = Circuit(Breaker(failures=1, cooldown=1.0, clock=clock))
    for round_ in range(20):
        circuit.failed()
        clock.now += 1.0
        barrier = threading.Barrier(50)

        def ask(barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            return bool(circuit.admits())

        with ThreadPoolExecutor(50) as pool:
            admitted = [one.result() for one in [pool.submit(ask) for _ in range(50)]]
        assert sum(admitted) == 1, round_


async def test_a_probe_that_is_cancelled_is_returned() -> None:
    """The call that probed is cancelled before its scorer is done: the next call may probe."""
    clock = Clock()
    hangs = Hangs(use_async=True)
    rule = Guardrail(hangs, stage="input", breaker=Breaker(failures=1, cooldown=1.0, clock=clock))
    guard = Guard(rule)
    circuit = circuit_of(guard)
    circuit.failed()
    clock.now = 1.0
    probe = asyncio.ensure_future(guard.acheck("x", stage="input"))
    while not hangs.started.is_set():  # noqa: ASYNC110 - an event of threads
        await asyncio.sleep(0)
    assert not circuit.admits()
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    hangs.release()
    assert (await guard.acheck("x", stage="input")).outcome == "passed"
    assert circuit.state == "closed"


async def test_a_probe_that_another_rule_cut_short_is_returned() -> None:
    """A call that ends because another rule blocked it leaves the probe to the next."""
    clock = Clock()
    hangs = Hangs(use_async=True)
    rule = Guardrail(hangs, stage="input", breaker=Breaker(failures=1, cooldown=1.0, clock=clock))
    guard = Guard(rule, Guardrail(Returns(True, name="no", cheap=True), stage="input"))
    assert rule.circuit is not None
    rule.circuit.failed()
    clock.now = 1.0
    assert (await guard.acheck("x", stage="input")).outcome == "blocked"
    assert rule.circuit.admits()


def test_a_call_admitted_before_the_trouble_does_not_give_away_the_probe_of_another() -> None:
    """What was admitted while all was well and ends unfinished does not admit a second probe."""
    clock = Clock()
    circuit = Circuit(Breaker(failures=1, cooldown=1.0, clock=clock))
    early = circuit.admits()
    assert early
    circuit.failed()
    clock.now = 1.0
    probe = circuit.admits()
    assert probe
    circuit.withdrawn(early)
    assert not circuit.admits()
    circuit.withdrawn(probe)
    assert circuit.admits()


class NoAddressError(OSError, ValueError):
    """What `requests` raises, say, for an address in a text that is none."""


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_an_open_circuit_that_stops_the_call_leaves_the_other_rules_in_order(order: tuple[int, ...]) -> None:
    """A rule whose circuit is open blocks the call at once, also if rules before it were about to be scored."""
    clock = Clock()
    broken = Guardrail(
        Raises(ValueError("x")), stage="input", name="sick", breaker=Breaker(failures=1, cooldown=1, clock=clock)
    )
    fine = Returns(False, name="fine")
    probing = Guardrail(fine, stage="input", breaker=Breaker(failures=1, cooldown=1, clock=clock))
    rules = (probing, broken)
    guard = Guard(*[rules[one] for one in order])
    assert broken.circuit is not None
    assert probing.circuit is not None
    broken.circuit.failed()
    assert guard.check("x", stage="input").outcome == "error"
    assert fine.seen == []
    # And a probe that was about to be made is given back.
    probing.circuit.failed()
    clock.now = 1.0
    broken.circuit.failed()
    assert guard.check("x", stage="input").stops
    assert probing.circuit.admits()


def test_a_question_the_call_cannot_answer_is_no_failure_of_the_scorer() -> None:
    """A scorer that asks for what this call has not does not open the circuit for those that have it."""

    @scorer
    def needs(text: str, tone: str) -> bool:
        """Asks for more."""
        return tone == "bad"

    guard = Guard(Guardrail(needs, stage="input", breaker=Breaker(failures=1)))
    for _ in range(3):
        assert guard.check("x", stage="input").stops
    assert guard.check("x", stage="input", inputs={"tone": "good"}).outcome == "passed"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        TypeError("x"),
        KeyError("x"),
        IndexError("x"),
        AttributeError("x"),
        ZeroDivisionError("x"),
        AssertionError("x"),
        UnicodeEncodeError("utf-8", "x", 0, 1, "x"),
        RecursionError("x"),
        ScorerError("x"),
        NoAddressError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_text_can_cause_does_not_open_it_for_others(error: Exception) -> None:
    """However often a text makes the scorer raise, the next call is judged; a probe that ends so proves nothing."""
    raises = Raises(error)
    clock = Clock()
    breaker = Breaker(failures=1, cooldown=1.0, clock=clock)
    guard = Guard(Guardrail(raises, stage="input", on_error="allow", breaker=breaker))
    for _ in range(3):
        guard.check("x", stage="input")
    assert (len(raises.seen), circuit_of(guard).state) == (3, "closed")
    circuit_of(guard).failed()
    clock.now = 1.0
    for _ in range(2):
        guard.check("x", stage="input")
    assert (len(raises.seen), circuit_of(guard).state) == (5, "half_open")


@pytest.mark.parametrize(
    "error",
    [
        OSError(),
        ConnectionResetError(),
        TimeoutError(),
        RuntimeError(),
        Exception(),
        ScorerServiceError("It is away."),
        ssl.SSLCertVerificationError(1, "it is out of date"),
    ],
)
def test_what_says_that_the_service_is_away_opens_it(error: Exception) -> None:
    """Errors of the network and those that nobody knows are failures of the scorer."""
    guard = Guard(Guardrail(Raises(error), stage="input", breaker=Breaker(failures=1)))
    guard.check("x", stage="input")
    assert circuit_of(guard).state == "open"


@pytest.mark.parametrize(("options", "there"), [({}, True), ({"on_error": "allow"}, False), ({"action": "log"}, False)])
def test_the_default_breaker_is_for_rules_that_block_when_they_fail(options: dict[str, Any], there: bool) -> None:
    """Where failing means letting pass there is none unless it is given, in Python and in a file."""
    given = Guardrail(Returns(False), stage="input", breaker=Breaker(), **options)
    spec = {"scorer": "llmguard_middleware.testing:Returns", "args": [False], "stage": "input", **options}
    (built,) = Guard.from_config({"guardrails": [spec]}, environ={}).guardrails
    (asked,) = Guard.from_config({"guardrails": [{**spec, "breaker": {}}]}, environ={}).guardrails
    assert given.circuit is not None
    assert asked.circuit is not None
    for rule in (Guardrail(Returns(False), stage="input", **options), built):
        assert (rule.breaker == Breaker(), rule.circuit is not None) == (there, there)


def test_a_time_out_counts_as_a_failure() -> None:
    """A scorer that is out of time is as good as one that raises."""
    hangs = Hangs()
    guard = Guard(Guardrail(hangs, stage="input", timeout=0.01, breaker=Breaker(failures=2)))
    states = []
    for _ in range(2):
        guard.check("x", stage="input")
        states.append(circuit_of(guard).state)
    assert states == ["closed", "open"]
    hangs.release()


def test_a_score_that_is_none_counts_as_an_answer_of_the_scorer() -> None:
    """Nonsense is an error of this call; the scorer itself was there."""
    guard = Guard(Guardrail(Returns(None), stage="input", breaker=Breaker(failures=1)))
    assert [guard.check("x", stage="input").outcome for _ in range(2)] == ["error", "error"]
    assert circuit_of(guard).state == "closed"


def test_none_never_leaves_a_scorer_alone() -> None:
    """breaker=None asks every time; so does a cheap scorer, whose failures cost nothing."""
    for rule in (
        Guardrail(Raises(ValueError()), stage="input", breaker=None),
        Guardrail(Raises(ValueError(), cheap=True), stage="input"),
    ):
        guard = Guard(rule)
        for _ in range(20):
            guard.check("x", stage="input")
        assert len(rule.scorer.seen) == 20


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"failures": 0}, "failures of Breaker is 0; give a whole number, 1 or more"),
        ({"failures": True}, "failures of Breaker is True; give a whole number, 1 or more"),
        ({"cooldown": 0}, "cooldown of Breaker is 0; give seconds greater than 0"),
    ],
)
def test_mistakes_are_told_when_it_is_made(options: dict[str, Any], sentence: str) -> None:
    """Each mistake is a ConfigurationError of one sentence."""
    with pytest.raises(ConfigurationError) as raised:
        Breaker(**options)
    assert str(raised.value) == sentence


def test_a_circuit_is_a_guardrails_own() -> None:
    """Two rules of one scorer have a circuit each."""
    sick = Broken()
    one, two = (Guardrail(sick, stage="input", name=name, breaker=Breaker(failures=1)) for name in ("one", "two"))
    Guard(one).check("x", stage="input")
    assert one.circuit is not None
    assert two.circuit is not None
    assert (one.circuit.state, two.circuit.state) == ("open", "closed")
