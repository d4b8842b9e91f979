"""Ops: plain functions with a guard around them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from llmguard_middleware import (
    ConfigurationError,
    Guard,
    Guardrail,
    GuardrailViolation,
    Monitor,
    Reask,
    Score,
    Scorer,
    ScorerInputError,
    scorer,
)
from llmguard_middleware.scorers import pii
from llmguard_middleware.testing import CapturedSpan, Flags, Raises

if TYPE_CHECKING:
    from llmguard_middleware.testing import CapturedTelemetry

RULES = (
    Guardrail(Flags(when="bad"), stage="input", name="in"),
    Guardrail(pii(), stage="input", action="redact", name="pii-in"),
    Guardrail(pii(), stage="output", action="redact", name="pii-out"),
)


class Ops:
    """The same function as the four kinds of op."""

    def __init__(self, guard: Guard, answer: Callable[[str], str]) -> None:
        @guard.op
        def sync(text: str) -> str:
            return answer(text)

        @guard.op
        async def coroutine(text: str) -> str:
            await asyncio.sleep(0)
            return answer(text)

        @guard.op
        def generator(text: str) -> Iterator[str]:
            yield from answer(text)

        @guard.op
        async def stream(text: str) -> AsyncIterator[str]:
            for letter in answer(text):
                yield letter

        self._ops = {"sync": sync, "async": coroutine, "generator": generator, "stream": stream}

    async def ask(self, kind: str, text: str) -> str:
        """What the op of this kind answers."""
        op: Any = self._ops[kind]
        if kind == "stream":
            return "".join([piece async for piece in op(text)])
        if kind == "generator":
            return "".join(op(text))
        return str(await op(text) if kind == "async" else op(text))

    async def call(self, kind: str, text: str) -> tuple[str, Any]:
        """The answer and the call."""
        op: Any = self._ops[kind]
        result, call = op.call(text) if kind in ("sync", "generator") else await op.call(text)
        return "".join(result), call


kinds = pytest.mark.parametrize("kind", ["sync", "async", "generator", "stream"])


@kinds
async def test_arguments_and_result_are_guarded(kind: str) -> None:
    """What the function is given and what the caller gets back have passed the guard."""
    seen: list[str] = []
    ops = Ops(Guard(*RULES), lambda text: seen.append(text) or f"{text} and me@example.com")  # type: ignore[func-returns-value]
    assert await ops.ask(kind, "I am a@b.co") == "I am <EMAIL_ADDRESS> and <EMAIL_ADDRESS>"
    assert seen == ["I am <EMAIL_ADDRESS>"]


@kinds
async def test_a_blocked_argument_never_reaches_the_function(kind: str) -> None:
    """The violation is raised to the caller and the function is not called."""
    seen: list[str] = []
    with pytest.raises(GuardrailViolation, match='"in"'):
        await Ops(Guard(*RULES), lambda text: seen.append(text) or "x").ask(kind, "bad")  # type: ignore[func-returns-value]
    assert seen == []


@kinds
async def test_an_op_is_one_span(kind: str, telemetry: CapturedTelemetry) -> None:
    """One span tells the call, its guard and its verdict."""
    guard = Guard(*RULES, **telemetry.providers)
    await Ops(guard, str.upper).ask(kind, "hello")
    name = {"sync": "sync", "async": "coroutine", "generator": "generator", "stream": "stream"}[kind]
    # Under load a guardrail may be slow, and then has a span of its own.
    assert telemetry.span(f"invoke_workflow {name}") == CapturedSpan(
        f"invoke_workflow {name}",
        attributes={
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.workflow.name": name,
            "llmguard.guard.name": "default",
            "llmguard.guard.digest": guard.digest,
            "llmguard.verdict": "passed",
        },
    )


@kinds
async def test_call_gives_the_result_and_the_call(kind: str, telemetry: CapturedTelemetry) -> None:
    """The call has the guarded inputs and output, and the ids of its span."""
    ops = Ops(Guard(*RULES, **telemetry.providers), str.upper)
    result, call = await ops.call(kind, "from a@b.co")
    assert result == "FROM <EMAIL_ADDRESS>"
    assert (call.inputs, call.output, call.answered) == ({"text": "from <EMAIL_ADDRESS>"}, result, True)
    assert (call.trace_id, call.span_id) == (telemetry.spans[-1].trace_id, telemetry.spans[-1].span_id)


class StyleScorer(Scorer):
    """Whether an output matches a style and a reference."""

    def score(self, output: str, prompt: str, style: str, reference: str = "") -> dict[str, Any]:
        """Asks for what the op calls otherwise."""
        return {"style_match": float(style in output), "asked": prompt, "reference": reference}


@scorer
async def later(output: str) -> float:
    """An async scorer."""
    await asyncio.sleep(0)
    return float(len(output))


def styled(guard: Guard) -> Any:
    """The op of the documentation."""

    @guard.op
    def generate(user_input: str, style: str = "") -> str:
        return f"{user_input} in {style}"

    return generate


@pytest.mark.parametrize("sync", [True, False])
async def test_a_scorer_is_applied_to_a_call(sync: bool, telemetry: CapturedTelemetry) -> None:
    """apply_scorer() gives a normalised score with what the scorer returned, and records it in the span's context."""
    guard = Guard(**telemetry.providers)
    _, call = styled(guard).call("hello", style="noir")
    style = StyleScorer(column_map={"prompt": "user_input"})
    extra = {"reference": "ref"}
    if sync:
        score = call.apply_scorer_sync(style, additional_scorer_kwargs=extra)
        call.apply_scorer_sync(later)
    else:
        score = await call.apply_scorer(style, additional_scorer_kwargs=extra)
        await call.apply_scorer(later)
    assert score.result == {"style_match": 1.0, "asked": "hello", "reference": "ref"}
    assert [(one.name, one.score.value, one.source) for one in call.feedback] == [
        ("StyleScorer", 1.0, "scorer"),
        ("later", 13.0, "scorer"),
    ]
    record = telemetry.records[0]
    assert (record.trace_id, record.span_id) == (call.trace_id, call.span_id)
    assert record.attributes["gen_ai.evaluation.name"] == "StyleScorer"
    assert telemetry.span("llmguard.score StyleScorer").links == ("invoke_workflow generate",)


