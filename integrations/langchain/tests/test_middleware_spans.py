"""What a guarded agent tells: one span for the run, one for each model and tool call, and nothing twice."""

from __future__ import annotations

import asyncio
import gc
import sys
from contextlib import suppress

import pytest
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import interrupt

from llmguard_langchain import GuardCallback, GuardMiddleware, protect
from llmguard_middleware import Guard, Guardrail, GuardrailViolation, Monitor
from llmguard_middleware.scorers import pii
from llmguard_middleware.testing import CapturedSpan, Flags

USER, RESULT = "amy@example.com", "bob@example.com"
THREAD = {"configurable": {"thread_id": "7"}}


def told(span, **attributes):
    """A span of these attributes, dots as `__`, by a guard called default."""
    named = {name.replace("__", "."): value for name, value in attributes.items()}
    return CapturedSpan(attributes=named, **span)


def ended(captured):
    """The spans of calls, without the digest; those of guardrails left out."""
    return [
        CapturedSpan(
            span.name,
            span.kind,
            span.parent,
            {key: value for key, value in span.attributes.items() if key != "llmguard.guard.digest"},
            span.status,
            span.status_description,
        )
        for span in captured.spans
        if not span.name.startswith("llmguard.")
    ]


def chat(parent, **more):
    """The span of one model call."""
    return told(
        {"name": "chat", "kind": "CLIENT", "parent": parent},
        gen_ai__operation__name="chat",
        gen_ai__provider__name="agent",
        llmguard__guard__name="default",
        **more,
    )


REDACTED = {
    "llmguard__verdict": "redacted",
    "llmguard__redactions": 1,
    "llmguard__redacted__kinds": ("EMAIL_ADDRESS",),
}


def agent(installed, name, *, heard=False):
    """The name of an agent's span: the first versions tell it to nobody but a GuardCallback, as that of a workflow."""
    return f"invoke_agent {name}" if installed.agent_names or heard else "invoke_agent"


def expected(installed, *, heard):
    """The spans of a run that calls one tool, with an address in the question and one in the result."""
    run = agent(installed, "helper", heard=heard)
    named = {"gen_ai__agent__name": "helper"} if run.endswith("helper") else {}
    if heard and not installed.agent_names:
        named["gen_ai__workflow__name"] = "helper"
    return [
        chat(run, gen_ai__conversation__id="7", llmguard__flagged_by=("input",), **REDACTED),
        told(
            {"name": "execute_tool lookup", "kind": "INTERNAL", "parent": run},
            gen_ai__operation__name="execute_tool",
            gen_ai__tool__type="function",
            gen_ai__tool__name="lookup",
            gen_ai__tool__call__id="call-1",
            llmguard__guard__name="default",
            llmguard__flagged_by=("tool_result",),
            **REDACTED,
        ),
        chat(run, gen_ai__conversation__id="7", llmguard__flagged_by=("input",), **REDACTED),
        told(
            {"name": run, "kind": "INTERNAL"},
            gen_ai__operation__name="invoke_agent",
            gen_ai__conversation__id="7",
            llmguard__guard__name="default",
            **named,
        ),
    ]


def redacting(captured, *more):
    """A guard for `expected`."""
    rules = [Guardrail(pii(), stage=stage, action="redact", name=stage) for stage in ("input", "tool_result")]
    return Guard(*rules, *more, **captured.providers)


def streamed(span):
    """The span of the same call, streamed."""
    if span.name != "chat":
        return span
    return CapturedSpan(
        span.name,
        span.kind,
        span.parent,
        {
            **span.attributes,
            "gen_ai.request.stream": True,
            "gen_ai.response.time_to_first_chunk": pytest.approx(30, abs=30),
        },
    )


