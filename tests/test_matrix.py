"""Every way in which a scorer can fail, by what the rule says about failures, by who asks and where the scorer runs.

One cell is not here: a `cheap` scorer that hangs, which has no time-out by its own promise.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from llmguard_middleware import (
    Breaker,
    Guard,
    Guardrail,
    GuardrailViolation,
    Score,
    ScorerError,
    ScorerTimeoutError,
    ScorerUnavailableError,
    Verdict,
)
from llmguard_middleware.testing import FakeScorer, Hangs, Raises, Returns

if TYPE_CHECKING:
    from llmguard_middleware.testing import CapturedTelemetry

SCORERS = ("cheap", "pool", "loop")
CALLERS = ("check", "acheck", "op", "aop", "stream", "astream")


class Custom(BaseException):
    """What a framework may use to leave its own frames."""


class Unreadable:
    """A result that fails when it is looked at."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


def options(where: str) -> dict[str, Any]:
    """What makes a fake run there."""
    return {"cheap": where == "cheap", "use_async": where == "loop"}


class Recurses(FakeScorer):
    """A scorer that asks the guard it belongs to about the text that it is to score."""

    guard: Guard

    def outcome(self, text: str) -> Any:
        """What the guard says."""
        return self._later(text) if self._is_async else self.guard.check(text, stage="output").stops

    async def _later(self, text: str) -> bool:
        return (await self.guard.acheck(text, stage="output")).stops

    @property
    def _is_async(self) -> bool:
        return self.score == self._score_async


def deep(_: str = "") -> Any:
    """Never ends."""
    return deep()


class Deep(FakeScorer):
    """A scorer that nests too deep."""

    def outcome(self, text: str) -> Any:
        """Nothing, ever."""
        return deep()


FAILURES: dict[str, Callable[[str], FakeScorer]] = {
    "raises": lambda where: Raises(ValueError("my secret"), **options(where)),
    "raises StopIteration": lambda where: Raises(StopIteration("my secret"), **options(where)),
    "raises StopAsyncIteration": lambda where: Raises(StopAsyncIteration("my secret"), **options(where)),
    "raises TimeoutError": lambda where: Raises(TimeoutError("my secret"), **options(where)),
    "raises RecursionError": lambda where: Deep(**options(where)),
    "hangs": lambda where: Hangs(**options(where)),
    "returns None": lambda where: Returns(None, **options(where)),
    "returns a text": lambda where: Returns("my secret", **options(where)),
    "returns a span beyond": lambda where: Returns(Score(flagged=True, spans=((0, 9999, "K"),)), **options(where)),  # type: ignore[arg-type]
    "returns a broken span": lambda where: Returns({"flagged": True, "spans": [(3, 1, "K")]}, **options(where)),
    "returns NaN": lambda where: Returns(float("nan"), **options(where)),
    "returns what cannot be read": lambda where: Returns(Unreadable(), **options(where)),
    "could not score": lambda where: Returns(Score.not_scored("my secret"), **options(where)),
    "is cancelled": lambda where: Raises(asyncio.CancelledError("my secret"), **options(where)),
    "recurses": lambda where: Recurses(**options(where)),
}
CELLS = [
    cell
    for cell in itertools.product(FAILURES, SCORERS, CALLERS, ("block", "allow"))
    if (cell[0], cell[1]) != ("hangs", "cheap")
]


class Outcome:
    """What became of one call: the text that came back, or the verdict that stopped it."""

    def __init__(self, text: str | None, verdict: Verdict | None) -> None:
        self.text, self.verdict = text, verdict


