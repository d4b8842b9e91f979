"""The emitter: whole spans and records, and the one boundary that swallows."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.trace import set_span_in_context

from llmguard_middleware import Call, Finding, Guard, Guardrail, Score, Usage, Verdict, scorer
from llmguard_middleware.testing import CapturedRecord, CapturedSpan

if TYPE_CHECKING:
    from llmguard_middleware.testing import CapturedTelemetry

CHAT = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "unknown"}


@pytest.mark.parametrize(
    ("call", "span"),
    [
        (Call("chat"), CapturedSpan("chat", "CLIENT", attributes=CHAT)),
        (
            Call("chat", model="m", name="ignored"),
            CapturedSpan("chat m", "CLIENT", attributes={**CHAT, "gen_ai.request.model": "m"}),
        ),
        (
            Call("chat", streamed=True, settings={"temperature": 0, "top_k": 2.0, "stop": ["a"]}),
            CapturedSpan(
                "chat",
                "CLIENT",
                attributes={
                    **CHAT,
                    "gen_ai.request.stream": True,
                    "gen_ai.request.temperature": 0.0,
                    "gen_ai.request.top_k": 2,
                    "gen_ai.request.stop_sequences": ("a",),
                },
            ),
        ),
        (
            Call("chat", settings={"temperature": "warm", "seed": float("inf"), "max_tokens": object(), "stop": "end"}),
            CapturedSpan("chat", "CLIENT", attributes={**CHAT, "gen_ai.request.stop_sequences": ("end",)}),
        ),
        (
            Call("embeddings", name="ignored", usage=Usage(3, 0), response_id="r"),
            CapturedSpan(
                "embeddings",
                "CLIENT",
                attributes={
                    "gen_ai.operation.name": "embeddings",
                    "gen_ai.provider.name": "unknown",
                    "gen_ai.usage.input_tokens": 3,
                },
            ),
        ),
        (
            Call("invoke_agent", name="a", model="m", usage=Usage(3, 1, 2), response_id="r", streamed=True),
            CapturedSpan(
                "invoke_agent a",
                attributes={
                    "gen_ai.operation.name": "invoke_agent",
                    "gen_ai.agent.name": "a",
                    "gen_ai.request.model": "m",
                    "gen_ai.usage.input_tokens": 3,
                    "gen_ai.usage.output_tokens": 1,
                },
            ),
        ),
        (
            Call("execute_tool", name="search"),
            CapturedSpan(
                "execute_tool search",
                attributes={
                    "gen_ai.operation.name": "execute_tool",
                    "gen_ai.tool.name": "search",
                    "gen_ai.tool.type": "function",
                },
            ),
        ),
        (
            Call("retrieval", name="index", attributes={"user.id": "u"}),
            CapturedSpan(
                "retrieval index", "CLIENT", attributes={"gen_ai.operation.name": "retrieval", "user.id": "u"}
            ),
        ),
        (
            Call("chat", server_port=80, settings={"max_tokens": 5, "top_p": 0.1, "other": "user text"}, provider="p"),
            CapturedSpan(
                "chat",
                "CLIENT",
                attributes={
                    "gen_ai.operation.name": "chat",
                    "gen_ai.provider.name": "p",
                    "gen_ai.request.max_tokens": 5,
                    "gen_ai.request.top_p": 0.1,
                },
            ),
        ),
        (
            Call("chat", usage=Usage(), response_id="", finish_reasons=()),
            CapturedSpan("chat", "CLIENT", attributes=CHAT),
        ),
        (
            Call("chat", usage=Usage(0, None)),
            CapturedSpan("chat", "CLIENT", attributes={**CHAT, "gen_ai.usage.input_tokens": 0}),
        ),
    ],
)
def test_a_call_is_the_span_of_the_conventions(telemetry: CapturedTelemetry, call: Call, span: CapturedSpan) -> None:
    """Name, kind and attributes are those of the GenAI conventions; what is unknown is left out, zero is not."""
    guard = Guard(**telemetry.providers)
    guard.emitter.start(call).answered(call)
    ours = {"llmguard.guard.name": "default", "llmguard.guard.digest": guard.digest}
    assert telemetry.spans == (replace(span, attributes={**span.attributes, **ours}),)


def test_a_span_starts_and_ends_when_the_call_did(telemetry: CapturedTelemetry) -> None:
    """The call's own times are the span's."""
    call = Call("chat", started=1_000, ended=5_000)
    started = Guard(**telemetry.providers).emitter.start(call)
    started.answered(call)
    span: Any = started.span
    assert (span.start_time, span.end_time) == (1_000, 5_000)


def test_a_parent_may_be_given(telemetry: CapturedTelemetry) -> None:
    """A call starts below the context it is given."""
    parent = telemetry.tracer_provider.get_tracer("app").start_span("app")
    call = Call("chat")
    Guard(**telemetry.providers).emitter.start(call, set_span_in_context(parent)).answered(call)
    parent.end()
    assert telemetry.span("chat").parent == "app"


def judged(*findings: Finding) -> Verdict:
    """A verdict of these findings."""
    return Verdict("passed", "input", "user text", findings)


def test_a_slow_guardrail_is_seen_though_it_passes(telemetry: CapturedTelemetry) -> None:
    """A guardrail that took long has a span of that length; quick and skipped ones have none."""
    emitter = Guard(**telemetry.providers).emitter
    span = emitter.start(Call("chat"))
    slow = Finding("slow", "block", "passed", Score(), seconds=2.0)
    span.judged(
        judged(slow, Finding("quick", "block", "passed", Score()), Finding("none", "block", "skipped")), emitter
    )
    span.answered(Call("chat"))
    assert telemetry.spans[0] == CapturedSpan(
        "llmguard.guardrail slow",
        parent="chat",
        attributes={
            "llmguard.guard.name": "default",
            "llmguard.guard.digest": emitter.digest,
            "llmguard.guardrail.name": "slow",
            "llmguard.stage": "input",
            "llmguard.action": "block",
            "llmguard.verdict": "passed",
        },
    )
    assert len(telemetry.spans) == 2


def test_the_label_of_a_score_is_kept(telemetry: CapturedTelemetry) -> None:
    """A record has the scorer's own label where there is one, the outcome else, and no explanation."""
    emitter = Guard(**telemetry.providers).emitter
    span = emitter.start(Call("chat"))
    score = Score(value=2.0, flagged=True, label="PII", explanation="user text", metadata={"quote": "user text"})
    span.verdicts(
        [judged(Finding("pii", "log", "flagged", score), Finding("b", "log", "flagged", Score()))], emitter, "r"
    )
    span.answered(Call("chat"))
    digest = emitter.digest
    chat = telemetry.span("chat")
    shared = {
        "llmguard.stage": "input",
        "llmguard.action": "log",
        "llmguard.verdict": "flagged",
        "gen_ai.response.id": "r",
        "llmguard.guard.name": "default",
        "llmguard.guard.digest": digest,
    }
    one = {
        "gen_ai.evaluation.name": "pii",
        "gen_ai.evaluation.score.value": 2.0,
        "gen_ai.evaluation.score.label": "PII",
        "llmguard.guardrail.name": "pii",
    }
    two = {"gen_ai.evaluation.name": "b", "gen_ai.evaluation.score.label": "flagged", "llmguard.guardrail.name": "b"}
    assert telemetry.records == tuple(
        CapturedRecord("gen_ai.evaluation.result", {**shared, **own}, chat.trace_id, chat.span_id) for own in (one, two)
    )
    assert "user text" not in repr(telemetry.spans) + repr(telemetry.records)


