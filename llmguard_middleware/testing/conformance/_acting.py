"""Claims about what guardrails do with a text: each action at each stage."""

from __future__ import annotations

import re
from time import sleep
from typing import Any

from ..._actions import Hash, Reask
from ..._rules import Guardrail
from ...errors import UnenforceableError
from .._fakes import Flags
from ._ask import Answer
from ._scenario import Claim, claim
from ._script import in_sizes
from ._texts import ANSWER, CLEAN, KIND, QUESTION, SECRET, finds, leaks
from ._trial import Trial

__all__ = ["acting", "unreached"]

_EDITS: dict[str, tuple[Any, str]] = {
    "redact": ("redact", f"<{KIND}>"),
    "mask": ("mask", r"\*" * len(SECRET)),
    "hash": (Hash(key=b"k" * 16), rf"<{KIND}:[a-z2-7]{{16}}>"),
    "pseudonymize": ("pseudonymize", rf"<{KIND}_1_[0-9a-f]{{8}}>"),
}
_REFUSAL = "no, sorry"
_LATE = 0.05  # seconds


def acting(stages: tuple[str, ...]) -> list[Claim]:
    """The claims about every action at these stages."""
    claims = [passes]
    for stage in stages:
        what: list[Claim] = [*(_edits(stage, word) for word in _EDITS), _replaces(stage), _logs(stage), _blocks(stage)]
        claims += what
    return [*claims, *_ANSWERS]


def unreached(stage: Any) -> Claim:
    """The claim that a stage which an adapter does not reach is not skipped silently."""

    @claim(stage, "unreached", needs=())
    async def body(trial: Trial) -> None:
        guard = trial.guard(Guardrail(finds(), stage=stage))
        try:
            trial.adapter.build(guard, trial.script)
        except UnenforceableError as error:
            assert "finds" in str(error), "the message does not name the guardrail that cannot be enforced"
        else:
            msg = f"a blocking guardrail at the {stage} stage was accepted, and will never act"
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


@claim("input", "refusal")
async def _refuses_to_ask(trial: Trial) -> None:
    """In refusal mode a blocked request is answered with the refusal, and the model is not asked."""
    trial.build(Guardrail(finds(), stage="input"), refusal=_REFUSAL)
    answer = await trial.answered(QUESTION)
    assert (answer.text, trial.script.received) == (_REFUSAL, [])
    assert trial.span().attributes["llmguard.verdict"] == "blocked"


@claim("output", "refusal")
async def _refuses_to_answer(trial: Trial) -> None:
    """In refusal mode a blocked answer is the refusal, and nothing of what the model said."""
    trial.build(Guardrail(finds(), stage="output"), refusal=_REFUSAL)
    trial.script.answer = ANSWER
    answer = await trial.answered(CLEAN)
    assert answer.text == _REFUSAL, f"the answer is {answer.text!r}"
    assert not leaks(answer.raw), "the secret is in a field of what the framework returned"
    assert trial.span().attributes["llmguard.verdict"] == "blocked"


def _tries(trial: Trial, good_at: int) -> None:
    trial.script.answer = lambda _: "a good answer" if len(trial.script.received) >= good_at else ANSWER


@claim("output", "reask")
async def _asks_again(trial: Trial) -> None:
    """A model whose answer is flagged is told so and asked again; the good answer is the answer."""
    trial.build(Guardrail(finds(), stage="output", action=Reask(feedback="say it otherwise", attempts=2)))
    _tries(trial, good_at=3)
    answer = await trial.answered(CLEAN)
    assert answer.text == "a good answer", f"the answer is {answer.text!r}"
    first, *more = trial.script.received
    assert first == CLEAN
    assert len(more) == 2, f"the model was asked again {len(more)} times"
    assert all("say it otherwise" in request for request in more), "the model was not told what was wrong"
    trial.span()


@claim("output", "reask-at-most")
async def _asks_no_more(trial: Trial) -> None:
    """A model that is asked again too often is not asked any more, and the call is blocked."""
    trial.build(Guardrail(finds(), stage="output", action=Reask(attempts=2)))
    trial.script.answer = ANSWER
    answer, _ = await trial.stopped(CLEAN)
    assert not answer.pieces, f"this was released: {answer.text!r}"
    assert len(trial.script.received) == 3, f"the model was asked {len(trial.script.received)} times"


class _Late(Flags):
    """Finds the secret, some time after the model has begun to answer."""

    def __init__(self, trial: Trial) -> None:
        super().__init__(when=SECRET, kind=KIND, name="races")
        self._trial = trial

    def outcome(self, text: str) -> Any:
        """As the base, later."""
        assert self._trial.script.began.wait(self._trial.patience), "the model was not asked while a guardrail judged"
        sleep(_LATE)  # what is released now, or in all this time, is in the answer when the violation comes
        return super().outcome(text)


async def _raced(trial: Trial, text: str) -> Answer:
    trial.build(Guardrail(_Late(trial), stage="input", race=True, timeout=4 * trial.patience))
    return await trial.ask(text)


