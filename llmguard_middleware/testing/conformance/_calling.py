"""Claims about whole calls: refusals, asking again, races, a bypass, and guards around guards."""

from __future__ import annotations

from time import sleep
from typing import Any

from ..._actions import Reask
from ..._rules import Guardrail
from .._fakes import Flags
from ._ask import Answer
from ._scenario import Claim, claim
from ._script import in_sizes
from ._texts import ANSWER, CLEAN, KIND, QUESTION, SECRET, finds, leaks
from ._trial import Trial

__all__ = ["CALLING"]

_REFUSAL = "no, sorry"
_LATE = 0.05  # seconds


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


CALLING: tuple[Claim, ...] = (
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
