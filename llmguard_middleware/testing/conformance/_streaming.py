"""Claims about streams: wherever the model cuts its answer, the reader gets what a whole answer would have been."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ..._rules import Guardrail
from ._scenario import Claim, claim
from ._script import in_sizes
from ._texts import ANSWER, CLEAN, KIND, QUESTION, SECRET, finds, leaks, shows
from ._trial import Trial

__all__ = ["STREAMING"]

_REDACTED = ANSWER.replace(SECRET, f"<{KIND}>")
_AT = ANSWER.index(SECRET)


def _at(border: int) -> Callable[[str], Sequence[str]]:
    return lambda text: [text[:border], text[border:]]


def _cuts() -> Iterator[tuple[str, Callable[[str], Sequence[str]]]]:
    """Every border before, in and after the secret; single characters; the whole."""
    for border in range(_AT, _AT + len(SECRET) + 1):
        yield f"at {border - _AT}", _at(border)
    yield "into characters", in_sizes(1)
    yield "not at all", in_sizes(1000)


def _every_cut(what: str, *, local: bool) -> Claim:
    @claim("stream", what, needs=("output",), streamed=True)
    async def body(trial: Trial) -> None:
        trial.build(Guardrail(finds(local=local), stage="output", action="redact"))
        trial.script.answer = ANSWER
        for where, trial.script.cut in _cuts():
            answer = await trial.answered(CLEAN)
            assert not shows(answer.text), f"cut {where}, characters of the secret were released: {answer.pieces}"
            assert answer.text == _REDACTED, f"cut {where}, the stream became {answer.text!r}"
            assert not leaks(answer.raw), f"cut {where}, the secret is in a field of what the framework returned"

    kind = "local scorer, which does not hold the stream," if local else "scorer that needs the whole answer"
    says = f"A match of a {kind} is redacted wherever the model cuts it, and nothing else is changed."
    return Claim(body.topic, body.what, says, body.body, body.needs, body.streamed)


@claim("stream", "block", needs=("output",), streamed=True)
async def _blocked(trial: Trial) -> None:
    """Nothing of a stream that is blocked is released, wherever the model cuts it."""
    trial.build(Guardrail(finds(), stage="output"))
    trial.script.answer = ANSWER
    for where, trial.script.cut in _cuts():
        answer, _ = await trial.stopped(CLEAN)
        assert not answer.pieces, f"cut {where}, this was released: {answer.text!r}"


@claim("stream", "block-in-window", needs=("output",), streamed=True)
async def _blocked_in_window(trial: Trial) -> None:
    """With stream="window" what was released of a blocked stream is a prefix that ends before the match."""
    trial.build(Guardrail(finds(local=True), stage="output", stream="window"))
    trial.script.answer = ANSWER
    for where, trial.script.cut in _cuts():
        answer, _ = await trial.stopped(CLEAN)
        assert ANSWER[:_AT].startswith(answer.text), f"cut {where}, this was released: {answer.text!r}"


@claim("stream", "originals-back", streamed=True)
async def _originals_back(trial: Trial) -> None:
    """A placeholder that the model repeats becomes the original again, wherever the model cuts it."""
    trial.build(Guardrail(finds(), stage="input", action="pseudonymize"))
    trial.script.answer = lambda asked: f"you said: {asked}"
    before = f"you said: {QUESTION}".index(SECRET)
    cuts: list[tuple[str, Callable[[str], Sequence[str]]]] = [
        (f"at {border}", _at(before + border)) for border in range(len(f"<{KIND}_1_01234567>") + 1)
    ]
    for where, trial.script.cut in [*cuts, ("into characters", in_sizes(1))]:
        answer = await trial.answered(QUESTION)
        assert answer.text == f"you said: {QUESTION}", f"cut {where}, the stream became {answer.text!r}"
    assert not any(map(shows, trial.script.received)), "the model was told the original"


@claim("stream", "stays-a-stream", needs=("output",), streamed=True)
async def _stays(trial: Trial) -> None:
    """A reader gets the beginning of an answer that is redacted through a window while the model still works."""
    trial.build(Guardrail(finds(local=True), stage="output", action="redact"))
    trial.script.answer, trial.script.gate_after = "all is well " * 40, 60
    trial.script.gate.shut()
    answer, asking = trial.begin(CLEAN)
    await trial.until(lambda: bool(answer.pieces), "the reader got nothing before the model was done")
    trial.script.gate.open()
    await asking
    assert (answer.error, answer.text) == (None, trial.script.answer)


@claim("stream", "logs", needs=("output",), streamed=True)
async def _logged(trial: Trial) -> None:
    """A guardrail that only logs does not hold a stream: each piece is released as the model gave it."""
    trial.build(Guardrail(finds(), stage="output", action="log"))
    trial.script.answer = ANSWER
    answer = await trial.answered(CLEAN)
    assert answer.pieces == trial.script.cut(ANSWER), f"the pieces are {answer.pieces}"


STREAMING: tuple[Claim, ...] = (
    _every_cut("redact-in-window", local=True),
    _every_cut("redact-held", local=False),
    _blocked,
    _blocked_in_window,
    _originals_back,
    _stays,
    _logged,
)
