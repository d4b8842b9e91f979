"""Metrics of calls: whole points for every operation and every way in which a call can end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.metrics import NoOpMeterProvider

from llmguard_middleware import Call, Guard, Guardrail, GuardrailViolation, Message, Monitor, Score, Usage
from llmguard_middleware._current import innermost
from llmguard_middleware._drive import drive
from llmguard_middleware._flow import Flow
from llmguard_middleware._unjudged import Unjudged, unheard
from llmguard_middleware.telemetry import TelemetryOptions
from llmguard_middleware.telemetry._metrics._table import TABLE
from llmguard_middleware.testing import CapturedPoint, Flags

if TYPE_CHECKING:
    from llmguard_middleware.testing import CapturedTelemetry

VENDORED = json.loads((Path(__file__).parent / "data" / "semconv_metrics.json").read_text())["metrics"]
CHAT = Call("chat", provider="openai", model="gpt-x", server_address="api.example", server_port=443)
SERIES = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-x",
    "server.address": "api.example",
    "server.port": 443,
}
ANSWERED = {**SERIES, "gen_ai.response.model": "gpt-x-1"}
ANSWER: dict[str, Any] = {"usage": Usage(10, 5, 4, 2, 3), "response_model": "gpt-x-1", "output": "Hello."}
USED = "gen_ai.client.inference.usage."


def guarded(telemetry: CapturedTelemetry, *rules: Guardrail, metrics: Any = "both", **options: Any) -> Guard:
    """A guard whose telemetry is kept."""
    return Guard(*rules, **telemetry.providers, telemetry=TelemetryOptions(metrics=metrics), **options)


def points(telemetry: CapturedTelemetry, of: str = "gen_ai.") -> list[CapturedPoint]:
    """Those whose names begin so, in the order of their names; durations, which are never the same, as 0."""
    found = sorted(
        (p for p in telemetry.points if p.metric.startswith(of)), key=lambda p: (p.metric, str(p.attributes))
    )
    for point in found:
        if point.unit == "s":
            assert 0 <= point.value < 60
    return [
        CapturedPoint(p.metric, p.attributes, 0 if p.unit == "s" else p.value, p.count, p.unit, p.kind, p.buckets)
        for p in found
    ]


def point(metric: str, attributes: dict[str, Any], value: float = 0, count: int | None = 1) -> CapturedPoint:
    """A point as the table has it."""
    kind, unit, _, buckets = TABLE[metric]
    return CapturedPoint(metric, attributes, value, count if kind == "histogram" else None, unit, kind, buckets)


@pytest.mark.parametrize("metric", sorted(VENDORED))
def test_every_metric_of_the_conventions_is_as_they_say(metric: str) -> None:
    """Kind, unit and buckets are those of the conventions."""
    theirs, ours = VENDORED[metric], TABLE[metric]
    assert (ours.kind, ours.unit) == (theirs["instrument"], theirs["unit"])
    assert list(ours.buckets) == (theirs["explicit_buckets"] or [])


def test_there_are_no_others_but_our_own() -> None:
    """What is not in the conventions is called llmguard.something."""
    assert {name for name in TABLE if not name.startswith("llmguard.")} == set(VENDORED)


OLD = [
    point("gen_ai.client.operation.duration", ANSWERED),
    point("gen_ai.client.token.usage", {**ANSWERED, "gen_ai.token.type": "input"}, 10),
    point("gen_ai.client.token.usage", {**ANSWERED, "gen_ai.token.type": "output"}, 5),
]
COUNTED = {**ANSWERED, "gen_ai.token.modality": "unknown"}
NEW = [
    point("gen_ai.client.inference.duration", ANSWERED),
    point("gen_ai.client.inference.operation.input_tokens", ANSWERED, 10),
    point("gen_ai.client.inference.operation.output_tokens", ANSWERED, 5),
    point(f"{USED}cache_read.input_tokens", COUNTED, 4),
    point(f"{USED}cache_write.input_tokens", COUNTED, 2),
    point(f"{USED}input_tokens", COUNTED, 10),
    point(f"{USED}output_tokens", COUNTED, 5),
    point(f"{USED}reasoning.output_tokens", COUNTED, 3),
]
MADE: dict[str, Callable[[Guard, Call], Any]] = {
    "Flow": Flow,
    "Unjudged": lambda guard, call: Unjudged(guard, call, None),
}


@pytest.mark.parametrize("made", list(MADE))
@pytest.mark.parametrize(("which", "expected"), [("old", OLD), ("new", NEW), ("both", [*NEW, *OLD]), ("none", [])])
def test_one_switch_picks_the_generation(
    telemetry: CapturedTelemetry, made: str, which: str, expected: list[CapturedPoint]
) -> None:
    """A model's call gives exactly the points of the generation that was picked, judged or not."""
    MADE[made](guarded(telemetry, metrics=which), CHAT).answered(**ANSWER)
    assert points(telemetry) == expected


