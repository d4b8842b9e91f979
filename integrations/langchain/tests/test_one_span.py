"""One call is one span and each text is judged once, whichever ways to put the same guard around it meet."""

from __future__ import annotations

import asyncio
import warnings
from uuid import uuid4

import pytest
from langchain.agents import create_agent
from langchain_core._api.deprecation import LangChainDeprecationWarning
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph

from llmguard_langchain import GuardCallback, GuardMiddleware, protect
from llmguard_middleware import Guard, Guardrail, GuardrailViolation, Monitor, scorer
from llmguard_middleware.scorers import pii
from llmguard_middleware.testing import Flags

ASKED = {"messages": [HumanMessage("hello there")]}
AMY = "amy@example.com"


def spans(captured):
    """The spans of calls with the names of those above them; guardrails' and monitors' left out."""
    return [(span.name, span.parent) for span in captured.spans if not span.name.startswith("llmguard.")]


def counting(stage, judged):
    """A guardrail that flags nothing and keeps what it was asked to judge."""

    @scorer
    def count(text: str) -> bool:
        judged.append(text)
        return False

    return Guardrail(count, stage=stage, name=f"counts-{stage}")


def chain(fake_chat):
    """A model and a parser."""
    return fake_chat() | StrOutputParser()


def asked(runnable, mode, given=ASKED, **config):
    """What a graph gives in this mode, to its end."""
    method, _, stream_mode = mode.partition(":")

    async def all_of(items):
        return [item async for item in items]

    if method == "invoke":
        return runnable.invoke(given, config)
    if method == "ainvoke":
        return asyncio.run(runnable.ainvoke(given, config))
    if method == "stream":
        return list(runnable.stream(given, config, stream_mode=stream_mode))
    return asyncio.run(all_of(runnable.astream(given, config, stream_mode=stream_mode)))


