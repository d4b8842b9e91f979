"""What LangGraph keeps of a guarded agent's run, and what it does not."""

from __future__ import annotations

import copy
import json
import sys

import pytest
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from llmguard_langchain import GuardMiddleware
from llmguard_middleware import Guard, Guardrail, GuardrailViolation
from llmguard_middleware.scorers import pii
from llmguard_middleware.testing import Flags

USER, ARGUMENT, RESULT, ANSWER = "amy@example.com", "carl@example.com", "bob@example.com", "dora@example.com"
ALL = (USER, ARGUMENT, RESULT, ANSWER)
THREAD = {"configurable": {"thread_id": "1"}}


def redacting():
    """A guard that redacts at every stage of an agent."""
    stages = ("input", "output", "tool_call", "tool_result")
    return Guard(*(Guardrail(pii(), stage=stage, action="redact", name=stage) for stage in stages))


def blocking(stage, **options):
    """A guard that blocks what says "wrong" at this stage."""
    return Guard(Guardrail(Flags(when="wrong"), stage=stage), **options)


def kept(agent):
    """The messages of the thread."""
    return agent.graph.get_state(THREAD).values.get("messages", [])


@pytest.mark.parametrize(("state", "held"), [("raw", {USER}), ("redacted", set())])
def test_the_thread_holds_what_the_option_says(make_agent, tool_calls, whole_mode, state, held):
    """`raw` keeps what the user said, `redacted` does not, and neither what the model gave against an output rule; the
    model, the tool and the caller's answer are the same.
    """
    agent = make_agent(
        tool_calls({"who": ARGUMENT}, text="Wait."),
        f"It is {ANSWER}.",
        result=RESULT,
        middleware=[GuardMiddleware(redacting(), state=state)],
        checkpointer=InMemorySaver(),
    )
    mine = HumanMessage(f"I am {USER}.", id="mine")
    before = copy.deepcopy(mine)
    agent.ask({"messages": [mine]}, whole_mode, **THREAD)
    assert mine == before
    assert {one for one in ALL if one in repr(kept(agent))} == held
    assert kept(agent)[0].id == "mine"
    assert agent.looked_up == ["<EMAIL_ADDRESS>"]
    assert USER not in agent.received
    assert RESULT not in agent.received


def test_no_checkpoint_holds_the_question_if_only_the_last_is_written(make_agent, tool_calls, whole_mode):
    """With state="redacted" and durability="exit", no address is stored anywhere."""
    saver = InMemorySaver()
    agent = make_agent(
        tool_calls({"who": ARGUMENT}),
        ANSWER,
        result=RESULT,
        middleware=[GuardMiddleware(redacting(), state="redacted")],
    )
    agent.graph.checkpointer = saver
    given = {"messages": [HumanMessage(USER)]}
    agent.graph.invoke(given, THREAD, durability="exit")
    stored = repr([checkpoint.checkpoint for checkpoint in saver.list(THREAD)])
    assert "<EMAIL_ADDRESS>" in stored
    assert not [one for one in ALL if one in stored]


def test_arguments_are_redacted_wherever_a_provider_repeats_them(make_agent):
    """Arguments in content blocks and in additional_kwargs are those of the redacted call."""
    call = {"name": "lookup", "args": {"who": ARGUMENT}, "id": "1"}
    written = json.dumps(call["args"])
    message = AIMessage(
        [
            {"type": "text", "text": "Wait."},
            {"type": "tool_use", "id": "1", "name": "lookup", "input": call["args"]},
            {"type": "function_call", "call_id": "1", "name": "lookup", "arguments": written},
            {"type": "tool_use", "id": "other", "name": "elsewhere", "input": {}},
        ],
        tool_calls=[call],
        additional_kwargs={"tool_calls": [{"id": "1", "function": {"name": "lookup", "arguments": written}}]},
    )
    guard = Guard(Guardrail(pii(), stage="tool_call", action="redact"))
    agent = make_agent(message, "done", middleware=[GuardMiddleware(guard, state="redacted")])
    messages = agent.ask("hi")["messages"]
    assert ARGUMENT not in repr(messages)
    assert messages[1].content[1]["input"] == {"who": "<EMAIL_ADDRESS>"}
    assert ARGUMENT in repr(message)