@pytest.mark.parametrize("made", list(MADE))
def test_attributes_are_those_of_the_conventions(telemetry: CapturedTelemetry, made: str) -> None:
    """Each point has what its metric requires, and nothing that it does not know."""
    guard = guarded(telemetry)
    for operation in ("chat", "text_completion", "embeddings", "retrieval", "execute_tool", "invoke_agent"):
        MADE[made](guard, CHAT.but(operation=operation, name="n")).answered(**ANSWER)
    MADE[made](guard, CHAT.but(operation="invoke_workflow", name="n")).failed(ValueError())
    for one in telemetry.points:
        if not one.metric.startswith("gen_ai."):
            continue
        known = VENDORED[one.metric]["attributes"]
        assert set(one.attributes) <= set(known), one
        assert {name for name, level in known.items() if level == "required"} <= set(one.attributes), one


def test_nothing_is_measured_where_instrumentation_is_suppressed(telemetry: CapturedTelemetry) -> None:
    """No points of calls, verdicts, scores or cost; guardrails stop calls all the same, and violations are told."""
    rules = Guardrail(Flags(when="bad"), stage="input"), Monitor(Flags(), name="seen")
    guard = Guard(*rules, **telemetry.providers, telemetry=TelemetryOptions(metrics="both", price=lambda *_: 1.0))
    with suppress_instrumentation():
        for made in MADE.values():
            for operation in ("chat", "embeddings", "execute_tool", "invoke_agent", "invoke_workflow"):
                call = made(guard, CHAT.but(operation=operation, name="n"))
                assert call.timed() is None if made is not Flow else call.span.timed() is None
                call.answered(**ANSWER)
        with pytest.raises(GuardrailViolation), Flow(guard, CHAT) as flow:
            drive(flow.admit([Message("user", "bad")]), guard.workers)
        assert guard.check("bad", stage="input").outcome == "blocked"
        guard.emitter.rated(CHAT, None, "thumbs", Score(1.0))
        assert guard.flush(30) == 0
    assert not [one for one in telemetry.points if one.kind == "histogram"]
    observed = ("llmguard.monitor.", "llmguard.breaker.")  # how a guard stands, which is nobody's call
    assert [one.metric for one in telemetry.points if not one.metric.startswith(observed)] == []
    assert "blocked" in [record.attributes.get("llmguard.verdict") for record in telemetry.records]
    Flow(guard, CHAT).answered(**ANSWER)
    assert points(telemetry)


def test_tokens_add_up(telemetry: CapturedTelemetry) -> None:
    """Two calls of one series are one point; what no provider said is no point."""
    guard = guarded(telemetry, metrics="new")
    for tokens in (3, 4):
        Flow(guard, CHAT).answered(usage=Usage(tokens, None))
    inputs, used = (point for point in points(telemetry) if "token" in point.metric)
    assert (inputs.value, inputs.count, used.metric, used.value) == (7, 2, f"{USED}input_tokens", 7)


@pytest.mark.parametrize("made", list(MADE))
@pytest.mark.parametrize(
    ("ends", "error"),
    [
        (lambda call: call.failed(ConnectionError("secret")), "ConnectionError"),
        (lambda call: call.stopped(ConnectionError("secret")), "ConnectionError"),
        (lambda call: call.abandoned(), None),
        (lambda call: call.stopped(GeneratorExit()), None),
    ],
)
def test_a_failure_has_an_error_type(telemetry: CapturedTelemetry, made: str, ends: Any, error: str | None) -> None:
    """A call that failed is told with the class of what was raised, one whose reader left without."""
    call = MADE[made](guarded(telemetry, metrics="new"), CHAT)
    ends(call)
    expected = {**SERIES, "error.type": error} if error else SERIES
    assert points(telemetry) == [point("gen_ai.client.inference.duration", expected)]


def test_what_is_blocked_before_the_model_is_asked_is_a_failed_call(telemetry: CapturedTelemetry) -> None:
    """It is told with the violation's code, as its span is."""
    guard = guarded(telemetry, Guardrail(Flags(), stage="input"), metrics="old")
    with pytest.raises(GuardrailViolation) as raised, Flow(guard, CHAT) as flow:
        drive(flow.judge("secret", "input"), guard.workers)
    (told,) = points(telemetry)
    assert told == point("gen_ai.client.operation.duration", {**SERIES, "error.type": raised.value.code})


def test_a_call_under_two_guards_is_counted_once(telemetry: CapturedTelemetry) -> None:
    """The guard that joins the span of another one does not tell the call again."""
    outer, inner = guarded(telemetry, name="outer", metrics="old"), guarded(telemetry, name="inner", metrics="old")
    around = Flow(outer, CHAT)
    Flow(inner, CHAT, span=around.span).answered(**ANSWER)
    around.answered(**ANSWER)
    assert points(telemetry) == OLD


