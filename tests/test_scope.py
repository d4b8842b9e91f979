"""What the caller says about the calls inside a block: deadlines, bypasses, and refusals instead of exceptions."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

from llmguard_middleware import (
    Call,
    ConfigurationError,
    Guard,
    Guardrail,
    GuardrailViolation,
    Monitor,
    ScorerTimeoutError,
)
from llmguard_middleware._drive import drive
from llmguard_middleware._flow import Flow
from llmguard_middleware.scorers import pii
from llmguard_middleware.testing import Flags, Hangs, Returns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmguard_middleware.testing import CapturedTelemetry

LATE = 'scorer "hangs" was not done when the deadline of the call came'


@pytest.fixture(params=[False, True], ids=["pool", "loop"])
def hangs(request: pytest.FixtureRequest) -> Iterator[Hangs]:
    """A scorer that hangs until the test is over."""
    fake = Hangs(use_async=request.param)
    yield fake
    fake.release()


def test_a_deadline_ends_a_check(hangs: Hangs) -> None:
    """With deadline= a scorer still at work counts as failed, and its rule says what that means."""
    guard = Guard(Guardrail(hangs, stage="input"), Guardrail(Returns(False), stage="input"))
    verdict = guard.check("x", stage="input", deadline=0.05)
    assert verdict.stops
    assert isinstance(verdict.findings[0].error, ScorerTimeoutError)
    assert str(verdict.findings[0].error) == LATE
    assert verdict.findings[1].outcome == "passed"


async def test_a_deadline_ends_an_async_check(hangs: Hangs) -> None:
    """acheck(deadline=) likewise; with on_error="allow" the text passes."""
    guard = Guard(Guardrail(hangs, stage="input", on_error="allow"))
    verdict = await guard.acheck("x", stage="input", deadline=0.05)
    assert not verdict.stops
    assert str(verdict.findings[0].error) == LATE


@pytest.mark.parametrize(("outer", "inner"), [(0.05, 3600), (3600, 0.05)])
def test_of_nested_deadlines_the_shorter_wins(outer: float, inner: float, hangs: Hangs) -> None:
    """Neither an inner block nor deadline= can make a deadline later."""
    guard = Guard(Guardrail(hangs, stage="input", timeout=3600))
    with guard.deadline(outer), guard.deadline(inner):
        assert str(guard.check("x", stage="input").findings[0].error) == LATE
    with guard.deadline(outer):
        assert str(guard.check("x", stage="input", deadline=inner).findings[0].error) == LATE


def test_a_shorter_time_limit_of_the_rule_still_counts(hangs: Hangs) -> None:
    """A deadline in an hour does not lengthen the rule's own time-out."""
    guard = Guard(Guardrail(hangs, stage="input", timeout=0.05))
    assert (
        str(guard.check("x", stage="input", deadline=3600).findings[0].error)
        == 'scorer "hangs" took longer than 0.05 s'
    )


def test_a_deadline_reaches_ops(hangs: Hangs) -> None:
    """guard.deadline() holds for guarded calls inside."""
    guard = Guard(Guardrail(hangs, stage="output"))

    @guard.op
    def echo(text: str) -> str:
        """The same."""
        return text

    with guard.deadline(0.05), pytest.raises(GuardrailViolation, match="deadline"):
        echo("x")


@pytest.mark.parametrize("seconds", [0, -1, "1", True, float("nan")])
def test_a_deadline_is_a_time_span(seconds: Any) -> None:
    """Anything else is refused in a sentence."""
    guard = Guard(Guardrail(Returns(False), stage="input"))
    with pytest.raises(ConfigurationError, match=r"deadline is .*; give seconds greater than 0"):
        guard.check("x", stage="input", deadline=seconds)


# --- bypass ----------------------------------------------------------------------------------------------------------


def test_a_bypass_is_audited(telemetry: CapturedTelemetry, caplog: pytest.LogCaptureFixture) -> None:
    """The reason is logged, recorded and on each span; verdicts say "skipped", and monitors go on."""
    seen: list[str] = []

    def look(output: str) -> bool:
        """Takes a note."""
        seen.append(output)
        return False

    guard = Guard(Guardrail(Returns(True, cheap=True), stage="input", name="no"), Monitor(look), **telemetry.providers)

    @guard.op
    def echo(text: str) -> str:
        """The same."""
        return text

    with caplog.at_level(logging.WARNING, "llmguard.audit"), guard.bypass(reason="ticket 1234"):
        assert echo("x") == "x"
        verdict = guard.check("x", stage="input")
    assert verdict.outcome == "skipped"
    assert [finding.outcome for finding in verdict.findings] == ["skipped"]
    assert not verdict.stops
    assert "is bypassed: ticket 1234" in caplog.text
    assert any("ticket 1234" in map(str, span.attributes.values()) for span in telemetry.spans if "echo" in span.name)
    assert any("ticket 1234" in map(str, record.attributes.values()) for record in telemetry.records)
    assert guard.flush(5) == 0
    assert seen == ["x"]
    assert guard.check("x", stage="input").outcome == "blocked"


def test_a_bypass_is_of_one_guard() -> None:
    """Other guards go on judging, also inside of it."""
    one, two = (Guard(Guardrail(Returns(True, cheap=True), stage="input"), name=name) for name in ("one", "two"))
    with one.bypass(reason="test"):
        assert one.check("x", stage="input").outcome == "skipped"
        assert two.check("x", stage="input").outcome == "blocked"


