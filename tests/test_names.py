"""The names in use are those of the GenAI semantic conventions, checked against a vendored list of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llmguard_middleware import Call, Guard, GuardrailViolation, Score, Usage
from llmguard_middleware._verdict import Finding, Verdict
from llmguard_middleware.telemetry import _names

if TYPE_CHECKING:
    from llmguard_middleware.testing import CapturedTelemetry

VENDORED = {
    entry["name"]: entry
    for entry in json.loads((Path(__file__).parent / "data" / "semconv_names.json").read_text())["names"]
}
USED = {constant: value for constant, value in vars(_names).items() if constant.isupper()}
THEIRS = {constant: name for constant, name in USED.items() if not name.startswith("llmguard.")}
TYPES: dict[str, Any] = {
    "string": str,
    "enum(string)": str,
    "int": int,
    "double": float,
    "boolean": bool,
    "string[]": tuple,
}


@pytest.mark.parametrize("constant", sorted(THEIRS))
def test_a_name_that_is_not_ours_is_of_the_conventions(constant: str) -> None:
    """Each gen_ai, server and error name is in the conventions, as an attribute or (the evaluation result) an event."""
    entry = VENDORED[THEIRS[constant]]
    assert entry["kind"] == ("event" if constant == "EVALUATION" else "attribute")


def test_nothing_is_vendored_that_is_not_used() -> None:
    """The vendored list is as long as what is in use."""
    assert sorted(VENDORED) == sorted(set(THEIRS.values()))


def test_no_name_is_used_twice() -> None:
    """Two constants never name one thing."""
    assert len(set(USED.values())) == len(USED)


def test_what_is_emitted_has_the_types_of_the_conventions(telemetry: CapturedTelemetry) -> None:
    """Every attribute of a full span and its records has a known name and the type that the conventions give it."""
    emitter = Guard(**telemetry.providers).emitter
    call = Call(
        "chat",
        conversation="c",
        attributes={"user.id": "u", "gen_ai.tool.call.id": "t", "gen_ai.tool.type": "function"},
        provider="openai",
        model="m",
        server_address="h",
        server_port=1,
        settings={
            "temperature": 0.5,
            "top_p": 0.5,
            "top_k": 4,
            "seed": 5,
            "frequency_penalty": 0.5,
            "presence_penalty": 0.5,
            "choices": 2,
            "max_tokens": 1,
            "stop": ["a"],
        },
        streamed=True,
        response_id="r",
        response_model="m",
        finish_reasons=("stop",),
        usage=Usage(1, 2, 3, 4, 5),
    )
    finding = Finding("r", "block", "error", Score(value=1.0, flagged=True), ValueError(), stops=True)
    verdict = Verdict("error", "input", "x", (finding,))
    for end in ("answered", "failed"):
        span = emitter.start(call)
        span.judged(verdict, emitter)
        span.not_scanned(["image"])
        span.verdicts([verdict], emitter, "r")
        span.answered(call) if end == "answered" else span.failed(GuardrailViolation(verdict))
    emitter.start(Call("execute_tool", name="t")).answered(call)
    emitter.start(Call("invoke_workflow", name="w")).answered(call)
    emitter.start(Call("invoke_agent", name="a")).answered(call)
    emitter.monitored(call, None, "m", Score(value=1.0, label="x"), None, 1)
    emitted = [item for one in (*telemetry.spans, *telemetry.records) for item in one.attributes.items()]
    assert {name for name, _ in emitted} <= set(USED.values())
    theirs = [(name, value) for name, value in emitted if name in VENDORED]
    assert [name for name, value in theirs if type(value) is not TYPES[VENDORED[name]["type"]]] == []
    assert {record.event_name for record in telemetry.records} == {"gen_ai.evaluation.result"}