@pytest.mark.parametrize("callback", [False, True], ids=["alone", "with a GuardCallback"])
def test_a_run_is_one_tree_of_spans(make_agent, tool_calls, captured, agent_mode, callback, installed):
    """One invoke_agent span, and below it one span for each model and tool call: also if a callback with the same guard
    sees it all.
    """
    guard = redacting(captured)
    agent = make_agent(
        tool_calls({"who": "x"}), "good", result=RESULT, middleware=[GuardMiddleware(guard)], name="helper"
    )
    agent.ask(USER, agent_mode, **THREAD, **({"callbacks": [GuardCallback(guard)]} if callback else {}))
    spans = ended(captured)
    chunked = any("gen_ai.request.stream" in span.attributes for span in spans)
    told_of_tokens = agent_mode[0] != "a" or sys.version_info >= (3, 11)  # as LangChain documents
    assert chunked is (told_of_tokens and any(word in agent_mode for word in ("messages", "events")))
    assert spans == [streamed(span) if chunked else span for span in expected(installed, heard=callback)]
    assert len({span.trace_id for span in captured.spans}) == 1


def test_each_finding_is_recorded_once(make_agent, tool_calls, captured, whole_mode):
    """The address in the question is one evaluation result, though every model call sees it."""
    agent = make_agent(
        tool_calls({"who": "x"}), "good", result=RESULT, middleware=[GuardMiddleware(redacting(captured))]
    )
    agent.ask(USER, whole_mode)
    flagged = [r.attributes["llmguard.guardrail.name"] for r in captured.records if "llmguard.stage" in r.attributes]
    assert flagged == ["input", "tool_result"]


def test_a_callback_of_another_guard_shares_the_spans(make_agent, tool_calls, captured, whole_mode):
    """A watching guard's callback and the middleware tell one tree of spans together."""
    watch = Guard(name="watch", **captured.providers)
    agent = make_agent(
        tool_calls({"who": "x"}), "good", middleware=[GuardMiddleware(redacting(captured))], name="helper"
    )
    agent.ask(USER, whole_mode, callbacks=[GuardCallback(watch)])
    names = [(span.name, span.parent) for span in ended(captured)]
    run = "invoke_agent helper"
    assert names == [("chat", run), ("execute_tool lookup", run), ("chat", run), (run, None)]


def test_an_agent_in_an_agent(make_agent, tool_calls, captured, whole_mode, installed):
    """An agent that is another one's tool has its span below the tool's; nothing is scored twice."""
    scored = []

    def notes(text: str) -> bool:
        scored.append(text)
        return False

    guard = Guard(Guardrail(notes, stage="input"), Monitor(Flags(when="x"), name="watch"), **captured.providers)
    inner = make_agent("inner says", middleware=[GuardMiddleware(guard)], name="inner")

    @tool
    def delegate(task: str) -> str:
        """Delegate."""
        return inner.ask(task)["messages"][-1].content

    call = AIMessage("", tool_calls=[{"name": "delegate", "args": {"task": "hello"}, "id": "1"}])
    helper = make_agent(call, "good", tools=[delegate], middleware=[GuardMiddleware(guard)], name="outer")
    helper.ask("hello", whole_mode)
    guard.flush()
    told, told_inner = agent(installed, "outer"), agent(installed, "inner")
    assert [(span.name, span.parent) for span in ended(captured)] == [
        ("chat", told),
        ("chat", told_inner),
        (told_inner, "execute_tool delegate"),
        ("execute_tool delegate", told),
        ("chat", told),
        (told, None),
    ]
    assert scored == ["hello", "inner says"]
    assert [span.parent for span in captured.spans if span.name == "llmguard.monitor watch"] == [told]


def test_an_agent_inside_an_op(make_agent, captured, installed):
    """Inside an op of the same guard the agent is no outermost call, and what stops it stops the op."""
    guard = Guard(Guardrail(Flags(when="wrong"), stage="output"), **captured.providers)
    helper = make_agent("wrong", middleware=[GuardMiddleware(guard)], name="helper")

    @guard.op
    def serve(question: str) -> str:
        try:
            helper.ask(question)
        except GuardrailViolation:
            return "never mind"
        return "good"

    with pytest.raises(GuardrailViolation):
        serve("hi")
    told = agent(installed, "helper")
    assert [(span.name, span.parent) for span in ended(captured)] == [
        ("chat", told),
        (told, "invoke_workflow serve"),
        ("invoke_workflow serve", None),
    ]