@pytest.mark.parametrize("reason", ["", "  ", None, 3])
def test_a_bypass_needs_a_reason(reason: Any) -> None:
    """Without one nothing is switched off."""
    guard = Guard(Guardrail(Returns(True, cheap=True), stage="input"))
    with pytest.raises(ConfigurationError), guard.bypass(reason=reason):
        pass
    assert guard.check("x", stage="input").outcome == "blocked"


def test_a_bypass_ends_with_its_block() -> None:
    """Also if the block is left by an exception; threads started outside of it know nothing of it."""
    guard = Guard(Guardrail(Returns(True, cheap=True), stage="input"))
    said: list[str] = []
    with pytest.raises(KeyError), guard.bypass(reason="test"):  # noqa: PT012 - the block is what is claimed
        thread = threading.Thread(target=lambda: said.append(guard.check("x", stage="input").outcome))
        thread.start()
        thread.join()
        raise KeyError
    assert guard.check("x", stage="input").outcome == "blocked"
    assert said == ["blocked"]


async def test_a_bypass_is_of_one_task() -> None:
    """Tasks that run meanwhile are judged."""
    guard = Guard(Guardrail(Returns(True, cheap=True), stage="input"))
    inside, outside = asyncio.Event(), asyncio.Event()

    async def bypassed() -> str:
        with guard.bypass(reason="test"):
            inside.set()
            await outside.wait()
            return (await guard.acheck("x", stage="input")).outcome

    async def judged() -> str:
        await inside.wait()
        said = (await guard.acheck("x", stage="input")).outcome
        outside.set()
        return said

    assert await asyncio.gather(bypassed(), judged()) == ["skipped", "blocked"]


@pytest.mark.parametrize(
    "rule",
    [
        Guardrail(pii(), stage="output", action="redact"),
        Guardrail(pii(), stage="output", action="block"),
        Guardrail(pii(), stage="output", stream="window"),
    ],
    ids=["redact", "block", "window"],
)
def test_a_bypassed_stream_is_what_the_whole_answer_would_be(rule: Guardrail) -> None:
    """A stream inside a bypass is neither edited nor held nor stopped, as an answer that is not streamed."""
    guard = Guard(rule)
    with guard.bypass(reason="test"):
        flow = Flow(guard, Call("chat"))
        stream = flow.stream()
        released = [stream.feed("mail a@b.co " + "x" * 100), drive(stream.finish(), guard.workers)]
        whole = drive(Flow(guard, Call("chat")).release(["mail a@b.co"]), guard.workers)
    assert whole == ["mail a@b.co"]
    assert released == ["mail a@b.co " + "x" * 100, ""]
    assert [verdict.outcome for verdict in flow.verdicts] == ["skipped"]


def test_a_call_is_bypassed_as_it_began() -> None:
    """What decides is where the call was made: a bypass inside the function is for the calls inside, not for its own
    answer, and a stream that was opened in a bypass stays so.
    """
    guard = Guard(Guardrail(pii(), stage="output", action="redact"))

    @guard.op
    def own(text: str) -> Iterator[str]:
        """Bypasses what it calls while it yields."""
        with guard.bypass(reason="calls inside"):
            yield text
            yield " and on"

    assert "".join(own("a@b.co " + "x" * 100)) == "<EMAIL_ADDRESS> " + "x" * 100 + " and on"
    assert guard.check("a@b.co", stage="output").guarded == "<EMAIL_ADDRESS>"


def test_a_racing_rule_is_bypassed_too() -> None:
    """Nothing is scored inside a bypass, also not by a rule that races with the model."""
    fake = Flags(when="bad")
    guard = Guard(Guardrail(fake, stage="input", race=True))

    @guard.op
    def echo(text: str) -> str:
        """The same."""
        return text

    with guard.bypass(reason="test"):
        assert echo("bad") == "bad"
    assert fake.seen == []


def test_monitors_see_no_personal_data_of_a_bypassed_call() -> None:
    """What a redacting rule would have removed is removed for the monitors still."""
    seen: list[str] = []

    def look(output: str) -> bool:
        """Takes a note."""
        seen.append(output)
        return False

    guard = Guard(Guardrail(pii(), stage="output", action="redact"), Monitor(look))

    @guard.op
    def echo(text: str) -> str:
        """The same."""
        return text

    with guard.bypass(reason="test"):
        assert echo("a@b.co") == "a@b.co"
        assert guard.flush(5) == 0
    assert seen == ["<EMAIL_ADDRESS>"]


# --- refusal ---------------------------------------------------------------------------------------------------------


def test_a_refusal_does_not_stick() -> None:
    """With a refusal the stopped call has an answer, and the calls after it go on."""
    guard = Guard(Guardrail(Flags(when="bad", cheap=True), stage="input"), refusal="I cannot.")

    @guard.op
    def below(text: str) -> str:
        """The same."""
        return text

    @guard.op
    def above(topic: str) -> list[str]:
        """Three calls."""
        return [below("good"), below("bad"), below("good")]

    assert above("x") == ["good", "I cannot.", "good"]


async def test_a_stream_ends_with_the_refusal() -> None:
    """A stream that is stopped gives the refusal, after what it had given."""
    guard = Guard(Guardrail(Flags(when="bad", cheap=True), stage="output"), refusal="I cannot.")

    @guard.op
    async def words(text: str) -> Any:
        """Word by word."""
        for word in text.split():
            yield word

    assert [word async for word in words("so bad")] == ["I cannot."]
