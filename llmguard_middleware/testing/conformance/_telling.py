"""Claims about what a call tells: its span, its evaluation records, its violation."""

from __future__ import annotations

import pickle
from threading import Lock

from ..._rules import Guardrail, Monitor
from ..._score import Score
from .._fakes import Returns
from ._scenario import Claim, claim
from ._texts import ANSWER, CLEAN, QUESTION, SECRET, finds, leaks
from ._trial import Trial

__all__ = ["TELLING"]


@claim("violation", "pickles")
async def _pickles(trial: Trial) -> None:
    """The violation that comes out of the framework survives pickling, whatever its scorer returned."""
    score = Score(value=1.0, flagged=True, metadata={"lock": Lock()})
    trial.build(Guardrail(Returns(score), stage="input"))
    _, violation = await trial.stopped(QUESTION)
    again = pickle.loads(pickle.dumps(violation))  # noqa: S301 - of our own making
    assert type(again) is type(violation)
    assert (again.to_dict(), str(again)) == (violation.to_dict(), str(violation))


@claim("span", "of-blocked-call")
async def _span_of_blocked(trial: Trial) -> None:
    """A blocked call is one span in error, whose verdict and type of error say that it was blocked and by whom."""
    for stage in ("input", "output"):
        trial.telemetry.clear()
        trial.build(Guardrail(finds(), stage=stage))
        trial.script.answer = ANSWER
        await trial.stopped(QUESTION)
        span = trial.span()
        assert span.status == "ERROR"
        assert span.attributes.get("error.type") == "blocked", f"the span says {dict(span.attributes)}"
        assert trial.told() == ("blocked", ("finds",)), f"the span says {trial.told()}"


@claim("span", "nests")
async def _nests(trial: Trial) -> None:
    """The span of a call is below the caller's span, and the model's own spans are below it."""
    trial.build(Guardrail(finds(), stage="input"))
    tracer = trial.telemetry.tracer_provider.get_tracer("trial")

    def answer(_: str) -> str:
        tracer.start_span("request").end()
        return "all is well"

    trial.script.answer = answer
    with tracer.start_as_current_span("caller"):
        await trial.answered(CLEAN)
    parents = {span.name: span.parent for span in trial.telemetry.spans}
    above = str(parents.get("request"))
    if trial.adapter.composite:
        above = str(parents[above])
    assert parents.get(above) == "caller", f"spans and their parents: {parents}"


@claim("span", "records-once")
async def _records_once(trial: Trial) -> None:
    """What each guardrail found is one evaluation record, in the context of the call's span."""
    trial.build(
        Guardrail(finds("in"), stage="input", action="redact"),
        Guardrail(finds("shadow"), stage="input", action="log"),
        Guardrail(finds("out", local=True), stage="output", action="redact"),
    )
    trial.script.answer = ANSWER
    await trial.answered(QUESTION)
    span, records = trial.span(), trial.telemetry.records
    named = [record.attributes.get("llmguard.guardrail.name") for record in records]  # None: several that passed
    assert sorted(str(name) for name in named if name) == ["in", "out", "shadow"], f"the records are of {named}"
    assert {record.event_name for record in records} == {"gen_ai.evaluation.result"}
    spans = trial.telemetry.spans if trial.adapter.composite else [span]
    assert {record.span_id for record in records} <= {span.span_id for span in spans}, "a record is of no call's span"
    assert {record.trace_id for record in records} == {span.trace_id}


@claim("span", "without-content")
async def _without_content(trial: Trial) -> None:
    """Nothing of what was asked, answered, redacted or blocked is in any span or record."""
    trial.build(
        Monitor(finds("monitored")),
        Guardrail(finds("in"), stage="input", action="redact"),
        Guardrail(finds("out"), stage="output"),
    )
    trial.script.answer = ANSWER
    await trial.stopped(QUESTION)
    trial.script.answer = "nothing to say"
    await trial.answered(QUESTION)
    trial.script.error = RuntimeError(SECRET)
    await trial.ask(QUESTION)
    written = repr((trial.telemetry.spans, trial.telemetry.records))
    assert not leaks(written), "the secret is in the telemetry"
    assert "tell me more" not in written, "what was asked is in the telemetry"
    assert "nothing to say" not in written, "what was answered is in the telemetry"


TELLING: tuple[Claim, ...] = (
    _pickles,
    _span_of_blocked,
    _nests,
    _records_once,
    _without_content,
)