def test_the_run_is_not_stored(make_agent, tool_calls, whole_mode, installed):
    """What the nodes of a run share is in no checkpoint, and shows nothing where a state is printed."""
    saver = InMemorySaver()
    agent = make_agent(tool_calls({"who": "x"}), "done", middleware=[GuardMiddleware(Guard())], checkpointer=saver)
    result = agent.ask("hi", whole_mode, **THREAD)
    stored = repr([(one.checkpoint, one.pending_writes) for one in saver.list(THREAD)]).replace("GuardMiddleware", "")
    if not installed.lean_tool_calls:
        assert "'llmguard_run': {}" in stored
        stored = stored.replace("'llmguard_run': {}", "")
    assert "llmguard" not in stored
    assert set(result) == {"messages"}
    assert json.dumps(agent.graph.get_state(THREAD).values["llmguard_run"]) == "{}"
    agent.graph.update_state(THREAD, copy.deepcopy(agent.graph.get_state(THREAD).values))
    assert len(kept(agent)) == 4


@pytest.mark.parametrize("stage", ["input", "output", "tool_call", "tool_result"])
def test_a_blocked_turn_is_taken_out(make_agent, tool_calls, whole_mode, stage):
    """After a turn that was blocked the thread goes on where it was before."""
    at = {one: "wrong" if one == stage else "good" for one in ("input", "output", "tool_call", "tool_result")}
    agent = make_agent(
        "welcome",
        tool_calls({"who": at["tool_call"]}),
        at["output"],
        result=at["tool_result"],
        middleware=[GuardMiddleware(blocking(stage))],
        checkpointer=InMemorySaver(),
    )
    agent.ask("hi", whole_mode, **THREAD)
    before = kept(agent)
    with pytest.raises(GuardrailViolation):
        agent.ask(at["input"], whole_mode, **THREAD)
    assert kept(agent) == before
    agent.model.answers[1:] = [AIMessage("good")]
    assert agent.ask("again", whole_mode, **THREAD)["messages"][-1].content == "good"


def test_a_turn_of_the_past_that_is_blocked_now_is_taken_out(make_agent):
    """A turn that passed under other rules, and stops every turn under these, goes with the one that it stopped."""
    saver = InMemorySaver()
    agent = make_agent("welcome", "hm", "fine", checkpointer=saver)
    for text in ("hi", "wrong", "and now"):
        agent.ask(text, **THREAD)
    guarded = make_agent("welcome", "good", "good", middleware=[GuardMiddleware(blocking("input"))], checkpointer=saver)
    with pytest.raises(GuardrailViolation):
        guarded.ask("go on", **THREAD)
    assert [message.content for message in kept(guarded)] == ["hi", "welcome", "and now", "fine"]


def test_a_blocked_turn_can_stay(make_agent):
    """With on_block="keep" the turn stays, and as long as it is there the thread is blocked, as the code says."""
    middleware = GuardMiddleware(blocking("input"), on_block="keep")
    agent = make_agent("good", middleware=[middleware], checkpointer=InMemorySaver())
    for text, messages in (("wrong", 1), ("again", 2)):
        with pytest.raises(GuardrailViolation) as raised:
            agent.ask(text, **THREAD)
        assert raised.value.code == "blocked"
        assert len(kept(agent)) == messages


@pytest.mark.parametrize("state", ["raw", "redacted"])
def test_a_refused_question_is_emptied(make_agent, whole_mode, state):
    """In refusal mode the answer stays in the thread, and the question that was refused stays without its text."""
    guard = blocking("input", refusal="I cannot help with that.")
    agent = make_agent("unused", "good", middleware=[GuardMiddleware(guard, state=state)], checkpointer=InMemorySaver())
    assert agent.ask("wrong", whole_mode, **THREAD)["messages"][-1].content == "I cannot help with that."
    assert [message.content for message in kept(agent)] == ["[blocked]", "I cannot help with that."]
    assert agent.ask("hi", whole_mode, **THREAD)["messages"][-1].content == "good"