@pytest.mark.parametrize(
    ("spans", "kinds"),
    [
        ([(0, 4, "NAME"), (10, 16, "CITY_2"), (0, 4, "NAME")], ("CITY_2", "NAME")),
        ([(0, 4, "Hong"), (10, 16, "in Jeonju today"), (0, 4, "NAME")], ("NAME",)),
        ([(0, 4, "hong-of-Jeonju"), (10, 16, "number 900101")], None),
        (
            [(5, 16, f"KIND_{letter}") for letter in "abcdefghijklmnopqrstuvwxyz"],
            tuple(f"KIND_{x}" for x in "abcdefghijklmnopqrst"),
        ),
    ],
    ids=["sorted, each once", "quotes its text", "nothing else", "not without end"],
)
def test_a_span_says_what_was_redacted_by_its_kinds(
    telemetry: CapturedTelemetry, spans: list[tuple[int, int, str]], kinds: tuple[str, ...] | None
) -> None:
    """The kinds of what was redacted are on the call's span; a kind that quotes its text, or is no name, is not."""

    @scorer
    def people(text: str) -> dict[str, Any]:
        return {"flagged": True, "spans": spans}

    guard = Guard(Guardrail(people, stage="input", action="redact"), **telemetry.providers)
    guard.op(len)("Hong from Jeonju")
    attributes = telemetry.span("invoke_workflow len").attributes
    assert attributes.get("llmguard.redacted.kinds") == kinds
    assert attributes["llmguard.flagged_by"] == ("people",)


def test_a_failure_of_telemetry_is_swallowed(telemetry: CapturedTelemetry, caplog: pytest.LogCaptureFixture) -> None:
    """A provider that raises while a span is told how its call went breaks nothing, and is logged by type."""

    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("user text")

    emitter = Guard(**telemetry.providers).emitter
    span = emitter.start(Call("chat"))
    span.span = Broken()  # type: ignore[assignment]
    span.answered(Call("chat"))
    span.failed(ValueError())
    span.interrupted()
    span.abandoned()
    assert caplog.messages == ["telemetry could not be written: RuntimeError"] * 4


def test_spans_may_be_written_from_many_threads(telemetry: CapturedTelemetry) -> None:
    """One emitter serves all threads."""
    emitter = Guard(**telemetry.providers).emitter

    def work() -> None:
        for _ in range(50):
            emitter.start(Call("chat")).answered(Call("chat"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(telemetry.spans) == 200
