"""Claims about what guardrails do with a text: each action at each stage."""

from __future__ import annotations

import re
from typing import Any

from ..._actions import Hash
from ..._rules import Guardrail
from ...errors import UnenforceableError
from ._scenario import Claim, claim
from ._texts import ANSWER, CLEAN, KIND, QUESTION, SECRET, finds, leaks
from ._trial import Trial

__all__ = ["acting", "unreached"]

_EDITS: dict[str, tuple[Any, str]] = {
    "redact": ("redact", f"<{KIND}>"),
    "mask": ("mask", r"\*" * len(SECRET)),
    "hash": (Hash(key=b"k" * 16), rf"<{KIND}:[a-z2-7]{{16}}>"),
    "pseudonymize": ("pseudonymize", rf"<{KIND}_1_[0-9a-f]{{8}}>"),
}


def acting(stages: tuple[str, ...]) -> list[Claim]:
    """The claims about every action at these stages."""
    claims = [passes]
    for stage in stages:
        what: list[Claim] = [*(_edits(stage, word) for word in _EDITS), _replaces(stage), _logs(stage), _blocks(stage)]
        claims += what
    return claims


def unreached(stage: Any) -> Claim:
    """The claim that a stage which an adapter does not reach is not skipped silently."""

    @claim(stage, "unreached", needs=())
    async def body(trial: Trial) -> None:
        for action in ("block", "redact", "replace"):
            guard = trial.guard(Guardrail(finds(), stage=stage, action=action))
            try:
                trial.adapter.build(guard, trial.script)
            except UnenforceableError as error:
                assert "finds" in str(error), "the message does not name the guardrail that cannot be enforced"
            else:
                msg = f"a guardrail at the {stage} stage whose action is {action} was accepted, and will never act"
                raise AssertionError(msg)
        trial.build(Guardrail(finds(), stage=stage, action="log"))

    return _saying(body, f"A guardrail at the {stage} stage is refused where it could act, and let in if it only logs.")


def _saying(one: Claim, says: str) -> Claim:
    return Claim(one.topic, one.what, says, one.body, one.needs, one.streamed, one.is_async)


@claim("call", "unchanged")
async def passes(trial: Trial) -> None:
    """A call in which nothing is flagged reaches the model and its caller as it was, as one span."""
    trial.build(
        Guardrail(finds("in"), stage="input"),
        Guardrail(finds("edit", local=True), stage="input", action="redact"),
        Guardrail(finds("out", local=True), stage="output", action="redact"),
    )
    trial.script.answer = "the answer, as it was\nwith two lines"
    answer = await trial.answered(CLEAN)
    assert answer.text == trial.script.answer, f"the answer became {answer.text!r}"
    assert trial.script.received == [CLEAN], f"the model was asked {trial.script.received}"
    assert trial.span().attributes["llmguard.verdict"] == "passed"


async def _cross(trial: Trial, stage: str, text: str) -> tuple[str, list[str]]:
    """Let `text` cross at a stage; what the caller got, and what arrived."""
    if stage == "input":
        answer = await trial.answered(text)
        return answer.text, trial.script.received
    if stage == "output":
        trial.script.answer = text
        answer = await trial.answered(CLEAN)
        assert not leaks(answer.raw), "the secret is in a field of what the framework returned"
        return answer.text, [answer.text]
    answer = await trial.answered(CLEAN)
    return answer.text, trial.script.arrived.get(stage, [])


def _edits(stage: Any, word: str) -> Claim:
    action, shown = _EDITS[word]
    text = ANSWER if stage == "output" else QUESTION
    expected = re.compile(re.escape(text).replace(SECRET, shown))

    @claim(stage, word, needs=(stage,))
    async def body(trial: Trial) -> None:
        for local in (True, False):
            trial.script.received.clear()
            trial.script.arrived.clear()
            trial.telemetry.clear()
            trial.script.material[stage] = text  # before the subject is built: it may read it then
            trial.script.answer = lambda asked: f"you said: {asked}"
            trial.build(Guardrail(finds(local=local), stage=stage, action=action))
            answer, arrived = await _cross(trial, stage, text)
            assert arrived, f"nothing crossed the {stage} stage"
            assert all(map(expected.fullmatch, arrived)), f"what went on is {arrived}"
            if stage == "input" and word == "pseudonymize":
                assert answer == f"you said: {text}", f"the original is not back in the answer: {answer!r}"
            elif stage == "input":
                assert answer == f"you said: {arrived[0]}", f"the answer became {answer!r}"
            assert trial.told() == ("redacted", ("finds",)), f"the span says {trial.told()}"

    return _saying(body, f"What a guardrail of the {stage} stage finds goes on only as {word} leaves it.")


def _replaces(stage: Any) -> Claim:
    @claim(stage, "replace", needs=(stage,))
    async def body(trial: Trial) -> None:
        text = ANSWER if stage == "output" else QUESTION
        trial.script.material[stage] = text
        trial.build(Guardrail(finds(), stage=stage, action="replace"))
        _, arrived = await _cross(trial, stage, text)
        assert arrived == ["[removed]"], f"what went on is {arrived}"
        assert trial.told() == ("replaced", ("finds",)), f"the span says {trial.told()}"

    return _saying(body, f"A flagged text of the {stage} stage is replaced as a whole.")


def _logs(stage: Any) -> Claim:
    @claim(stage, "log", needs=(stage,))
    async def body(trial: Trial) -> None:
        text = ANSWER if stage == "output" else QUESTION
        trial.script.material[stage] = text
        trial.build(Guardrail(finds(), stage=stage, action="log"))
        if stage == "output":
            trial.script.answer = text
            arrived = [(await trial.answered(CLEAN)).text]
        else:
            _, arrived = await _cross(trial, stage, text)
        assert arrived == [text], f"what went on is {arrived}"
        assert trial.told() == ("flagged", ("finds",)), f"the span says {trial.told()}"

    return _saying(body, f"A guardrail of the {stage} stage that only logs is on the span and changes nothing.")


def _blocks(stage: Any) -> Claim:
    @claim(stage, "block", needs=(stage,))
    async def body(trial: Trial) -> None:
        text = QUESTION if stage == "input" else CLEAN
        trial.script.material[stage] = QUESTION
        if stage == "output":
            trial.script.answer = ANSWER
        trial.build(Guardrail(finds(), stage=stage))
        answer, violation = await trial.stopped(text)
        assert (violation.verdict.stage, violation.verdict.cause.rule) == (stage, "finds")
        assert not answer.pieces, f"this was released before the call was stopped: {answer.text!r}"
        assert not trial.script.arrived.get(stage), "what was blocked went on"
        if stage == "input":
            assert not trial.script.received, "the model was asked what was blocked"
        assert not leaks(violation), "the violation quotes what was blocked"

    return _saying(body, f"A flagged text of the {stage} stage stops the call, and nothing of it goes on.")