MODES = ["invoke", "ainvoke", "stream:values", "stream:messages", "astream:updates", "astream:messages"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("heard", [True, False])
def test_a_protected_agent_with_the_middleware_of_its_guard_is_one_span(
    captured, make_agent, tool_calls, mode, named, heard
):
    """protect() around an agent whose middleware has the same guard adds no second span for the run."""
    guard = Guard(Guardrail(Flags(when="zzz"), stage="output"), **captured.providers)
    made = make_agent(
        tool_calls({"who": "x"}), "done", middleware=[GuardMiddleware(guard)], name="helper" if named else None
    )
    config = {"callbacks": [GuardCallback(guard)]} if heard else {}
    asked(protect(made.graph, guard), mode, **config)
    agent = "invoke_agent helper" if named else "invoke_agent"
    assert spans(captured) == [("chat", agent), ("execute_tool lookup", agent), ("chat", agent), (agent, None)]


@pytest.mark.parametrize("mode", MODES)
def test_what_both_judge_is_scored_once(captured, make_agent, tool_calls, mode):
    """A text that the middleware and the boundary both judge at a stage is scored once."""
    judged_in, judged_out = [], []
    guard = Guard(counting("input", judged_in), counting("output", judged_out), **captured.providers)
    made = make_agent(tool_calls({"who": "x"}), "done", middleware=[GuardMiddleware(guard)])
    asked(protect(made.graph, guard), mode)
    assert "hello there" in judged_in
    assert "done" in judged_out
    assert len(judged_in) == len(set(judged_in))
    assert len(judged_out) == len(set(judged_out))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("on", ["outermost", "every"])
def test_monitors_score_the_run_once(captured, make_agent, mode, on):
    """Monitors are given the run once, with the agent's answer as its output, also those that score every call."""
    scored = []

    @scorer
    def keep(output: object, question: str) -> bool:
        scored.append((output, question))
        return False

    guard = Guard(Monitor(keep, on=on), **captured.providers)
    made = make_agent("done", middleware=[GuardMiddleware(guard)], name="helper")
    asked(protect(made.graph, guard), mode)
    guard.flush(5)
    assert scored == [("done", "hello there")] * (2 if on == "every" else 1)  # the model call is the other one


def test_verdicts_of_the_middleware_are_told_on_the_one_span(captured, make_agent):
    """What the middleware judges of the state is on the span that it shares with the boundary."""
    guard = Guard(Guardrail(pii(), stage="input", action="redact"), **captured.providers)
    made = make_agent("done", middleware=[GuardMiddleware(guard, state="redacted")], name="helper")
    state = protect(made.graph, guard).invoke({"messages": [HumanMessage(f"I am {AMY}")]})
    assert AMY not in repr(state) + made.received
    assert captured.span("invoke_agent helper").attributes["llmguard.verdict"] == "redacted"


@pytest.mark.parametrize("mode", MODES)
def test_a_blocked_run_is_one_span_that_says_so(captured, make_agent, mode):
    """A guardrail that stops a call inside ends the one span as blocked, and the caller gets the violation."""
    guard = Guard(Guardrail(Flags(when="bad"), stage="output"), **captured.providers)
    made = make_agent("bad", middleware=[GuardMiddleware(guard)], name="helper")
    with pytest.raises(GuardrailViolation):
        asked(protect(made.graph, guard), mode)
    assert spans(captured) == [("chat", "invoke_agent helper"), ("invoke_agent helper", None)]
    assert captured.span("invoke_agent helper").status == "ERROR"


@pytest.mark.parametrize("mode", ["invoke", "ainvoke", "stream:values"])
def test_originals_come_back_once(captured, fake_chat, mode):
    """With pseudonyms the model sees placeholders, the caller the originals."""
    guard = Guard(Guardrail(pii(), stage="input", action="pseudonymize"), **captured.providers)
    model_text = []

    def answer(messages):
        model_text.append(str(messages[-1].content))
        return f"You are {messages[-1].content.split()[-1]}"

    agent = create_agent(fake_chat(answer=answer), [], middleware=[GuardMiddleware(guard)])
    given = {"messages": [HumanMessage(f"I am {AMY}")]}
    state = asked(protect(agent, guard), mode, given)
    state = state[-1] if isinstance(state, list) else state
    assert AMY not in "".join(model_text)
    assert state["messages"][-1].text == f"You are {AMY}"


@pytest.mark.parametrize("mode", MODES)
def test_another_guard_around_the_same_agent_joins_the_span(captured, make_agent, mode):
    """Two guards around one run, by protect() and by the middleware, share its span, and each one's monitors see it."""
    scored = []

    @scorer
    def keep(output: object) -> bool:
        scored.append(output)
        return False

    inner = Guard(Monitor(keep), name="inner", **captured.providers)
    outer = Guard(Monitor(keep), name="outer", **captured.providers)
    made = make_agent("done", middleware=[GuardMiddleware(inner)], name="helper")
    asked(protect(made.graph, outer), mode)
    inner.flush(5)
    outer.flush(5)
    assert spans(captured) == [("chat", "invoke_agent helper"), ("invoke_agent helper", None)]
    assert scored == ["done", "done"]


def test_an_agent_in_a_protected_graph_has_a_span_of_its_own(captured, installed, make_agent):
    """An agent that is a node of the graph that is protected is another call."""
    guard = Guard(**captured.providers)
    made = make_agent("done", middleware=[GuardMiddleware(guard)], name="helper")
    graph = StateGraph(MessagesState)
    graph.add_node("helper", made.graph)
    graph.add_edge(START, "helper")
    graph.add_edge("helper", END)
    protect(graph.compile(name="outer"), guard).invoke(ASKED)
    agents = [(name, parent) for name, parent in spans(captured) if name != "chat"]
    helper = "invoke_agent helper" if installed.agent_names else "invoke_agent"
    assert agents == [(helper, "invoke_agent outer"), ("invoke_agent outer", None)]


def test_an_agent_that_its_own_tool_asks_again_has_a_span_of_its_own(captured, installed, make_agent, tool_calls):
    """The same agent, called by its own tool, is a call below the first."""
    guard = Guard(**captured.providers)

    def again(who: str) -> str:
        """Ask the agent again."""
        return str(agents[0].graph.invoke({"messages": [HumanMessage("a"), *[said] * 2]})["messages"][-1].text)

    call = tool_calls({"who": "x"})
    call.tool_calls[0]["name"] = "again"
    said = tool_calls({"who": "x"}).model_copy(update={"tool_calls": []})
    agents = [make_agent(call, "done", "inner", middleware=[GuardMiddleware(guard)], name="helper", tools=[again])]
    protect(agents[0].graph, guard).invoke(ASKED)
    helper = "invoke_agent helper" if installed.agent_names else "invoke_agent"
    seen = [one for one in spans(captured) if one[0].startswith("invoke_agent")]
    assert seen == [(helper, "execute_tool again"), ("invoke_agent helper", None)]


async def read(runnable, how, given, config):
    """An event stream or a log, to its end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LangChainDeprecationWarning)
        options = {"version": "v2"} if how == "astream_events" else {}
        return [item async for item in getattr(runnable, how)(given, config, **options)]


@pytest.mark.parametrize("how", ["astream_events", "astream_log"])
@pytest.mark.parametrize("every", [True, False])
async def test_an_event_stream_under_a_callback_is_one_span(captured, fake_chat, how, every):
    """The run that shows a guarded chain to readers of events is not taken for another call."""
    guard = Guard(Guardrail(Flags(when="zzz"), stage="output"), **captured.providers)
    callback = GuardCallback(guard, every_runnable=every)
    await read(protect(chain(fake_chat), guard), how, "hi", {"callbacks": [callback]})
    assert [name for name, _ in spans(captured)].count("invoke_workflow RunnableSequence") == 1
    assert spans(captured)[-1] == ("invoke_workflow RunnableSequence", None)
    assert not callback._live


@pytest.mark.parametrize("how", ["astream_events", "astream_log"])
async def test_an_event_stream_below_another_call_nests_right(captured, fake_chat, how):
    """A guarded chain that is read by events inside another run lies below that run's span."""
    guard = Guard(Guardrail(Flags(when="zzz"), stage="output"), **captured.providers)
    protected = protect(chain(fake_chat), guard)

    async def outer(given, config):
        await read(protected, how, given, config)
        return "done"

    await RunnableLambda(outer, name="outer").ainvoke("hi", {"callbacks": [GuardCallback(guard)]})
    assert [one for one in spans(captured) if one[0].startswith("invoke")] == [
        ("invoke_workflow RunnableSequence", "invoke_workflow outer"),
        ("invoke_workflow outer", None),
    ]


async def test_events_keep_the_run_id_that_the_caller_chose(captured, fake_chat):
    """An event stream's run has the id that its config gives."""
    guard = Guard(Guardrail(Flags(when="zzz"), stage="output"), **captured.providers)
    chosen = uuid4()
    events = await read(protect(chain(fake_chat), guard), "astream_events", "hi", {"run_id": chosen})
    assert events[0]["run_id"] == str(chosen)


@pytest.mark.parametrize("rules", [(), (Guardrail(pii(), stage="input"),)], ids=["no rules", "a rule"])
def test_a_guard_that_nobody_listens_to_keeps_no_span_of_anothers(fake_chat, ask, captured, rules):
    """A callback whose guard has no provider takes the span of a model under another guard from nobody."""
    model = protect(fake_chat(answer="Hello"), Guard(**captured.providers))
    ask(model, "Hi", {"callbacks": [GuardCallback(Guard(*rules))]})
    assert spans(captured) == [("chat fake-1", None)]


@pytest.mark.parametrize("rules", [(), (Guardrail(pii(), stage="input"),)], ids=["no rules", "a rule"])
def test_what_is_protected_by_a_guard_that_nobody_listens_to_is_seen_all_the_same(fake_chat, captured, rules):
    """A callback that is listened to has its spans of protected chains and tools, and what lies in them below."""

    @tool
    def add(number: int) -> int:
        """Add one."""
        return number + 1

    silent, config = Guard(*rules), {"callbacks": [GuardCallback(Guard(**captured.providers))]}
    chain = protect(fake_chat(answer="Hello") | StrOutputParser(), silent)
    below = [("chat fake-1", "invoke_workflow RunnableSequence"), ("invoke_workflow RunnableSequence", None)]
    assert chain.invoke("Hi", config) == "".join(chain.stream("Hi", config)) == "Hello"
    assert spans(captured) == below * 2
    captured.clear()
    assert protect(add, silent).invoke({"number": 1}, config) == 2
    assert spans(captured) == [("execute_tool add", None)]