async def test_a_scorer_that_fails_tells_its_caller() -> None:
    """apply_scorer() raises what the scorer raised; the call keeps that it could not be scored."""
    _, call = styled(Guard()).call("hello")
    with pytest.raises(RuntimeError, match="boom"):
        await call.apply_scorer(Raises(RuntimeError("boom")))
    with pytest.raises(ScorerInputError, match='asks for "question"'):
        call.apply_scorer_sync(lambda question: True, name="asks")
    assert [(one.name, one.score.unscored) for one in call.feedback] == [("raises", True), ("asks", True)]


def test_people_rate_calls(telemetry: CapturedTelemetry) -> None:
    """A person's rating is kept with the call and recorded in its span's context, without the comment."""
    _, call = styled(Guard(**telemetry.providers)).call("hello")
    call.add_feedback("helpful", value=1, comment="thanks, says a@b.co", by="kim")
    assert [(one.name, one.score.value, one.source, one.by) for one in call.feedback] == [
        ("helpful", 1, "person", "kim")
    ]
    assert telemetry.records[-1].span_id == call.span_id
    assert telemetry.records[-1].attributes == {
        "gen_ai.evaluation.name": "helpful",
        "gen_ai.evaluation.score.value": 1,
        "llmguard.feedback.source": "person",
        "llmguard.guard.name": "default",
        "llmguard.guard.digest": call._guard.digest,
    }
    with pytest.raises(ConfigurationError, match="needs value="):
        call.add_feedback("helpful")


class Answer(BaseModel):
    """A structured answer."""

    text: str
    sources: list[str]


@dataclass
class Note:
    """A dataclass with a text."""

    text: str
    number: int = 1


def test_texts_inside_values_are_judged() -> None:
    """Every text in arguments and results is judged, in copies of the same types; other values stay what they were."""
    marker = object()

    @Guard(*RULES).op
    def answer(note: Note, *more: str, options: dict[str, Any], **rest: Any) -> Answer:
        assert (note.text, more, options) == ("<EMAIL_ADDRESS>", ("x", "<EMAIL_ADDRESS>"), {"a": ["<EMAIL_ADDRESS>"]})
        assert rest == {"thing": marker, "name": "<EMAIL_ADDRESS>"}
        return Answer(text="e@f.co", sources=["fine", "g@h.co"])

    given = {"a": ["a@b.co"]}
    told = answer(Note("c@d.co"), "x", "y@z.co", options=given, thing=marker, name="n@m.co")
    assert told == Answer(text="<EMAIL_ADDRESS>", sources=["fine", "<EMAIL_ADDRESS>"])
    assert given == {"a": ["a@b.co"]}