def ask(guard: Guard, caller: str, text: str = "the answer") -> Outcome:  # noqa: C901 - one branch for each caller
    """Have the output `text` judged by this kind of caller, on this thread."""

    @guard.op
    def op() -> str:
        return text

    @guard.op
    async def aop() -> str:
        return text

    @guard.op
    def stream() -> Iterator[str]:
        yield from text

    @guard.op
    async def astream() -> AsyncIterator[str]:
        for letter in text:
            yield letter

    async def read() -> str:
        return "".join([letter async for letter in astream()])

    try:
        if caller in ("check", "acheck"):
            verdict = (
                guard.check(text, stage="output")
                if caller == "check"
                else running(lambda: guard.acheck(text, stage="output"))
            )
            return Outcome(None if verdict.stops else verdict.guarded, verdict)
        if caller == "op":
            return Outcome(op(), None)
        if caller == "aop":
            return Outcome(running(aop), None)
        if caller == "stream":
            return Outcome("".join(stream()), None)
        return Outcome(running(read), None)
    except GuardrailViolation as violation:
        return Outcome(None, violation.verdict)


def running(make: Callable[[], Any]) -> Any:
    """Run a coroutine, and see that it left no task behind."""

    async def main() -> Any:
        try:
            return await make()
        finally:
            for _ in range(20):  # what was cancelled needs a turn or two to end
                if asyncio.all_tasks() == {asyncio.current_task()}:
                    break
                await asyncio.sleep(0.01)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    return asyncio.run(main())


@pytest.mark.parametrize(("failure", "where", "caller", "on_error"), CELLS)
def test_every_failure_is_an_error_of_its_rule(failure: str, where: str, caller: str, on_error: str) -> None:
    """Whatever goes wrong in a scorer, wherever it runs and whoever asks: the call is stopped if on_error says so and
    goes on if it says so, the error is told, and no word of the scorer's is in what is told.
    """
    fake = FAILURES[failure](where)
    rule = Guardrail(fake, stage="output", on_error=on_error, timeout=0.1 if failure == "hangs" else 5)  # type: ignore[arg-type]
    guard = Guard(rule, Guardrail(Returns(False, name="fine"), stage="output"))
    if isinstance(fake, Recurses):
        fake.guard = guard
    outcome = ask(guard, caller)
    if isinstance(fake, Hangs):
        fake.release()
    if failure == "recurses" and on_error == "allow":
        # The innermost fails and is allowed to: all around it are fine.
        assert outcome.text == "the answer"
        return
    if failure == "recurses":
        assert outcome.text is None
        return
    assert outcome.text == (None if on_error == "block" else "the answer")
    if outcome.verdict is None:
        return
    finding = next(one for one in outcome.verdict.findings if one.rule == fake.name)
    assert finding.outcome == "error"
    assert finding.stops == (on_error == "block")
    assert isinstance(finding.error, Exception)
    if isinstance(finding.error, ScorerError):
        assert "secret" not in str(finding.error)
    if failure == "hangs":
        assert isinstance(finding.error, ScorerTimeoutError)
    violation = GuardrailViolation(outcome.verdict)
    assert "secret" not in f"{violation} {violation.to_dict()} {outcome.verdict}"
    assert violation.code == "guardrail_failed"


CONTROL: tuple[type[BaseException], ...] = (KeyboardInterrupt, SystemExit, Custom, GeneratorExit)