@pytest.mark.parametrize("stage", ["tool_call", "tool_result"])
def test_a_refused_tool_says_so(make_agent, tool_calls, whole_mode, stage):
    """In refusal mode a tool call that is stopped has the refusal for its result, and the model goes on."""
    guard = blocking(stage, refusal="I cannot help with that.")
    agent = make_agent(
        tool_calls({"who": "wrong" if stage == "tool_call" else "x"}),
        "good",
        result="wrong" if stage == "tool_result" else "good",
        middleware=[GuardMiddleware(guard)],
    )
    messages = agent.ask("hi", whole_mode)["messages"]
    assert [message.content for message in messages] == ["hi", "", "I cannot help with that.", "good"]
    assert "wrong" not in agent.received.replace("'who': 'wrong'", "")


@tool
def approve(what: str) -> str:
    """Ask a person."""
    return str(interrupt(f"{what}?"))


def approving(make_agent, guard, **options):
    """An agent whose tool asks a person."""
    call = AIMessage("", tool_calls=[{"name": "approve", "args": {"what": "this"}, "id": "1"}])
    saver = InMemorySaver()
    return make_agent(call, "good", tools=[approve], middleware=[GuardMiddleware(guard, **options)], checkpointer=saver)


def test_a_tool_that_asks_a_person_is_resumed(make_agent, whole_mode):
    """An interrupt in a tool passes untouched, and what the person says is judged as the tool's result."""
    guard = Guard(Guardrail(pii(), stage="tool_result", action="redact"))
    agent = approving(make_agent, guard)
    agent.ask("hi", whole_mode, **THREAD)
    assert [one.value for one in agent.graph.get_state(THREAD).tasks[0].interrupts] == ["this?"]
    messages = agent.ask(Command(resume=f"yes, {RESULT}"), whole_mode, **THREAD)["messages"]
    assert [message.content for message in messages] == ["hi", "", "yes, <EMAIL_ADDRESS>", "good"]


def test_what_a_resumed_run_is_told_can_stop_it(make_agent, whole_mode):
    """A run that goes on after an interrupt is stopped as any other, and its whole turn is taken out."""
    agent = approving(make_agent, blocking("tool_result"))
    agent.ask("hi", whole_mode, **THREAD)
    with pytest.raises(GuardrailViolation):
        agent.ask(Command(resume="wrong"), whole_mode, **THREAD)
    assert kept(agent) == []
    assert len(agent.model.received) == 1


@pytest.mark.parametrize("first", [True, False], ids=["guard first", "guard last"])
@pytest.mark.parametrize("mode", ["invoke", "ainvoke"] if sys.version_info >= (3, 11) else ["invoke"])  # as documented
def test_a_person_in_the_loop(make_agent, tool_calls, mode, first):
    """A tool call that a person edits is judged as edited."""
    guard = GuardMiddleware(Guard(Guardrail(pii(), stage="tool_call", action="redact")))
    person = HumanInTheLoopMiddleware({"lookup": {"allowed_decisions": ["approve", "edit", "reject"]}})
    middleware = [guard, person] if first else [person, guard]
    agent = make_agent(tool_calls({"who": "x"}), "good", middleware=middleware, checkpointer=InMemorySaver())
    agent.ask("hi", mode, **THREAD)
    edit = {"type": "edit", "edited_action": {"name": "lookup", "args": {"who": ARGUMENT}}}
    agent.ask(Command(resume={"decisions": [edit]}), mode, **THREAD)
    assert agent.looked_up == ["<EMAIL_ADDRESS>"]


def test_history_is_not_judged_again(make_agent):
    """A verdict is remembered for the conversation: at every turn only what is new is scored."""
    scored = []

    def notes(text: str) -> bool:
        scored.append(text)
        return False

    middleware = GuardMiddleware(Guard(Guardrail(notes, stage="input")))
    agent = make_agent("one", "two", middleware=[middleware], checkpointer=InMemorySaver())
    agent.ask("first", **THREAD)
    agent.ask("second", **THREAD)
    assert scored == ["first", "second"]