def test_methods_are_ops_too() -> None:
    """An op in a class is bound to its instance."""
    guard = Guard(*RULES)

    class Chain:
        def __init__(self, name: str) -> None:
            self.name = name

        @guard.op
        def run(self, text: str) -> str:
            """What it does."""
            return f"{self.name}: {text}"

    assert Chain("a").run("I am a@b.co") == "a: I am <EMAIL_ADDRESS>"
    assert Chain("b").run.call("x")[1].inputs == {"text": "x"}
    assert (Chain.run.__name__, Chain.run.__doc__) == ("run", "What it does.")


def test_an_op_can_be_asked_again() -> None:
    """Reask tells the function, by its parameter `feedback`, what was wrong with its answer, at most so many times."""
    rule = Guardrail(Flags(when="bad"), stage="output", action=Reask(feedback="Be nice.", attempts=2))
    told: list[str] = []

    @Guard(rule).op
    def answer(question: str, feedback: str = "") -> str:
        told.append(feedback)
        return "good" if len(told) > 2 else f"bad {len(told)}"

    assert answer("?") == "good"
    assert told == ["", "Be nice.", "Be nice."]

    @Guard(rule).op
    def stubborn(feedback: str = "") -> str:
        return "bad" + feedback

    with pytest.raises(GuardrailViolation):
        stubborn()


@kinds
async def test_in_refusal_mode_a_stopped_op_answers(kind: str) -> None:
    """A guard with a refusal answers with it in place of raising, at either end."""
    blocks = (*RULES, Guardrail(Flags(when="BAD"), stage="output"))
    assert await Ops(Guard(*blocks, refusal="No."), str.upper).ask(kind, "bad") == "No."
    assert await Ops(Guard(blocks[-1], refusal="No."), str.upper).ask(kind, "bad") == "No."


@kinds
async def test_a_swallowed_violation_sticks(kind: str) -> None:
    """An op that swallows the violation of an op below does not get away with it, nor does a fallback."""
    guard = Guard(*RULES)
    asked: list[str] = []

    @guard.op
    def model(text: str) -> str:
        asked.append(text)
        return text

    def chain(text: str) -> str:
        try:
            return model("bad")
        except GuardrailViolation:
            return _or_nothing(model, "harmless")

    with pytest.raises(GuardrailViolation):
        await Ops(guard, chain).ask(kind, "hello")
    assert asked == []


def _or_nothing(model: Callable[[str], str], text: str) -> str:
    try:
        return model(text)
    except GuardrailViolation:
        return ""


def test_only_the_outermost_op_is_monitored() -> None:
    """Monitors score the outermost call, once; with on="every" each call."""
    outer, every = Flags(name="outer"), Flags(name="every")
    guard = Guard(Monitor(outer), Monitor(every, on="every"))
    model = guard.op(name="model")(str.upper)
    guard.op(lambda text: model(text) + "!")("x")
    assert guard.flush(5) == 0
    assert (outer.seen, sorted(every.seen)) == (["X!"], ["X", "X!"])


def test_an_op_keeps_its_signature() -> None:
    """An op looks like its function to those who inspect it, and refuses what it would refuse."""
    op = styled(Guard())
    assert str(inspect.signature(op)) == "(user_input: 'str', style: 'str' = '') -> 'str'"
    with pytest.raises(TypeError, match="user_input"):
        op()


def test_other_items_of_a_stream_are_judged_too() -> None:
    """What a stream yields besides texts is judged too, and leaves after the text that came before it."""

    def stream() -> Iterator[Any]:
        yield "mail "
        yield {"tool": "c@d.co"}
        yield "a@b.co"

    windowed = Guard(RULES[2])
    assert list(windowed.op(stream)()) == ["mail <EMAIL_ADDRESS>", {"tool": "<EMAIL_ADDRESS>"}]
    held = Guard(RULES[2], Guardrail(Flags(when="bad"), stage="output"))
    assert list(held.op(stream)()) == ["mail <EMAIL_ADDRESS>", {"tool": "<EMAIL_ADDRESS>"}]


@pytest.mark.parametrize("thing", [Note, 3, "x"])
def test_only_functions_become_ops(thing: Any) -> None:
    """Anything else is refused in a sentence."""
    with pytest.raises(ConfigurationError, match=r"^@guard\.op is for functions"):
        Guard().op(thing)


def test_a_scorer_may_call_an_op_of_its_own_guard() -> None:
    """A scorer's own call is not judged in turn, which would never end."""

    def judge(text: str) -> Score:
        return Score(flagged=ask(text) == "X")

    guard = Guard(Guardrail(judge, stage="input", name="judge"))
    ask = guard.op(str.upper, name="ask")
    with pytest.raises(GuardrailViolation):
        ask("x")
