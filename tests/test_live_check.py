"""The live check itself: what breaks the conventions is found, and what keeps them is not."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from live_check import violations
from live_check._conventions import DATA, OURS, THEIRS

from llmguard_middleware.telemetry import _names
from llmguard_middleware.testing import CapturedPoint, CapturedRecord, CapturedSpan

SHARED = Path(__file__).parents[2] / "shared" / "semconv"
GUARDED = {"llmguard.guard.name": "default", "llmguard.guard.digest": "0"}
CHAT = CapturedSpan(
    "chat m",
    "CLIENT",
    attributes={
        **GUARDED,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.stop_sequences": ("a",),
        "gen_ai.usage.input_tokens": 1,
        "server.address": "h",
        "server.port": 1,
    },
)


def _span(name: str, kind: str, **attributes: Any) -> CapturedSpan:
    told = {f"gen_ai.{key.replace('__', '.')}": value for key, value in attributes.items()}
    return CapturedSpan(name, kind, attributes={**GUARDED, **told})


SPANS = {
    "chat": CHAT,
    "embeddings": _span("embeddings e", "CLIENT", operation__name="embeddings", provider__name="x", request__model="e"),
    "retrieval": _span("retrieval s", "CLIENT", operation__name="retrieval", data_source__id="s"),
    "retrieval-named": _span("retrieval Finds", "CLIENT", operation__name="retrieval"),
    "tool": _span("execute_tool t", "INTERNAL", operation__name="execute_tool", tool__name="t"),
    "agent": _span("invoke_agent a", "INTERNAL", operation__name="invoke_agent", agent__name="a"),
    "agent-unnamed": _span("invoke_agent", "INTERNAL", operation__name="invoke_agent"),
    "workflow": _span("invoke_workflow w", "INTERNAL", operation__name="invoke_workflow", workflow__name="w"),
    "rerank": _span("rerank Sorts", "INTERNAL", operation__name="rerank"),
    "guardrail": CapturedSpan(
        "llmguard.guardrail g",
        attributes={
            **GUARDED,
            "llmguard.guardrail.name": "g",
            "llmguard.stage": "input",
            "llmguard.action": "block",
            "llmguard.verdict": "blocked",
        },
    ),
    "monitor": CapturedSpan(
        "llmguard.monitor m",
        attributes={**GUARDED, "llmguard.monitor.name": "m", "gen_ai.evaluation.name": "m"},
    ),
    "score": CapturedSpan("llmguard.score s", attributes={**GUARDED, "gen_ai.evaluation.name": "s"}),
}
RECORD = CapturedRecord(
    "gen_ai.evaluation.result",
    {**GUARDED, "gen_ai.evaluation.name": "g", "gen_ai.evaluation.score.label": "passed"},
)
POINT = CapturedPoint(
    "gen_ai.client.operation.duration",
    {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai"},
    1.0,
    1,
    "s",
    "histogram",
    tuple(THEIRS["metrics"]["gen_ai.client.operation.duration"]["buckets"]),
)
OWN_POINT = CapturedPoint("llmguard.cost", {"gen_ai.operation.name": "chat"}, 1.0, None, "{USD}", "counter")


def _but(item: Any, **attributes: Any) -> Any:
    told = {name.replace("__", "."): value for name, value in attributes.items()}
    kept = {**item.attributes, **told}
    return replace(item, attributes={name: value for name, value in kept.items() if value is not None})


@pytest.mark.parametrize("which", list(SPANS))
def test_a_span_that_keeps_the_conventions_is_not_found(which: str) -> None:
    """A whole span of each kind passes."""
    assert violations([SPANS[which]]) == []


@pytest.mark.parametrize("which", list(SPANS))
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "something else"}, "name|required|called"),
        ({"kind": "PRODUCER"}, "its kind is PRODUCER"),
        ({"status": "ERROR"}, "error.type is required"),
        ({"status": "OK"}, "status is OK"),
        ({"events": ("exception",)}, 'an event "exception"'),
    ],
)
def test_a_broken_span_of_each_kind_is_found(which: str, change: dict[str, Any], said: str) -> None:
    """Name, kind, status and events of each kind of span are looked at."""
    if which.startswith("retrieval") and "name" in change:
        change = {"name": "search"}
    found = violations([replace(SPANS[which], **change)])
    assert re.search(said, "\n".join(found))


@pytest.mark.parametrize("which", list(SPANS))
@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"gen_ai.made.up": 1}, "gen_ai.made.up is in no convention"),
        ({"llmguard.made.up": 1}, "llmguard.made.up is in no convention"),
        ({"other": 1}, "other is in no convention"),
        ({"gen_ai.system": "openai"}, "gen_ai.system is deprecated"),
        ({"gen_ai.usage.prompt_tokens": 1}, "gen_ai.usage.prompt_tokens is deprecated"),
        ({"llmguard.guard.name": None}, "llmguard.guard.name is required"),
        ({"llmguard.guard.digest": None}, "llmguard.guard.digest is required"),
        ({"llmguard.redactions": 1.0}, "llmguard.redactions is float, not int"),
        ({"error.type": "ValueError"}, "its status is no error"),
    ],
)
def test_attributes_of_each_kind_of_span_are_looked_at(which: str, attributes: dict[str, Any], said: str) -> None:
    """No unknown, deprecated or mistyped attribute, and none without the guard's name and digest."""
    assert any(said in found for found in violations([_but(SPANS[which], **attributes)]))


