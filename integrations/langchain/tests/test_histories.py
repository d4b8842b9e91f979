"""Message histories around protected chains, and pseudonyms that have to come back in the next turn."""

from __future__ import annotations

import asyncio
import operator
from functools import reduce

import pytest
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph

from llmguard_langchain import GuardCallback, protect
from llmguard_middleware import ConfigurationError, Guard, Guardrail, GuardrailViolation, Pseudonymize
from llmguard_middleware.scorers import pii, secrets
from llmguard_middleware.testing import Flags

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

AMY, BOB, KEY = "amy@example.com", "bob@example.com", "AKIAIOSFODNN7EXAMPLE"
PSEUDONYMIZES = Guardrail(pii(), stage="input", action="pseudonymize", name="names")
GUARDS = {
    "alone": lambda: Guard(PSEUDONYMIZES),
    "with an output rule": lambda: Guard(PSEUDONYMIZES, Guardrail(secrets(), stage="output", action="redact")),
    "with a holding rule": lambda: Guard(PSEUDONYMIZES, Guardrail(Flags(when="never"), stage="output")),
}
PROMPT = ChatPromptTemplate.from_messages([("system", "Be kind."), MessagesPlaceholder("history"), ("human", "{q}")])


def echo(messages):
    """An answer that repeats all that was said by the user."""
    return "You said: " + "; ".join(str(one.content) for one in messages if one.type == "human")


@pytest.fixture
def model(fake_chat):
    """A model that repeats, three letters at a time, and keeps what it was given."""
    return fake_chat(answer=echo, size=3)


async def _all(chunks):
    return [chunk async for chunk in chunks]


def asked(runnable, mode, given, config):
    """The answer, as text."""
    if mode == "invoke":
        answer = runnable.invoke(given, config)
    elif mode == "ainvoke":
        answer = asyncio.run(runnable.ainvoke(given, config))
    else:
        got = runnable.stream if mode == "stream" else runnable.astream
        chunks = got(given, config)
        answer = reduce(operator.add, list(chunks) if mode == "stream" else asyncio.run(_all(chunks)))
    return answer if isinstance(answer, str) else str(answer.content)


SESSION = {"configurable": {"session_id": "1"}}
TURNS = (f"I am {AMY}", f"{BOB}, not {AMY}")


@pytest.mark.parametrize("mode", ["invoke", "ainvoke", "stream", "astream"])
@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.parametrize("texts", [True, False])
@pytest.mark.parametrize("heard", [True, False])
def test_a_history_around_a_protected_chain_keeps_originals(model, mode, guard, texts, heard):
    """Caller and history get the originals, the model never does, and the second turn knows whom the first spoke of."""
    guard = GUARDS[guard]()
    chain = PROMPT | model | StrOutputParser() if texts else PROMPT | model
    kept = InMemoryChatMessageHistory()
    remembering = RunnableWithMessageHistory(
        protect(chain, guard), lambda _: kept, input_messages_key="q", history_messages_key="history"
    )
    config = {**SESSION, "callbacks": [GuardCallback(guard)]} if heard else SESSION
    answers = [asked(remembering, mode, {"q": turn}, config) for turn in TURNS]
    assert answers == [f"You said: {TURNS[0]}", f"You said: {TURNS[0]}; {TURNS[1]}"]
    assert [str(one.content) for one in kept.messages] == [TURNS[0], answers[0], TURNS[1], answers[1]]
    assert AMY not in repr(model.received)
    assert BOB not in repr(model.received)
    first, again = (str(message.content) for message in model.received[1] if message.type == "human")
    assert first.split()[-1] == again.split()[-1]  # one placeholder for one value


@pytest.mark.parametrize("mode", ["invoke", "ainvoke", "stream", "astream"])
def test_a_history_of_messages_alone_keeps_originals(model, mode):
    """The same where a chain takes a list of messages, history included."""
    kept = InMemoryChatMessageHistory()
    remembering = RunnableWithMessageHistory(
        protect(RunnableLambda(list) | model, Guard(PSEUDONYMIZES)), lambda _: kept
    )
    for turn in TURNS:
        asked(remembering, mode, [HumanMessage(turn)], SESSION)
    assert [str(one.content) for one in kept.messages] == [
        TURNS[0],
        f"You said: {TURNS[0]}",
        TURNS[1],
        f"You said: {TURNS[0]}; {TURNS[1]}",
    ]
    assert AMY not in repr(model.received)