@claim("input", "race")
async def _races(trial: Trial) -> None:
    """While a racing guardrail judges, the model works and nothing of its answer is released; then it is stopped."""
    answer = await _raced(trial, QUESTION)
    assert getattr(answer.error, "code", None) == "blocked", f"a violation was expected and there was {answer!r}"
    assert not answer.pieces, f"this was released: {answer.text!r}"


@claim("input", "race-passes")
async def _races_and_passes(trial: Trial) -> None:
    """A racing guardrail that lets a call pass changes nothing."""
    answer = await _raced(trial, CLEAN)
    assert answer.error is None, f"an answer was expected and {answer.error!r} was raised"
    assert answer.text == trial.script.answer, f"the answer became {answer.text!r}"
    assert trial.span().attributes.get("llmguard.verdict") == "passed", "the span does not tell the verdict"


@claim("input", "race-streams", streamed=True)
async def _races_and_streams(trial: Trial) -> None:
    """Once a racing guardrail has let a call pass, the stream is a stream and does not wait for its end."""
    trial.build(Guardrail(finds(), stage="input", race=True))
    trial.script.answer, trial.script.cut = "all is well and " * 8, in_sizes(4)
    answer = await trial.answered(CLEAN)
    assert answer.text == trial.script.answer
    assert len(answer.pieces) > 2, f"the stream came in {len(answer.pieces)} pieces"


@claim("output", "judged-once")
async def _judged_once(trial: Trial) -> None:
    """Each guardrail scores a request once and an answer once."""
    into, out = finds("into"), finds("out")
    trial.build(Guardrail(into, stage="input"), Guardrail(out, stage="output"))
    await trial.answered(CLEAN)
    assert trial.seen_once(into.seen, CLEAN), f"of the request, {into.seen} was scored"
    assert trial.seen_once(out.seen, str(trial.script.answer)), f"of the answer, {out.seen} was scored"


@claim("call", "bypassed")
async def _bypassed(trial: Trial) -> None:
    """Inside bypass() nothing is judged, and the span says why."""
    scorer = finds()
    guard = trial.build(Guardrail(scorer, stage="input"), Guardrail(finds("out"), stage="output"))
    trial.script.answer = ANSWER
    with guard.bypass(reason="a ticket"):
        answer = await trial.answered(QUESTION)
    assert (answer.text, trial.script.received, scorer.seen) == (ANSWER, [QUESTION], [])
    assert trial.span().attributes["llmguard.bypass.reason"] == "a ticket"


@claim("call", "two-guards")
async def _two_guards(trial: Trial) -> None:
    """Of two guards around one subject both apply, the second outside the first, and the call is one span."""
    into = {where: finds(f"in-{where}") for where in ("inside", "outside")}
    out = {where: finds(f"out-{where}") for where in ("inside", "outside")}

    def rules(where: str, action: str) -> tuple[Guardrail, ...]:
        return Guardrail(into[where], stage="input", action=action), Guardrail(
            out[where], stage="output", action=action
        )

    trial.build(*rules("inside", "redact"), name="inside")
    trial.subject = trial.adapter.again(trial.subject, trial.guard(*rules("outside", "mask"), name="outside"))
    trial.script.answer = ANSWER
    answer = await trial.answered(QUESTION)
    masked, redacted = QUESTION.replace(SECRET, "*" * len(SECRET)), ANSWER.replace(SECRET, f"<{KIND}>")
    assert trial.seen_once(into["outside"].seen, QUESTION), f"the outer guard judged {into['outside'].seen}"
    assert trial.seen_once(into["inside"].seen, masked), f"the inner guard judged {into['inside'].seen}"
    assert trial.script.received == [masked], f"the model was asked {trial.script.received}"
    assert trial.seen_once(out["inside"].seen, ANSWER), f"the inner guard judged {out['inside'].seen}"
    assert trial.seen_once(out["outside"].seen, redacted), f"the outer guard judged {out['outside'].seen}"
    assert answer.text == redacted, f"the answer is {answer.text!r}"
    assert trial.span().attributes["llmguard.guard.name"] == "outside"


@claim("call", "guarded-twice")
async def _guarded_twice(trial: Trial) -> None:
    """The same guard around a subject for a second time changes nothing: one span, scored once."""
    scorer = finds()
    guard = trial.build(Guardrail(scorer, stage="input", action="log"))
    trial.subject = trial.adapter.again(trial.subject, guard)
    await trial.answered(QUESTION)
    assert trial.seen_once(scorer.seen, QUESTION), f"the guard judged {scorer.seen}"
    trial.span()


_ANSWERS = (
    _refuses_to_ask,
    _refuses_to_answer,
    _asks_again,
    _asks_no_more,
    _races,
    _races_and_passes,
    _races_and_streams,
    _judged_once,
    _bypassed,
    _two_guards,
    _guarded_twice,
)
