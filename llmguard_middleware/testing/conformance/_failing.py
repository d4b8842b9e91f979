"""Claims about what fails: scorers, models, and callers that go away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ..._rules import Guardrail, Monitor
from .._fakes import Hangs, Raises, Returns
from ._scenario import Claim, claim
from ._texts import CLEAN, finds
from ._trial import Trial

__all__ = ["FAILING"]

_TIMEOUT = 0.05  # seconds


def _hangs(trial: Trial) -> Hangs:
    scorer = Hangs(name="fails", use_async=trial.mode.is_async)
    trial.finally_(scorer.release)
    return scorer


_FAILURES: dict[str, Callable[[Trial], Any]] = {
    "raises": lambda _: Raises(lambda: RuntimeError("boom"), name="fails"),
    "hangs": _hangs,
    "talks-nonsense": lambda _: Returns(object(), name="fails"),
}


def _fails(stage: Any, how: str, on_error: Any) -> Claim:
    @claim(stage, f"{on_error}-when-scorer-{how}", needs=(stage,))
    async def body(trial: Trial) -> None:
        scorer = _FAILURES[how](trial)
        trial.build(Guardrail(scorer, stage=stage, on_error=on_error, timeout=_TIMEOUT))
        if on_error == "allow":
            answer = await trial.answered(CLEAN)
            assert (answer.text, trial.script.received) == (trial.script.answer, [CLEAN])
        else:
            answer, violation = await trial.stopped(CLEAN, "guardrail_failed")
            assert violation.retryable, "a guardrail that failed may succeed another time"
            assert not answer.pieces, f"this was released: {answer.text!r}"
            assert stage != "input" or not trial.script.received, "the model was asked although nobody judged"
        assert trial.told() == ("error", ("fails",)), f"the span says {trial.told()}"

    verb = "stops the call" if on_error == "block" else "lets the call pass"
    says = f"A guardrail of the {stage} stage whose scorer {how.replace('-', ' ')} {verb}, since its on_error says so."
    return Claim(body.topic, body.what, says, body.body, body.needs)


class _ModelError(Exception):
    """What a provider raises."""


@claim("model", "error")
async def _model_fails(trial: Trial) -> None:
    """An error of the model is raised as it is, and the span names its type and not its text."""
    trial.build(Guardrail(finds("in"), stage="input"), Guardrail(finds("out"), stage="output"))
    trial.script.error = _ModelError("the text of an error")
    answer = await trial.ask(CLEAN)
    assert type(answer.error) is _ModelError, f"the caller got {answer!r}"
    span = await trial.ended_span()
    assert str(span.attributes["error.type"]).endswith("_ModelError")
    assert (span.status, span.status_description) == ("ERROR", None)


def _in_stream(action: Any) -> Claim:
    @claim("model", f"error-in-stream-{action}", streamed=True)
    async def body(trial: Trial) -> None:
        trial.build(Guardrail(finds("out", local=True), stage="output", action=action))
        trial.script.answer, trial.script.error, trial.script.error_after = "all is well " * 20, _ModelError("no"), 25
        answer = await trial.ask(CLEAN)
        assert type(answer.error) is _ModelError, f"the caller got {answer!r}"
        assert trial.script.answer.startswith(answer.text)
        span = await trial.ended_span()
        assert str(span.attributes["error.type"]).endswith("_ModelError")

    says = f"An error within a stream (output {action}) is raised as it is; what was released before is a prefix."
    return Claim(body.topic, body.what, says, body.body, body.needs, body.streamed)


def _leaves(action: Any) -> Claim:
    @claim("caller", f"leaves-stream-{action}", streamed=True)
    async def body(trial: Trial) -> None:
        monitored = finds("monitored")
        guard = trial.build(Guardrail(finds("out", local=True), stage="output", action=action), Monitor(monitored))
        trial.script.answer = "all is well " * 40
        answer = await trial.ask(CLEAN, at_most=1)
        assert len(answer.pieces) == 1, f"there was {answer!r}"
        span = await trial.ended_span()
        assert span.attributes.get("llmguard.abandoned") is True, f"the span says {dict(span.attributes)}"
        await trial.flushed(guard)
        assert not monitored.seen, "a monitor scored what nobody read"

    says = f"A stream (output {action}) that is left after its first piece ends its span, which says so, unmonitored."
    return Claim(body.topic, body.what, says, body.body, body.needs, body.streamed)


async def _cancelled(trial: Trial, asking: asyncio.Task[None], before: set[asyncio.Task[Any]]) -> None:
    asking.cancel()
    await asyncio.wait([asking], timeout=trial.patience)
    assert asking.cancelled(), "a cancelled call did not end by CancelledError"
    span = await trial.ended_span()
    assert "CancelledError" in str(span.attributes.get("error.type")), f"the span says {dict(span.attributes)}"

    def left() -> list[asyncio.Task[Any]]:
        return [task for task in asyncio.all_tasks() if task not in before and not task.done()]

    await trial.until(lambda: not left(), f"tasks are left over: {left()}")


@claim("caller", "cancels", is_async=True)
async def _cancels(trial: Trial) -> None:
    """A call that is cancelled while the model works ends by CancelledError, ends its span and leaves no task."""
    trial.build(Guardrail(finds("in"), stage="input"), Guardrail(finds("out"), stage="output", action="log"))
    trial.script.gate.shut()
    before = asyncio.all_tasks()
    _, asking = trial.begin(CLEAN)
    await trial.set(trial.script.gate.reached, "the model was not asked")
    await _cancelled(trial, asking, before)


@claim("caller", "cancels-scorer", is_async=True)
async def _cancels_scorer(trial: Trial) -> None:
    """A call that is cancelled while a guardrail judges cancels the scorer too, and the model is never asked."""
    scorer = Hangs(use_async=True)
    trial.finally_(scorer.release)
    trial.build(Guardrail(scorer, stage="input", timeout=2 * trial.patience))
    before = asyncio.all_tasks()
    _, asking = trial.begin(CLEAN)
    await trial.set(scorer.started, "the scorer was not asked")
    await _cancelled(trial, asking, before)
    await trial.set(scorer.cancelled, "the scorer was not cancelled")
    assert not trial.script.received


FAILING: tuple[Claim, ...] = (
    *(_fails(stage, how, on) for stage in ("input", "output") for how in _FAILURES for on in ("block", "allow")),
    _model_fails,
    *(_in_stream(action) for action in ("log", "redact")),
    *(_leaves(action) for action in ("log", "redact")),
    _cancels,
    _cancels_scorer,
)