@pytest.mark.parametrize("mode", ["invoke", "ainvoke", "stream", "astream"])
def test_a_history_keeps_what_was_redacted(model, mode):
    """What a guardrail redacts is in no history, be it pseudonymized text's neighbour or the whole question."""
    guard = Guard(
        PSEUDONYMIZES,
        Guardrail(Flags(when="hush", name="hush", cheap=True, reach=4), stage="input", action="redact"),
        Guardrail(secrets(), stage="output", action="redact"),
    )
    kept = InMemoryChatMessageHistory()
    chain = RunnableLambda(list) | model | StrOutputParser() | (lambda text: f"{text} {KEY}")
    remembering = RunnableWithMessageHistory(protect(chain, guard), lambda _: kept)
    for turn in (f"hush, I am {AMY}", "hush"):
        asked(remembering, mode, [HumanMessage(turn)], SESSION)
    stored = repr(kept.messages)
    assert "hush" not in stored
    assert KEY not in stored
    assert AMY in stored
    assert AMY not in repr(model.received)


def test_a_blocked_turn_leaves_the_history_as_it_was(model):
    """What a guardrail blocks does not get into the history, and the next turn works."""
    guard = Guard(PSEUDONYMIZES, Guardrail(Flags(when="forbidden"), stage="input"))
    kept = InMemoryChatMessageHistory()
    remembering = RunnableWithMessageHistory(protect(RunnableLambda(list) | model, guard), lambda _: kept)
    with pytest.raises(GuardrailViolation):
        remembering.invoke([HumanMessage("forbidden")], SESSION)
    assert not kept.messages
    assert remembering.invoke([HumanMessage(TURNS[0])], SESSION).content == f"You said: {TURNS[0]}"


async def test_event_streams_show_the_originals_of_a_protected_chain(model):
    """What an event stream tells of the chain itself has the originals, what it tells of the model placeholders."""
    chain = protect(RunnableLambda(list) | model | StrOutputParser(), Guard(PSEUDONYMIZES))
    events = [event async for event in chain.astream_events([HumanMessage(TURNS[0])], version="v2")]
    own = [event for event in events if event["event"] == "on_chain_stream" and not event["parent_ids"]]
    assert "".join(event["data"]["chunk"] for event in own) == f"You said: {TURNS[0]}"
    assert events[-1]["data"]["output"] == f"You said: {TURNS[0]}"
    told = [event for event in events if event["event"] == "on_chat_model_stream"]
    assert told
    assert AMY not in repr(told)


def test_a_protected_history_with_pseudonyms_is_refused(model):
    """protect() around a history would have it store dead placeholders; the sentence says how to write it."""
    history = RunnableWithMessageHistory(RunnableLambda(list) | model, lambda _: InMemoryChatMessageHistory())
    with pytest.raises(ConfigurationError, match=r"RunnableWithMessageHistory\(protect\(chain, guard\), \.\.\.\)"):
        protect(history, Guard(PSEUDONYMIZES))
    with pytest.raises(ConfigurationError, match="would store them"):
        protect(history.with_config(tags=["a"]), Guard(PSEUDONYMIZES))


def test_a_protected_history_with_a_vault_is_not_refused(model):
    """A vault keeps the originals, so that whoever reads the history can put them back."""
    vault, kept = {}, InMemoryChatMessageHistory()
    history = RunnableWithMessageHistory(RunnableLambda(list) | model, lambda _: kept)
    guard = Guard(Guardrail(pii(), stage="input", action=Pseudonymize(vault=vault)))
    assert protect(history, guard).invoke([HumanMessage(TURNS[0])], SESSION).content == f"You said: {TURNS[0]}"
    stored = str(kept.messages[0].content)
    assert stored == f"I am {next(iter(vault))}"


def graph(model, **options):
    """A graph with one node, which asks the model."""
    made = StateGraph(MessagesState)
    made.add_node("ask", lambda state: {"messages": [AIMessage(model.invoke(state["messages"]).content)]})
    made.add_edge(START, "ask")
    made.add_edge("ask", END)
    return made.compile(**options)


def test_a_protected_graph_with_a_checkpointer_and_pseudonyms_is_refused(model):
    """A graph's checkpoints would hold dead placeholders; the sentence says what to do."""
    with pytest.raises(ConfigurationError, match="protect the models inside"):
        protect(graph(model, checkpointer=InMemorySaver()), Guard(PSEUDONYMIZES))


def test_a_protected_graph_without_a_checkpointer_takes_pseudonyms(model):
    """A graph that stores nothing gives the originals back, turn after turn, if it is given what was said."""
    protected = protect(graph(model), Guard(PSEUDONYMIZES))
    messages = []
    for turn in TURNS:
        messages = protected.invoke({"messages": [*messages, HumanMessage(turn)]})["messages"]
    assert [str(one.content) for one in messages] == [
        TURNS[0],
        f"You said: {TURNS[0]}",
        TURNS[1],
        f"You said: {TURNS[0]}; {TURNS[1]}",
    ]
    assert isinstance(messages[-1], AIMessage)
    assert AMY not in repr(model.received)