@pytest.mark.parametrize("made", list(MADE))
def test_a_call_that_ends_twice_is_counted_once(telemetry: CapturedTelemetry, made: str) -> None:
    """What ends a call again, after an error of its end say, adds nothing."""
    call = MADE[made](guarded(telemetry, metrics="old"), CHAT)
    call.abandoned()
    call.failed(ValueError())
    assert points(telemetry) == [point("gen_ai.client.operation.duration", SERIES)]


EMBEDDED = {**SERIES, "gen_ai.operation.name": "embeddings"}


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        (
            "old",
            [
                point("gen_ai.client.operation.duration", EMBEDDED),
                point("gen_ai.client.token.usage", {**EMBEDDED, "gen_ai.token.type": "input"}, 9),
            ],
        ),
        (
            "new",
            [
                point("gen_ai.client.embeddings.duration", EMBEDDED),
                point("gen_ai.client.embeddings.operation.input_tokens", EMBEDDED, 9),
            ],
        ),
    ],
)
def test_embeddings_are_told_by_their_own(telemetry: CapturedTelemetry, which: str, expected: Any) -> None:
    """Duration and tokens of embeddings, in each generation."""
    Flow(guarded(telemetry, metrics=which), CHAT.but(operation="embeddings")).answered(usage=Usage(9))
    assert points(telemetry) == expected


@pytest.mark.parametrize("which", ["old", "new"])
def test_a_retrieval_is_a_client_operation_in_every_generation(telemetry: CapturedTelemetry, which: str) -> None:
    """It has its duration, and no provider if none is known."""
    Flow(guarded(telemetry, metrics=which), Call("retrieval", name="index")).answered(output=["text"])
    assert points(telemetry) == [point("gen_ai.client.operation.duration", {"gen_ai.operation.name": "retrieval"})]


@pytest.mark.parametrize("made", list(MADE))
def test_an_agent_counts_what_is_called_below_it(telemetry: CapturedTelemetry, made: str) -> None:
    """Models and tools below an agent are counted for it, those of an agent inside for that one."""
    guard = guarded(telemetry, metrics="new")
    with Flow(guard, Call("invoke_workflow", name="app")) as app, app.active():
        with Flow(guard, Call("invoke_agent", name="planner")) as planner, planner.active():
            MADE[made](guard, CHAT).answered()
            with Flow(guard, Call("invoke_workflow", name="step")) as step, step.active():
                MADE[made](guard, CHAT).failed(ValueError())
                MADE[made](guard, Call("execute_tool", name="search")).answered()
                step.answered()
            with Flow(guard, Call("invoke_agent", name="helper")) as helper, helper.active():
                MADE[made](guard, CHAT).answered()
                helper.answered()
            planner.answered()
        MADE[made](guard, CHAT).answered()  # of no agent
        app.answered()
    agent, tool = {"gen_ai.agent.name": "planner"}, {"gen_ai.tool.name": "search", "gen_ai.tool.type": "function"}
    other = {"gen_ai.agent.name": "helper"}
    told = [one for one in points(telemetry) if not one.metric.startswith("gen_ai.client")]
    assert told == [
        point("gen_ai.execute_tool.duration", {**tool, **agent}),
        point("gen_ai.invoke_agent.duration", other),
        point("gen_ai.invoke_agent.duration", agent),
        point("gen_ai.invoke_agent.inference_calls", other, 1),
        point("gen_ai.invoke_agent.inference_calls", agent, 2),
        point("gen_ai.invoke_agent.tool_calls", other, 0),
        point("gen_ai.invoke_agent.tool_calls", agent, 1),
        point("gen_ai.invoke_workflow.duration", {"gen_ai.workflow.name": "app"}),
        point("gen_ai.invoke_workflow.duration", {"gen_ai.workflow.name": "step"}),
    ]


def test_an_agent_that_turns_out_to_be_one_counts_too(telemetry: CapturedTelemetry) -> None:
    """A workflow that is an agent, as a framework says only later, has counted from its start."""
    guard = guarded(telemetry, metrics="new")
    with Flow(guard, Call("invoke_workflow", name="graph")) as flow, flow.active():
        Flow(guard, CHAT).answered()
        flow.turned_out(flow.call.but(operation="invoke_agent", name="planner"))
        Flow(guard, CHAT).answered()
        flow.answered()
    agent = {"gen_ai.agent.name": "planner"}
    assert points(telemetry, "gen_ai.invoke") == [
        point("gen_ai.invoke_agent.duration", agent),
        point("gen_ai.invoke_agent.inference_calls", agent, 2),
        point("gen_ai.invoke_agent.tool_calls", agent, 0),
    ]


