"""Claims about who else is there: monitors, an outermost call that swallows violations, and calls at the same time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

from ..._guard import Guard
from ..._rules import Guardrail, Monitor
from ..._score import Score, TextSpan
from ...errors import ConfigurationError, GuardrailViolation
from .._fakes import Hangs, Raises
from ._ask import Answer, ask_here, ask_later
from ._scenario import Claim, claim
from ._texts import ANSWER, CLEAN, KIND, QUESTION, SECRET, finds, leaks
from ._trial import Refused, Trial

__all__ = ["WATCHING"]

_THREADS, _TASKS = 8, 20


class _Sees:
    """Keeps all that a monitor may ask for."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    def score(
        self, output: str, text: Any = None, question: Any = None, messages: Any = None, inputs: Any = None
    ) -> bool:
        self.seen.append((output, text, question, messages, inputs))
        return False


@claim("monitor", "once")
async def _scored_once(trial: Trial) -> None:
    """A monitor scores an answered call once, with the answer that the caller got."""
    sees = _Sees()
    guard = trial.build(Monitor(sees, name="sees"))
    await trial.answered(CLEAN)
    await trial.flushed(guard)
    assert [one[0] for one in sees.seen] == [trial.script.answer], f"it scored {sees.seen}"


@claim("monitor", "sees-no-secret")
async def _sees_no_secret(trial: Trial) -> None:
    """A monitor never sees what guardrails redacted, at either end."""
    sees = _Sees()
    guard = trial.build(
        Monitor(sees, name="sees"),
        Guardrail(finds("in"), stage="input", action="redact"),
        Guardrail(finds("out", local=True), stage="output", action="redact"),
    )
    trial.script.answer = ANSWER
    await trial.answered(QUESTION)
    await trial.flushed(guard)
    assert [one[0] for one in sees.seen] == [ANSWER.replace(SECRET, f"<{KIND}>")], f"it scored {len(sees.seen)} calls"
    assert not any(leaks(one, [m.text for m in one[3] or ()]) for one in sees.seen), "it saw what was redacted"


@claim("monitor", "sees-pseudonyms")
async def _sees_pseudonyms(trial: Trial) -> None:
    """A monitor sees pseudonyms where the caller gets the originals back."""
    sees = _Sees()
    guard = trial.build(Monitor(sees, name="sees"), Guardrail(finds(), stage="input", action="pseudonymize"))
    trial.script.answer = lambda asked: f"you said: {asked}"
    await trial.answered(QUESTION)
    await trial.flushed(guard)
    assert len(sees.seen) == 1, f"it scored {len(sees.seen)} calls"
    assert f"<{KIND}_1_" in sees.seen[0][0], f"as the answer it saw {sees.seen[0][0]!r}"
    assert not any(leaks(one, [m.text for m in one[3] or ()]) for one in sees.seen), "it saw the original"


@claim("monitor", "not-when-blocked")
async def _not_when_blocked(trial: Trial) -> None:
    """A monitor does not score calls that are blocked at either end, nor those in which the model fails."""
    sees = _Sees()
    guard = trial.build(
        Monitor(sees, name="sees"), Guardrail(finds("in"), stage="input"), Guardrail(finds("out"), stage="output")
    )
    await trial.stopped(QUESTION)
    trial.script.answer = ANSWER
    await trial.stopped(CLEAN)
    trial.script.error = RuntimeError("boom")
    await trial.ask(CLEAN)
    await trial.flushed(guard)
    assert not sees.seen, f"it scored {len(sees.seen)} calls"


@claim("monitor", "in-background")
async def _in_background(trial: Trial) -> None:
    """A monitor that hangs or raises changes nothing, and nobody waits for it."""
    hangs = Hangs(name="hangs")
    trial.finally_(hangs.release)
    guard = trial.build(Monitor(hangs), Monitor(Raises(lambda: RuntimeError("boom"), name="raises")))
    answer = await trial.answered(CLEAN)
    assert answer.text == trial.script.answer
    assert not hangs.ended.is_set()
    assert "llmguard.verdict" not in trial.span().attributes
    hangs.release()
    await trial.flushed(guard)


@claim("monitor", "outermost")
async def _outermost(trial: Trial) -> None:
    """Under a call of the same guard, a monitor scores only that outermost call."""
    sees = _Sees()
    guard = trial.build(Monitor(sees, name="sees"))
    await _outermost_call(trial, guard, lambda ask: f"{ask(CLEAN).text}, it says")
    await trial.flushed(guard)
    assert [one[0] for one in sees.seen] == [f"{trial.script.answer}, it says"], f"it scored {sees.seen}"


async def _outermost_call(trial: Trial, guard: Guard, body: Callable[[Callable[[str], Answer]], str]) -> None:
    """Run `body`, which asks the subject, as an outermost call of this guard, in a thread where asking is sync."""

    def ask(text: str) -> Answer:
        answer = Answer(trial.adapter)
        if trial.mode.is_async:
            asyncio.run(ask_later(trial.adapter, trial.subject, trial.mode, text, answer))
        else:
            ask_here(trial.adapter, trial.subject, trial.mode, text, answer)
        return answer

    try:
        await asyncio.to_thread(guard.op(lambda: body(ask)))
    except ConfigurationError as error:
        raise Refused(str(error)) from error


@claim("violation", "sticks")
async def _sticks(trial: Trial) -> None:
    """A violation that the code above swallows is raised again by the next call below it, and at its own end."""
    guard = trial.build(Guardrail(finds(), stage="input"))
    said: list[str] = []

    def agent(ask: Callable[[str], Answer]) -> str:
        for text in (QUESTION, CLEAN):
            try:
                ask(text)
                said.append("answered")
            except GuardrailViolation:
                said.append("stopped")
        return "nothing happened"

    try:
        await _outermost_call(trial, guard, agent)
    except GuardrailViolation:
        said.append("stopped")
    assert said == ["stopped", "stopped", "stopped"], f"first call, second call, outermost call: {said}"
    assert not trial.script.received, "the model was asked after the violation"


def _words(text: str) -> Score:
    """Finds every word in capitals."""
    spans = tuple(TextSpan(*word.span(), KIND) for word in re.finditer(r"[A-Z]{20}", text))
    return Score(flagged=bool(spans), spans=spans)


@claim("call", "many-at-once")
async def _many_at_once(trial: Trial) -> None:
    """Calls at the same time never mix: each gets its own originals back, and each numbers its own pseudonyms."""
    trial.build(Guardrail(_words, stage="input", action="pseudonymize", name="words"))
    trial.script.answer = lambda asked: f"you said: {asked}"
    texts = [f"keep {SECRET[at:] + SECRET[:at]} safe" for at in range(_TASKS if trial.mode.is_async else _THREADS)]
    answers = await asyncio.gather(*map(trial.ask, texts))
    assert [answer.error for answer in answers] == [None] * len(texts)
    wrong = [answer.text for text, answer in zip(texts, answers, strict=True) if answer.text != f"you said: {text}"]
    assert not wrong, f"answers of other calls: {wrong}"
    pattern = re.compile(rf"keep <{KIND}_1_[0-9a-f]{{8}}> safe")
    assert all(map(pattern.fullmatch, trial.script.received)), f"the model was asked {trial.script.received}"
    assert len(set(trial.script.received)) == len(texts), "two calls share a pseudonym"
    assert len(trial.spans) == len(texts)


WATCHING: tuple[Claim, ...] = (
    _scored_once,
    _sees_no_secret,
    _sees_pseudonyms,
    _not_when_blocked,
    _in_background,
    _outermost,
    _sticks,
    _many_at_once,
)