@pytest.mark.parametrize("callback", [False, True], ids=["alone", "with a GuardCallback"])
def test_a_run_that_was_stopped_says_so(make_agent, captured, agent_mode, callback, installed):
    """The span of a run that a guardrail stopped is an error, with the violation's code and sentence."""
    guard = Guard(Guardrail(Flags(when="wrong"), stage="input"), **captured.providers)
    helper = make_agent("good", middleware=[GuardMiddleware(guard)], name="helper")
    with pytest.raises(GuardrailViolation):
        helper.ask("wrong", agent_mode, **({"callbacks": [GuardCallback(guard)]} if callback else {}))
    run = ended(captured)[-1]
    name = agent(installed, "helper", heard=callback)
    assert (run.name, run.status, run.attributes["error.type"]) == (name, "ERROR", "blocked")
    assert run.status_description == 'guardrail "flags" of guard "default" blocked the input'


def test_monitors_score_the_run(make_agent, tool_calls, captured, whole_mode):
    """A monitor sees one call: the question and the answer of the run."""
    seen = []

    def notes(question: str, output: str) -> bool:
        seen.append((question, output))
        return False

    guard = Guard(Monitor(notes), **captured.providers)
    agent = make_agent(tool_calls({"who": "x"}), "good", middleware=[GuardMiddleware(guard)])
    agent.ask("hi", whole_mode)
    guard.flush()
    assert seen == [("hi", "good")]


class _Fails(AgentMiddleware):
    """Fails after the model was called."""

    def after_model(self, state, runtime):
        raise ConnectionError


@tool
def fails(who: str) -> str:
    """Fails."""
    raise ConnectionError


@tool
def asks(who: str) -> str:
    """Asks a person."""
    return str(interrupt("well?"))


def calling(name):
    """An answer that calls this tool."""
    return AIMessage("", tool_calls=[{"name": name, "args": {"who": "x"}, "id": "1"}])


@pytest.mark.parametrize(
    ("options", "attributes"),
    [
        ({"tools": [fails]}, {"error.type": "ConnectionError"}),
        ({"tools": [asks]}, {"llmguard.interrupted": True}),
        ({"more": [_Fails()]}, {"llmguard.abandoned": True}),
    ],
    ids=["a tool fails", "a tool asks a person", "another middleware fails"],
)
def test_a_run_that_no_node_ends_ends_all_the_same(make_agent, captured, whole_mode, options, attributes, installed):
    """The span of a run that failed or was interrupted ends when LangGraph drops the run, and says what is known."""
    guard = Guard(**captured.providers)
    middleware = [*options.get("more", ()), GuardMiddleware(guard)]
    tools = options.get("tools", ())
    answer = calling(tools[0].name) if tools else "good"
    helper = make_agent(answer, "good", tools=tools, middleware=middleware, name="helper", checkpointer=InMemorySaver())
    if tools == [asks]:
        helper.ask("hi", whole_mode, **THREAD)
    else:
        with pytest.raises(ConnectionError):
            helper.ask("hi", whole_mode, **THREAD)
    del helper
    gc.collect()
    run = next(span for span in ended(captured) if span.name == agent(installed, "helper"))
    assert attributes.items() <= run.attributes.items()


def test_a_stream_that_is_left_ends_its_span(make_agent, captured):
    """The span of a run whose reader went away ends as abandoned, sync and async."""
    agent = make_agent("a long answer", middleware=[GuardMiddleware(Guard(**captured.providers))])
    events = agent.graph.stream({"messages": ["hi"]}, stream_mode="messages")
    next(events)
    events.close()
    del events

    async def leave():
        events = agent.graph.astream({"messages": ["hi"]}, stream_mode="messages")
        await anext(events)
        await events.aclose()

    asyncio.run(leave())
    gc.collect()
    runs = [span for span in ended(captured) if span.name == "invoke_agent"]
    assert len(runs) == 2
    assert all(span.attributes.get("llmguard.abandoned") or "error.type" in span.attributes for span in runs)