def test_agents_count_without_traces(telemetry: CapturedTelemetry) -> None:
    """A process that has metrics and no tracer provider counts all the same."""
    guard = Guard(meter_provider=telemetry.meter_provider)
    with Flow(guard, Call("invoke_agent")) as flow, flow.active():
        assert innermost() is flow
        Flow(guard, CHAT).answered()
        flow.answered()
    assert points(telemetry, "gen_ai.invoke_agent.inf") == [point("gen_ai.invoke_agent.inference_calls", {}, 1)]


def test_a_tool_says_its_type(telemetry: CapturedTelemetry) -> None:
    """A tool's duration has its name, its type, and what it failed with."""
    call = Call("execute_tool", name="search", attributes={"gen_ai.tool.type": "function", "gen_ai.tool.call.id": "c"})
    Flow(guarded(telemetry), call).failed(KeyError("secret"))
    told = {"gen_ai.tool.name": "search", "gen_ai.tool.type": "function", "error.type": "KeyError"}
    assert points(telemetry) == [point("gen_ai.execute_tool.duration", told)]


def test_guards_of_a_process_share_their_instruments(telemetry: CapturedTelemetry) -> None:
    """Two guards add to one series, and no instrument is made twice."""
    for name in ("one", "two"):
        Flow(guarded(telemetry, metrics="both", name=name), CHAT).answered(**ANSWER)
    told = points(telemetry)
    assert [one.count for one in told if one.kind == "histogram"] == [2] * 6
    assert len({one.metric for one in told}) == len(told) - 1  # token.usage has two series


@pytest.mark.parametrize("provider", [None, NoOpMeterProvider()])
def test_without_a_meter_provider_nothing_is_recorded(provider: Any) -> None:
    """A guard that has no meter provider, or one that does nothing, has no recorder, and is as silent as before."""
    guard = Guard(meter_provider=provider)
    assert guard.emitter.recorder is None
    assert unheard(guard)
    Flow(guard, CHAT).answered(**ANSWER)


def test_a_guard_with_a_meter_provider_is_heard(telemetry: CapturedTelemetry) -> None:
    """Calls of a guard that only has metrics are not left out as nobody's business."""
    assert not unheard(Guard(meter_provider=telemetry.meter_provider))
    assert unheard(Guard(meter_provider=telemetry.meter_provider, telemetry=TelemetryOptions(metrics="none")))


def test_a_meter_provider_may_be_set_after_the_guard() -> None:
    """Calls are recorded from the moment on at which the process gets a meter provider."""
    program = """
from opentelemetry.metrics import set_meter_provider
from llmguard_middleware import Call, Guard
from llmguard_middleware._flow import Flow
from llmguard_middleware.testing import captured_telemetry
guard = Guard()
Flow(guard, Call("chat")).answered()
captured = captured_telemetry()
set_meter_provider(captured.meter_provider)
Flow(guard, Call("chat")).answered()
print(*[f"{p.metric}={p.count}" for p in captured.points if p.metric.endswith("operation.duration")])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "gen_ai.client.operation.duration=1\n"


class _Broken(NoOpMeterProvider):
    def get_meter(self, *args: Any, **kwargs: Any) -> Any:
        """A meter of no use."""
        raise RuntimeError("secret")


class Refuses:
    """A meter provider whose instruments raise."""

    def get_meter(self, *args: Any, **kwargs: Any) -> Any:
        """Itself."""
        return self

    def create_histogram(self, *args: Any, **kwargs: Any) -> Any:
        """Itself."""
        return self

    create_observable_counter = create_observable_gauge = create_histogram

    def record(self, *args: Any, **kwargs: Any) -> None:
        """No."""
        raise RuntimeError("secret")


@pytest.mark.parametrize("made", list(MADE))
def test_a_broken_meter_breaks_no_call(made: str, caplog: pytest.LogCaptureFixture) -> None:
    """What an instrument raises is logged by its type, once for all values that waited, and calls go on."""
    provider: Any = Refuses()
    guard = Guard(meter_provider=provider)
    recorder = guard.emitter.recorder
    assert recorder is not None
    recorder.instruments.backlog._due = True  # the thread that would hand them on does not come
    for _ in range(11):
        MADE[made](guard, CHAT).answered(**ANSWER)
    recorder.instruments.backlog.flush()
    assert [record.getMessage() for record in caplog.records] == ["telemetry could not be written: RuntimeError"]
    Guard(meter_provider=_Broken())  # does nothing, and is not asked


def test_what_dashboards_read_is_what_is_told() -> None:
    """If nobody says which generation, it is the old one: the default, and that of an empty environment."""
    assert TelemetryOptions().metrics == TelemetryOptions.from_environment({}).metrics == "old"
    assert TelemetryOptions.from_environment({"LLMGUARD_METRICS": "both"}).metrics == "both"
