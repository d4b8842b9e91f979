"""Metrics stay few, and hold names, numbers and verdicts only, whatever calls say."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard_middleware import Call, Guard, Message, Usage
from llmguard_middleware._flow import Flow
from llmguard_middleware.telemetry import TelemetryOptions
from llmguard_middleware.telemetry._metrics._series import Names, SeriesOf
from llmguard_middleware.testing import captured_telemetry

if TYPE_CHECKING:
    from llmguard_middleware.testing import CapturedTelemetry

_SOUGHT = [
    ("gen_ai.request.model", lambda name: Call("chat", model=name)),
    ("gen_ai.provider.name", lambda name: Call("chat", provider=name)),
    ("server.address", lambda name: Call("chat", server_address=name, server_port=443)),
    ("gen_ai.tool.name", lambda name: Call("execute_tool", name=name)),
    ("gen_ai.agent.name", lambda name: Call("invoke_agent", name=name)),
    ("gen_ai.workflow.name", lambda name: Call("invoke_workflow", name=name)),
]


@pytest.mark.parametrize(("attribute", "call"), _SOUGHT, ids=[attribute for attribute, _ in _SOUGHT])
def test_ten_thousand_names_are_two_hundred(telemetry: CapturedTelemetry, attribute: str, call: Any) -> None:
    """Of an attribute with many values the first are kept, the others are one series, and no call is lost."""
    guard = Guard(**telemetry.providers)
    for number in range(10_000):
        Flow(guard, call(f"name-{number}")).answered(usage=Usage(1, 1))
    series: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for point in telemetry.points:
        if point.metric.endswith("duration") and point.count:
            series[point.metric] += 1
            calls[point.metric] += point.count
    assert set(series.values()) == {201}
    assert set(calls.values()) == {10_000}
    assert max(Counter(point.metric for point in telemetry.points).values()) <= 402  # tokens are in and out
    assert "_other" in {point.attributes.get(attribute) for point in telemetry.points}


def test_ten_thousand_combinations_are_one_thousand(telemetry: CapturedTelemetry) -> None:
    """Few models at few servers may be many together: past the limit only operation and provider are told apart."""
    guard = Guard(**telemetry.providers, telemetry=TelemetryOptions(metrics="new"))
    for number in range(10_000):
        call = Call("chat", provider="p", model=f"m{number % 100}", server_address=f"a{number // 100}", server_port=443)
        Flow(guard, call).answered(usage=Usage(1, 1))
    used = [point for point in telemetry.points if point.metric == "gen_ai.client.inference.usage.input_tokens"]
    assert len(used) == 1001
    assert sum(point.value for point in used) == 10_000


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.text(max_size=120)), max_size=300))
def test_a_name_that_was_let_pass_always_is(pairs: list[tuple[str, str]]) -> None:
    """A value is either told from the first time on or never, and there are never more than 200 of one attribute."""
    names = Names()
    first = {pair: names.bounded(*pair) for pair in pairs}
    assert {pair: names.bounded(*pair) for pair in pairs} == first
    for attribute in ("a", "b"):
        assert len({told for (of, _), told in first.items() if of == attribute}) <= 201


def test_attributes_are_made_once() -> None:
    """The same call has the same attributes, the very same dict."""
    series = SeriesOf(Names())
    call = Call("chat", provider="openai", model="m")
    assert series.of(call, "m-1") is series.of(call.but(conversation="other"), "m-1")


@pytest.mark.odd_telemetry("custom is in no convention")
def test_no_content_reaches_a_metric() -> None:
    """Prompts, answers, users, conversations, tool arguments and the text of errors are in no point."""
    secret = "canary-4711"
    with captured_telemetry() as telemetry:
        guard = Guard(**telemetry.providers)
        for operation in ("chat", "embeddings", "retrieval", "execute_tool", "invoke_agent", "invoke_workflow"):
            call = Call(
                operation,
                name="n",
                conversation=secret,
                inputs={"q": secret},
                messages=(Message("user", secret),),
                attributes={"user.id": secret, "custom": secret},
            )
            Flow(guard, call).answered(output=secret, response_id=secret, usage=Usage(1, 1))
            Flow(guard, call).failed(ValueError(secret))
        told = json.dumps([[point.metric, dict(point.attributes)] for point in telemetry.points])
    assert secret not in told


def test_what_is_longer_than_a_name_is_none(telemetry: CapturedTelemetry) -> None:
    """A prompt that somebody put where a model's name belongs is `_other`."""
    Flow(Guard(**telemetry.providers), Call("chat", model="tell me a story " * 10)).answered()
    assert {point.attributes["gen_ai.request.model"] for point in telemetry.points} == {"_other"}