def test_concurrent_runs_do_not_meet(make_agent, tool_calls, captured):
    """Runs of one agent at the same time each have a tree of their own, and one's violation is not another's."""
    guard = Guard(Guardrail(Flags(when="wrong"), stage="input"), **captured.providers)
    agent = make_agent(tool_calls({"who": "x"}, {"who": "y"}), "good", middleware=[GuardMiddleware(guard)])

    async def ask(text):
        return await agent.graph.ainvoke({"messages": [text]})

    async def all_at_once():
        return await asyncio.gather(*(ask("wrong" if i % 3 == 0 else "hi") for i in range(12)), return_exceptions=True)

    answers = asyncio.run(all_at_once())
    assert [isinstance(answer, GuardrailViolation) for answer in answers] == [i % 3 == 0 for i in range(12)]
    trees = {}
    for span in captured.spans:
        if not span.name.startswith("llmguard."):
            trees.setdefault(span.trace_id, []).append(span.name)
    good = sorted(["chat", "execute_tool lookup", "execute_tool lookup", "chat", "invoke_agent"])
    assert sorted(sorted(tree) for tree in trees.values()) == sorted([["chat", "invoke_agent"]] * 4 + [good] * 8)


@pytest.mark.parametrize("swapped", [False, True])
def test_two_guards_share_the_spans(make_agent, tool_calls, captured, agent_mode, swapped):
    """Under two guards a run is one tree of spans, and both judge what a tool gives before anybody sees it."""
    one = Guard(Guardrail(pii(), stage="tool_result", action="redact"), **captured.providers)
    other = Guard(
        Guardrail(Flags(when="word"), stage="tool_result", action="replace"), name="other", **captured.providers
    )
    middleware = [GuardMiddleware(one), GuardMiddleware(other)]
    agent = make_agent(
        tool_calls({"who": "x"}, {"who": "y"}),
        "good",
        result=f"a word of {RESULT}",
        middleware=middleware[::-1] if swapped else middleware,
    )
    agent.ask("hi", agent_mode)
    assert "word" not in agent.shown
    assert RESULT not in agent.shown
    names = sorted((span.name, span.parent) for span in ended(captured) if span.name != "invoke_agent")
    run = "invoke_agent"
    assert names == [("chat", run), ("chat", run), ("execute_tool lookup", run), ("execute_tool lookup", run)]
    assert [span.parent for span in ended(captured) if span.name == "invoke_agent"] == [None]


@pytest.mark.parametrize("called_back", [True, False])
@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("action", ["redact", "block"])
def test_a_protected_tool_of_a_guarded_agent_has_one_span(
    make_agent, tool_calls, captured, whole_mode, action, same, called_back
):
    """A tool that is protected, in an agent that is guarded, is told once, with the verdicts of both guards."""
    guard = Guard(Guardrail(pii(), stage="tool_result", action=action), **captured.providers)
    agents = guard if same else Guard(name="agent", **captured.providers)

    @tool
    def look(who: str) -> str:
        """Look somebody up."""
        return RESULT

    asking = AIMessage("", tool_calls=[{"name": "look", "args": {"who": "Bob"}, "id": "1"}])
    agent = make_agent(asking, "done", tools=[protect(look, guard)], middleware=[GuardMiddleware(agents)])
    config = {"callbacks": [GuardCallback(agents)]} if called_back else {}
    with suppress(GuardrailViolation):
        agent.ask("Hi", whole_mode, **config)
    gc.collect()
    verdict = {"redact": "redacted", "block": "blocked"}[action]
    tools = [span for span in captured.spans if span.name.startswith("execute_tool")]
    assert [(span.name, span.attributes.get("llmguard.verdict")) for span in tools] == [("execute_tool look", verdict)]