@pytest.mark.parametrize(
    ("control", "where", "caller", "on_error"),
    [
        cell
        for cell in itertools.product(CONTROL, SCORERS, CALLERS, ("block", "allow"))
        # A coroutine that raises GeneratorExit is taken for one that was thrown away.
        if not (cell[0] is GeneratorExit and (cell[1] == "loop" or cell[2] in ("acheck", "aop", "stream", "astream")))
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_control_exceptions_pass_untouched(
    control: type[BaseException], where: str, caller: str, on_error: Any
) -> None:
    """What is no Exception is nobody's failed score: it reaches the caller as it is; the guard goes on working after
    it, its circuit is closed and no other scorer is left running.
    """
    error = control("stop")
    raises = Raises(error, **options(where))
    other = Hangs(name="other", use_async=True)
    guard = Guard(
        Guardrail(raises, stage="output", on_error=on_error, breaker=None if where == "cheap" else Breaker(failures=1)),
        Guardrail(other, stage="output"),
    )
    with pytest.raises(control) as raised:
        ask(guard, caller)
    assert raised.value is error or raised.value.args == ("stop",)
    other.release()
    circuit = guard.guardrails[0].circuit
    assert circuit is None or circuit.state == "closed"
    raises._error = ValueError()
    outcome = ask(guard, caller)
    assert outcome.text == (None if on_error == "block" else "the answer")


@pytest.mark.parametrize("where", ["pool", "loop"])
async def test_a_caller_that_is_cancelled_leaves_nothing_behind(where: str) -> None:
    """Cancelling the caller cancels what it waits for; the probe is returned, no task is left, the pool has room."""
    fake = Hangs(**options(where))
    now = [0.0]
    rule = Guardrail(
        fake, stage="output", timeout=3600, breaker=Breaker(failures=1, cooldown=1.0, clock=lambda: now[0])
    )
    guard = Guard(rule)
    assert rule.circuit is not None
    rule.circuit.failed()
    now[0] = 1.0

    @guard.op
    async def op() -> str:
        return "the answer"

    for make in (lambda: guard.acheck("x", stage="output"), op):
        fake.started.clear()
        task: asyncio.Future[Any] = asyncio.ensure_future(make())
        while not fake.started.is_set():  # noqa: ASYNC110 - an event of threads
            await asyncio.sleep(0.001)
        assert not rule.circuit.admits()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert rule.circuit.state == "half_open"
    fake.release()
    assert (await guard.acheck("x", stage="output")).outcome == "passed"
    assert rule.circuit.state == "closed"
    while asyncio.all_tasks() != {asyncio.current_task()}:  # noqa: ASYNC110 - an event of threads
        await asyncio.sleep(0)
    while guard.workers.lost:  # noqa: ASYNC110 - an event of threads
        await asyncio.sleep(0.001)


def test_an_open_circuit_fails_the_call_as_any_failure_does() -> None:
    """Left alone, a scorer is an error of its rule for every caller, and on_error decides."""
    for caller, on_error in itertools.product(CALLERS, ("block", "allow")):
        rule = Guardrail(
            Raises(ConnectionError("x")),
            stage="output",
            on_error=on_error,  # type: ignore[arg-type]
            breaker=Breaker(failures=1),
        )
        guard = Guard(rule)
        ask(guard, caller)
        outcome = ask(guard, caller)
        assert outcome.text == (None if on_error == "block" else "the answer")
        if outcome.verdict is not None:
            assert isinstance(outcome.verdict.findings[0].error, ScorerUnavailableError)
        assert len(rule.scorer.seen) == 1


@pytest.mark.parametrize("caller", CALLERS)
def test_an_op_of_the_same_guard_inside_a_scorer_is_a_plain_function(caller: str) -> None:
    """A scorer may call an op of the guard it belongs to: nothing is judged in turn, and nobody waits for himself."""
    seen: list[str] = []

    def asks(text: str) -> bool:
        """Calls the op."""
        return bool(helper(text) != "helped")

    guard = Guard(*[Guardrail(asks, stage="output", name=f"r{n}") for n in range(10)])

    @guard.op
    def helper(text: str) -> str:
        """Help."""
        seen.append(text)
        return "helped"

    assert ask(guard, caller).text == "the answer"
    assert seen == ["the answer"] * 10


def test_the_guard_works_on_after_the_worst() -> None:
    """After each failure in turn, many times over, a text that is fine still passes, and threads are not used up."""
    now = threading.active_count()
    for _ in range(3):
        for failure in ("raises", "returns NaN", "is cancelled", "recurses"):
            fake = FAILURES[failure]("pool")
            guard = Guard(Guardrail(fake, stage="output", on_error="allow", breaker=None))
            if isinstance(fake, Recurses):
                fake.guard = guard
            for _ in range(4):
                assert ask(guard, "check").text == "the answer"
            del fake, guard
    assert threading.active_count() <= now + 40


@pytest.mark.parametrize("caller", CALLERS)
def test_the_span_ends_whatever_happens(caller: str, telemetry: CapturedTelemetry) -> None:
    """A control exception in a guardrail ends the call's span too."""
    guard = Guard(Guardrail(Raises(Custom(), cheap=True), stage="output"), **telemetry.providers)
    with pytest.raises(Custom):
        ask(guard, caller)
    assert caller in ("check", "acheck") or len(telemetry.spans) == 1