@pytest.mark.parametrize(
    ("which", "attributes", "said"),
    [
        ("chat", {"gen_ai.provider.name": None}, "gen_ai.provider.name is required"),
        ("chat", {"gen_ai.provider.name": "Open AI"}, "not a lower-case identifier"),
        ("chat", {"gen_ai.operation.name": None}, "gen_ai.operation.name is required"),
        ("chat", {"gen_ai.operation.name": "completion"}, "neither the conventions nor our README know"),
        ("chat", {"gen_ai.request.model": "other"}, 'it should be called "chat other"'),
        ("chat", {"gen_ai.request.model": None}, 'it should be called "chat"'),
        ("chat", {"gen_ai.request.temperature": 1}, "gen_ai.request.temperature is int, not double"),
        ("chat", {"gen_ai.request.top_k": 1.0}, "gen_ai.request.top_k is float, not int"),
        ("chat", {"gen_ai.request.top_k": True}, "gen_ai.request.top_k is bool, not int"),
        ("chat", {"gen_ai.request.stop_sequences": "a"}, "gen_ai.request.stop_sequences is str, not string[]"),
        ("chat", {"gen_ai.request.stop_sequences": (1,)}, "gen_ai.request.stop_sequences is tuple, not string[]"),
        ("chat", {"gen_ai.request.choice.count": 1}, "told although it is 1"),
        ("chat", {"gen_ai.request.stream": False}, "told although nothing is streamed"),
        ("chat", {"gen_ai.response.time_to_first_chunk": 0.1}, "without gen_ai.request.stream"),
        ("chat", {"gen_ai.output.type": "xml"}, "not in its enumeration"),
        ("chat", {"gen_ai.tool.name": "t"}, "gen_ai.tool.name does not belong here"),
        ("chat", {"gen_ai.prompt.version": "1"}, "without gen_ai.prompt.name"),
        ("chat", {"server.port": None}, "server.port is required"),
        ("chat", {"server.address": None}, "server.port is there without"),
        ("chat", {"gen_ai.input.messages": "[{"}, "no valid JSON"),
        ("chat", {"gen_ai.input.messages": '[{"role": "user"}]'}, "breaks its schema at $[0]"),
        ("embeddings", {"gen_ai.provider.name": None}, "gen_ai.provider.name is required"),
        ("tool", {"gen_ai.tool.name": None}, "gen_ai.tool.name is required"),
        ("tool", {"gen_ai.usage.input_tokens": 1}, "gen_ai.usage.input_tokens does not belong here"),
        ("agent", {"gen_ai.agent.name": None}, 'it should be called "invoke_agent"'),
        ("workflow", {"gen_ai.request.stream": True}, "gen_ai.request.stream does not belong here"),
        ("retrieval", {"gen_ai.retrieval.documents": '[{"id": 1}]'}, "breaks its schema"),
        ("guardrail", {"llmguard.stage": None}, "llmguard.stage is required"),
        ("monitor", {"llmguard.monitor.name": None}, "llmguard.monitor.name is required"),
        ("score", {"gen_ai.evaluation.name": None}, "gen_ai.evaluation.name is required"),
    ],
)
def test_what_an_operation_has_to_tell_is_looked_at(which: str, attributes: dict[str, Any], said: str) -> None:
    """Requirements, types, enumerations and schemas of each operation."""
    assert any(said in found for found in violations([_but(SPANS[which], **attributes)]))


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (RECORD, ""),
        (replace(RECORD, event_name="made.up"), "the event is in no convention"),
        (_but(RECORD, **{"gen_ai.evaluation.name": None}), "gen_ai.evaluation.name is required"),
        (_but(RECORD, **{"gen_ai.evaluation.score.label": None}), "one of gen_ai.evaluation.score.value"),
        (_but(RECORD, **{"gen_ai.evaluation.score.value": 1}), "is int, not double"),
        (_but(RECORD, **{"llmguard.guard.digest": None}), "llmguard.guard.digest is required"),
        (_but(RECORD, **{"gen_ai.request.model": "m"}), "gen_ai.request.model does not belong here"),
    ],
)
def test_records_are_looked_at(record: CapturedRecord, said: str) -> None:
    """Event names, what an evaluation has to tell, and types."""
    found = violations([], [record])
    assert (found == []) if not said else any(said in one for one in found)


@pytest.mark.parametrize(
    ("point", "said"),
    [
        (POINT, ""),
        (OWN_POINT, ""),
        (replace(POINT, metric="made.up"), "the metric is in no convention"),
        (replace(POINT, unit="ms"), 'its unit is "ms", not "s"'),
        (replace(POINT, kind="counter"), "it is a counter, not a histogram"),
        (replace(POINT, buckets=(1.0,)), "its buckets"),
        (_but(POINT, **{"gen_ai.operation.name": None}), "gen_ai.operation.name is required"),
        (_but(POINT, **{"gen_ai.response.id": "r"}), "gen_ai.response.id does not belong here"),
        (_but(OWN_POINT, **{"llmguard.stage": "input"}), "llmguard.stage does not belong here"),
        (replace(OWN_POINT, kind="gauge"), "it is a gauge, not a counter"),
    ],
)
def test_metrics_are_looked_at(point: CapturedPoint, said: str) -> None:
    """Names, instruments, units, buckets and attribute sets."""
    found = violations([], [], [point])
    assert (found == []) if not said else any(said in one for one in found)


def test_the_readme_has_every_name_of_ours_and_no_other() -> None:
    """The tables of telemetry/README.md and the constants of _names.py are the same names."""
    ours = {value for constant, value in vars(_names).items() if constant.isupper() and value.startswith("llmguard.")}
    told = set(OURS.attributes) | OURS.events | set(OURS.metrics)
    assert ours <= told


def test_the_vendored_conventions_are_those_of_the_project() -> None:
    """What is vendored says what ../shared/semconv says, where that is there; requirement levels, types and buckets."""
    if not SHARED.is_dir():
        return
    shared = json.loads((SHARED / "genai.json").read_text())
    vendored = json.loads((DATA / "genai.json").read_text())
    for name, told in vendored["attributes"].items():
        assert told["type"] == shared["attributes"][name]["type"]
        assert bool(told.get("deprecated")) == bool(shared["attributes"][name]["deprecated"])
        members = shared["attributes"][name].get("members") or []
        assert told.get("members", []) == [member["value"] for member in members]
    for group, of in (("spans", "span_kind"), ("metrics", "unit"), ("events", "")):
        for name, told in vendored[group].items():
            theirs = shared[group][name]
            if of:
                assert told[of.removeprefix("span_")] == theirs[of]
            levels = {key: value["requirement_level"] for key, value in told["attributes"].items()}
            assert levels == {key: value["requirement_level"] for key, value in theirs["attributes"].items()}
            assert told.get("buckets") == theirs.get("explicit_buckets")
    for file in (DATA / "schemas").iterdir():
        assert json.loads(file.read_text()) == json.loads((SHARED / "schemas" / file.name).read_text())
