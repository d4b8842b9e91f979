"""Protected chains and graphs: their boundary is judged in every call mode, and nothing from inside shows round it."""

from __future__ import annotations

import asyncio
import json
import operator
from contextlib import suppress
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import JsonOutputParser, StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import (
    RunnableBranch,
    RunnableConfig,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
    RunnableSequence,
)
from langchain_core.runnables.history import RunnableWithMessageHistory
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from llmguard_langchain import GuardCallback, protect
from llmguard_middleware import (
    ConfigurationError,
    Guard,
    Guardrail,
    GuardrailViolation,
    Monitor,
    UnenforceableError,
    scorer,
)
from llmguard_middleware.testing import Flags

SECRET = "QXZWKVJY"
REDACTS_IN = Guardrail(Flags(when=SECRET, name="in"), stage="input", action="redact")
REDACTS_OUT = Guardrail(Flags(when=SECRET, name="out", cheap=True, reach=10), stage="output", action="redact")
BLOCKS_OUT = Guardrail(Flags(when=SECRET, name="blocks"), stage="output")
PROMPT = ChatPromptTemplate.from_template("{input}")


def chain(model):
    """A prompt, a model and a parser."""
    return {"input": RunnablePassthrough()} | PROMPT | model | StrOutputParser()


def kinds(model):
    """One Runnable of each kind that answers a text with a text."""
    whole = chain(model)

    def generate(given):
        for one in given:
            yield from whole.stream(one)

    async def agenerate(given):
        async for one in given:
            async for text in whole.astream(one):
                yield text

    return {
        "sequence": whole,
        "lambda": RunnableLambda(whole.invoke, afunc=whole.ainvoke, name="asks"),
        "generator": RunnableGenerator(generate, agenerate),
        "branch": RunnableBranch((lambda _: False, RunnableLambda(str)), whole),
        "fallbacks": whole.with_fallbacks([RunnableLambda(str)]),
        "retry": whole.with_retry(),
        "bound": whole.with_config(tags=["a"]),
        "passthrough": whole | RunnablePassthrough(),
    }


KINDS = list(kinds(RunnableLambda(str)))


async def everything(runnable, given, **options):
    """All that every call mode gives, and the pieces of the text in each."""
    collected = {
        "invoke": [await asyncio.to_thread(runnable.invoke, given, **options)],
        "ainvoke": [await runnable.ainvoke(given, **options)],
        "batch": await asyncio.to_thread(runnable.batch, [given], **options),
        "abatch": await runnable.abatch([given], **options),
        "batch_as_completed": [
            one for _, one in await asyncio.to_thread(lambda: list(runnable.batch_as_completed([given], **options)))
        ],
        "abatch_as_completed": [one async for _, one in runnable.abatch_as_completed([given], **options)],
        "stream": await asyncio.to_thread(lambda: list(runnable.stream(given, **options))),
        "astream": [piece async for piece in runnable.astream(given, **options)],
        "transform": await asyncio.to_thread(lambda: list(runnable.transform(iter([given]), **options))),
    }

    async def source():
        yield given

    collected["atransform"] = [piece async for piece in runnable.atransform(source(), **options)]
    return collected


@pytest.mark.filterwarnings("ignore:astream_log is deprecated")
@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_is_judged_at_both_ends_in_every_mode(fake_chat, kind):
    """Whatever the Runnable and however it is called, the model gets redacted text and the caller a redacted answer."""
    model = fake_chat(answer=f"the {SECRET} of it all", size=3)
    original = kinds(model)[kind]
    guarded = protect(original, Guard(REDACTS_IN, REDACTS_OUT))
    assert type(guarded).__name__ == type(original).__name__
    assert isinstance(guarded, type(original))
    for mode, pieces in (await everything(guarded, f"my {SECRET}")).items():
        assert "".join(pieces) == "the <FAKE> of it all", mode
    assert {messages[0].content for messages in model.received} == {"my <FAKE>"}
    events = [event async for event in guarded.astream_events(f"my {SECRET}", version="v2")]
    told = "".join(event["data"]["chunk"] for event in events if event["event"] == "on_chain_stream")
    log = [patch async for patch in guarded.astream_log("hello")]
    assert SECRET not in repr([event["data"].get("chunk") for event in events])
    assert SECRET not in repr([event["data"].get("output") for event in events])
    assert SECRET not in repr(log)
    if kind != "bound":  # an event stream of what is bound is one more run around it
        assert told == "the <FAKE> of it all"
    assert "".join(original.stream(f"my {SECRET}")) == model.answer, "the original is as it was"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_one_span_and_monitored_once(fake_chat, kind, ask, captured):
    """In every call mode a protected Runnable is one span, which a monitor scores once."""
    seen = []

    @scorer
    def watch(output: str, question: str) -> float:
        seen.append((question, output))
        return 1.0

    guard = Guard(REDACTS_OUT, Monitor(watch), **captured.providers)
    guarded = protect(kinds(fake_chat(answer=f"{SECRET}!", size=2))[kind], guard)
    ask(guarded, "Hi")
    assert guard.flush() == 0
    assert seen == [("Hi", "<FAKE>!")]
    assert len([span for span in captured.spans if span.name.startswith("invoke_workflow")]) == 1


@pytest.mark.parametrize("join", ["right", "left", "pipe", "middle", "dict", "assign", "nested"])
def test_a_guarded_chain_stays_guarded_as_a_part_of_another(fake_chat, ask, join):
    """A sequence that becomes part of a sequence is not taken apart, and so does not lose its guard."""
    guarded = protect(chain(fake_chat(answer=f"say {SECRET}", size=2)), Guard(REDACTS_OUT))
    first, last = RunnableLambda(str), RunnableLambda(lambda text: text + "!") | RunnableLambda(str)
    outer = {
        "right": first | guarded,
        "left": guarded | last,
        "pipe": guarded.pipe(last),
        "middle": first | guarded | last,
        "dict": {"a": guarded} | RunnableLambda(operator.itemgetter("a")),
        "assign": RunnableLambda(lambda text: {"b": text})
        | RunnablePassthrough.assign(a=operator.itemgetter("b") | guarded)
        | operator.itemgetter("a"),
        "nested": last | (first | guarded),
    }[join]
    assert "".join(ask(outer, "Hi")).rstrip("!") in ("say <FAKE>", "")
    assert outer.invoke("Hi").rstrip("!") == "say <FAKE>"


@pytest.mark.filterwarnings("ignore:astream_log is deprecated")
async def test_a_chain_around_shows_nothing_from_inside(fake_chat):
    """In the event stream and the log of a chain around a protected one, raw tokens do not show."""
    guarded = protect(chain(fake_chat(answer=f"say {SECRET}", size=2)), Guard(REDACTS_OUT))
    outer = RunnableLambda(str) | guarded | RunnableLambda(str)
    events = [event async for event in outer.astream_events("Hi", version="v2")]
    assert SECRET not in repr(events)
    assert "<FAKE>" in repr(events)
    assert SECRET not in repr([patch async for patch in outer.astream_log("Hi")])


def test_inputs_and_outputs_are_edited_in_copies(fake_chat):
    """The caller's messages, documents and dicts, and what the chain keeps, are not changed."""
    message, document = HumanMessage(f"a {SECRET}"), Document(f"b {SECRET}", metadata={"source": "c"})
    given = {"messages": [message], "documents": (document,), "depth": {"text": SECRET, "number": 3}}
    kept = []
    guarded = protect(RunnableLambda(lambda value: kept.append(value) or given), Guard(REDACTS_IN, REDACTS_OUT))
    told = guarded.invoke(given)
    for one in (told, kept[0]):
        assert one["messages"][0].content == "a <FAKE>"
        assert one["documents"] == (Document("b <FAKE>", metadata={"source": "c"}),)
        assert one["depth"] == {"text": "<FAKE>", "number": 3}
    assert (message.content, document.page_content, given["depth"]["text"]) == (f"a {SECRET}", f"b {SECRET}", SECRET)


def test_tool_calls_in_an_answer_are_texts_of_it(fake_chat):
    """Arguments of tool calls in a chain's answer are redacted."""
    calls = [{"name": "look", "args": {"at": [SECRET]}, "id": "1", "type": "tool_call"}]
    guarded = protect(RunnableLambda(lambda _: AIMessage("", tool_calls=calls)), Guard(REDACTS_OUT))
    assert guarded.invoke("Hi").tool_calls[0]["args"] == {"at": ["<FAKE>"]}
    assert calls[0]["args"] == {"at": [SECRET]}


@pytest.mark.parametrize("size", [1, 3, 100])
async def test_a_stream_of_dicts_is_judged_as_the_whole(fake_chat, size):
    """A secret that is cut over the items of a parallel's stream does not leave."""
    model = fake_chat(answer=f"say {SECRET} now", size=size)
    guarded = protect(RunnableParallel(a=chain(model), b=RunnableLambda(str)), Guard(REDACTS_OUT))
    for items in (list(guarded.stream("Hi")), [item async for item in guarded.astream("Hi")]):
        assert "".join(item.get("a", "") for item in items) == "say <FAKE> now"
        assert "".join(item.get("b", "") for item in items) == "Hi"
        assert all(SECRET not in repr(item) for item in items)


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("shape", ['{"a": "x %s y", "b": ["%s"]}', '["x %s y", "%s"]', '[{"a": "%s %s"}]'])
async def test_a_stream_of_growing_values_shows_no_part_of_a_secret(fake_chat, size, shape):
    """Where each item of a stream is all that was said so far, none ends in the middle of what is redacted."""
    model = fake_chat(answer=shape % (SECRET, SECRET), size=size)
    guarded = protect(model | JsonOutputParser(), Guard(REDACTS_OUT))
    for items in (list(guarded.stream("Hi")), [item async for item in guarded.astream("Hi")]):
        assert items[-1] == json.loads(shape % ("<FAKE>", "<FAKE>"))
        assert "Q" not in repr(items)
    parallel = protect(RunnableParallel(j=model | JsonOutputParser(), s=model | StrOutputParser()), Guard(REDACTS_OUT))
    assert "Q" not in repr(list(parallel.stream("Hi")))
    nested = protect(RunnableParallel(n=RunnableParallel(j=model | JsonOutputParser())), Guard(REDACTS_OUT))
    assert "Q" not in repr(list(nested.stream("Hi")))
    clean = protect(fake_chat(answer=shape % ("one", "two"), size=size) | JsonOutputParser(), Guard(REDACTS_OUT))
    original = fake_chat(answer=shape % ("one", "two"), size=size) | JsonOutputParser()
    assert list(clean.stream("Hi")) == list(original.stream("Hi"))


def test_an_answer_that_nobody_can_look_into_is_refused():
    """Where an output guardrail acts, an object that may hold texts is an error, not a silence."""
    guarded = protect(RunnableLambda(lambda _: {"a": object()}), Guard(BLOCKS_OUT))
    with pytest.raises(
        UnenforceableError, match=r"protect\(RunnableLambda\), which gave a object that nobody can look"
    ):
        guarded.invoke("Hi")


def test_what_can_be_read_only_once_is_refused():
    """An iterator as the input of a chain is an error where an input guardrail acts."""
    guarded = protect(RunnableLambda(list), Guard(REDACTS_IN))
    with pytest.raises(UnenforceableError, match="which was given an iterator, cannot enforce"):
        guarded.invoke(iter([SECRET]))


def test_logprobs_of_a_message_that_was_edited_are_left_out():
    """What repeats an answer token by token does not leave with it."""
    metadata = {"logprobs": [SECRET], "finish_reason": "stop"}
    chain_ = RunnableLambda(lambda _: AIMessage(SECRET, response_metadata=metadata))
    told = protect(chain_, Guard(REDACTS_OUT)).invoke("Hi")
    assert (told.content, told.response_metadata) == ("<FAKE>", {"finish_reason": "stop"})


def test_a_rule_that_a_chain_cannot_enforce_is_refused():
    """Asking again is for models; stages that a chain does not have are for what has them."""
    with pytest.raises(UnenforceableError, match="only a model can be asked again"):
        protect(RunnableLambda(str), Guard(Guardrail(Flags(), stage="output", action="reask")))
    for stage in ("retrieval", "tool_call", "tool_result", "embedding"):
        with pytest.raises(UnenforceableError, match=r"protect\(chain\) cannot enforce"):
            protect(RunnableLambda(str), Guard(Guardrail(Flags(), stage=stage)))


def test_a_refusal_has_the_shape_of_an_answer(fake_chat):
    """In refusal mode a chain of messages answers with a message, one of texts with a text; others are refused."""
    guard = Guard(Guardrail(Flags(when=SECRET), stage="input"), refusal="No.")
    assert protect(PROMPT | fake_chat(), guard).invoke({"input": SECRET}).content == "No."
    assert protect(chain(fake_chat()), guard).invoke(SECRET) == "No."
    with pytest.raises(ConfigurationError, match="cannot answer in refusal mode, since it gives dict"):
        protect(RunnableParallel(a=RunnableLambda(str)), guard)


async def test_a_call_under_a_callback_of_the_same_guard_is_told_once(fake_chat, captured):
    """With the guard's own callback around a protected chain: one span for it, under the chain above, scored once."""
    seen = []

    @scorer
    def watch(output: str) -> float:
        seen.append(output)
        return 1.0

    guard = Guard(REDACTS_OUT, Monitor(watch), **captured.providers)
    guarded = protect(chain(fake_chat(answer=SECRET)), guard).with_config(run_name="inner")
    outer = RunnableLambda(str) | guarded | RunnableLambda(str)
    await outer.ainvoke("Hi", {"callbacks": [GuardCallback(guard)], "run_name": "outer"})
    assert guard.flush() == 0
    told = {(span.name, span.parent) for span in captured.spans if not span.name.startswith("llmguard")}
    assert told == {
        ("invoke_workflow outer", None),
        ("invoke_workflow inner", "invoke_workflow outer"),
        ("chat fake-1", "invoke_workflow inner"),
    }
    assert seen == ["<FAKE>"]


# Graphs.


@pytest.fixture
def nameless(fake_chat):
    """A provider whose answers have no id, so that a graph takes none for a new version of another."""

    class Nameless(fake_chat):
        def _generate(self, *args, **kwargs):
            result = super()._generate(*args, **kwargs)
            result.generations[0].message.id = None
            return result

        def _stream(self, *args, **kwargs):
            for chunk in super()._stream(*args, **kwargs):
                chunk.message.id = None
                yield chunk

    return Nameless


def graph(model, **options):
    """Two nodes that ask a model."""
    made = StateGraph(MessagesState)
    made.add_node("first", lambda state: {"messages": [model.invoke(state["messages"])]})

    async def second(state: MessagesState, config: RunnableConfig) -> Any:
        return {"messages": [await model.ainvoke(state["messages"], config)]}

    made.add_node("second", RunnableLambda(lambda state: {"messages": [model.invoke(state["messages"])]}, afunc=second))
    made.add_edge(START, "first")
    made.add_edge("first", "second")
    return made.compile(name="twice", **options)


async def streamed(runnable, given, **options):
    """The items of a graph's stream, sync and async."""
    return (
        await asyncio.to_thread(lambda: list(runnable.stream(given, **options))),
        [item async for item in runnable.astream(given, **options)],
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stream_mode": "values"},
        {"stream_mode": "updates"},
        {"stream_mode": "messages"},
        {"stream_mode": ["values", "updates", "messages"]},
        {"stream_mode": "messages", "subgraphs": True},
        {"stream_mode": ["messages", "updates"], "subgraphs": True},
        {"stream_mode": ["messages", "values"], "version": "v2"},
    ],
    ids=str,
)
async def test_no_stream_mode_of_a_graph_shows_what_is_redacted(nameless, options):
    """In every stream mode that can be judged, a protected graph gives what it gives, redacted."""
    model = nameless(answer=f"say {SECRET} now", size=3)
    guarded = protect(graph(model), Guard(REDACTS_IN, REDACTS_OUT))
    given = {"messages": [HumanMessage(f"my {SECRET}")]}
    for items in await streamed(guarded, given, **options):
        assert SECRET not in repr(items)
        assert (
            "say <FAKE> now" in repr(items)
            or "".join(item[-2].text if options.get("subgraphs") is None else item[-1][0].text for item in items).count(
                "say <FAKE> now"
            )
            == 2
        )
    assert given["messages"][0].content == f"my {SECRET}"
    assert model.received[0][0].content == "my <FAKE>"


@pytest.mark.parametrize("mode", ["custom", "debug", "checkpoints", "tasks"])
async def test_a_stream_mode_that_cannot_be_judged_is_refused(nameless, mode):
    """What a stream shows of the inside is refused where an output guardrail acts, with the way out; else it passes."""
    items = []
    with pytest.raises(
        UnenforceableError, match=rf'stream_mode="{mode}" cannot.*protect\(model, guard\).*GuardMiddleware'
    ):
        items += await streamed(
            protect(graph(nameless()), Guard(BLOCKS_OUT)), {"messages": []}, stream_mode=[mode, "values"]
        )
    assert items == []
    assert await streamed(protect(graph(nameless()), Guard(REDACTS_IN)), {"messages": []}, stream_mode=[mode, "values"])


async def test_a_protected_graph_invokes_and_tells(nameless, captured):
    """Invoke and ainvoke give the redacted state; a graph with a name is an agent's span, with its conversation."""
    guard = Guard(REDACTS_OUT, **captured.providers)
    guarded = protect(graph(nameless(answer=SECRET), checkpointer=InMemorySaver()), guard)
    for number, ask in enumerate((guarded.invoke, guarded.ainvoke)):
        state = ask({"messages": [HumanMessage("Hi")]}, {"configurable": {"thread_id": str(number)}})
        state = await state if asyncio.iscoroutine(state) else state
        assert [message.content for message in state["messages"]] == ["Hi", "<FAKE>", "<FAKE>"]
    assert [span.name for span in captured.spans if not span.name.startswith("llmguard")] == ["invoke_agent twice"] * 2


async def test_event_streams_of_a_graph_show_nothing_from_inside(nameless, installed):
    """Events of version 2 tell of the graph itself; those of version 3 are refused while an output guardrail acts."""
    guarded = protect(graph(nameless(answer=f"say {SECRET}", size=2)), Guard(REDACTS_OUT))
    given = {"messages": [HumanMessage("Hi")]}
    events = [event async for event in guarded.astream_events(given, version="v2")]
    assert "say <FAKE>" in repr(events)
    assert SECRET not in repr(events)
    if installed.event_streams:
        with pytest.raises(UnenforceableError, match="event stream of version 3"):
            guarded.stream_events(given, version="v3")
    else:
        assert not hasattr(guarded, "stream_events")
    with pytest.raises(UnenforceableError, match="event stream of version 3"):
        guarded.astream_events(given, version="v3")


@pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")
@pytest.mark.parametrize("outer", [(), (Guardrail(Flags(when="fine"), stage="output", action="log"),)])
def test_event_streams_of_a_graph_stay_streams_under_input_guardrails(nameless, outer):
    """With guardrails at the input only, events of version 3 tell of both models, and the first got what is guarded."""
    model = nameless(answer="all fine", size=2)
    guarded = protect(graph(model), Guard(REDACTS_IN, *outer))
    if not hasattr(graph(model), "stream_events"):  # the first LangGraph 1 has none, and neither has a copy
        assert not hasattr(guarded, "stream_events")
        return
    events = list(guarded.stream_events({"messages": [HumanMessage(SECRET)]}, version="v3"))
    assert model.received[0][0].text == "<FAKE>"
    assert len([event for event in events if "content-block-delta" in repr(event)]) == 2 * 4


def test_event_streams_of_a_graph_are_refused_where_originals_have_to_come_back(nameless):
    """Events of version 3 would show placeholders in pieces: refused under pseudonymize."""
    guarded = protect(
        graph(nameless()), Guard(Guardrail(Flags(when=SECRET, name="in"), stage="input", action="pseudonymize"))
    )
    if not hasattr(graph(nameless()), "stream_events"):  # as above
        assert not hasattr(guarded, "stream_events")
        return
    for method in (guarded.stream_events, guarded.astream_events):
        with pytest.raises(UnenforceableError, match=r"pseudonymize at the input stage.*put protect"):
            method({"messages": [HumanMessage(SECRET)]}, version="v3")


@pytest.mark.parametrize("mode", ["messages", "updates", "values"])
async def test_a_graph_around_a_protected_graph_shows_nothing_from_inside(nameless, mode):
    """As a node of another graph, with or without `subgraphs`, a protected graph shows what is guarded only."""
    guarded = protect(graph(nameless(answer=f"say {SECRET}", size=2)), Guard(REDACTS_OUT))
    outer = StateGraph(MessagesState)
    outer.add_node("inner", guarded)
    outer.add_edge(START, "inner")
    compiled = outer.compile()
    for subgraphs in (False, True):
        for items in await streamed(
            compiled, {"messages": [HumanMessage("Hi")]}, stream_mode=mode, subgraphs=subgraphs
        ):
            assert SECRET not in repr(items)
            assert "<FAKE>" in repr(items)


def test_an_interrupt_passes_and_is_resumed():
    """A graph that asks a person is no failure, and goes on with what the person says, judged."""

    class State(TypedDict):
        said: Annotated[list[str], operator.add]

    def asks(state: State) -> Any:
        return {"said": [interrupt(f"who is {SECRET}?")]}

    made = StateGraph(State)
    made.add_node("asks", asks)
    made.add_edge(START, "asks")
    made.add_edge("asks", END)
    guarded = protect(made.compile(checkpointer=InMemorySaver()), Guard(REDACTS_IN, REDACTS_OUT))
    config: Any = {"configurable": {"thread_id": "1"}}
    (asked,) = guarded.invoke({"said": []}, config)["__interrupt__"]
    assert asked.value == "who is <FAKE>?"
    assert guarded.invoke(Command(resume=f"it is {SECRET}"), config)["said"] == ["it is <FAKE>"]


def test_a_graph_answers_in_refusal_mode_with_a_message(nameless):
    """A stopped call of a graph with messages gives them, and the refusal as the last."""
    guarded = protect(graph(nameless()), Guard(Guardrail(Flags(when=SECRET), stage="input"), refusal="No."))
    given = {"messages": [HumanMessage(SECRET)]}
    assert [m.content for m in guarded.invoke(given)["messages"]] == [SECRET, "No."]
    assert [m.content for m in list(guarded.stream(given, stream_mode="values"))[-1]["messages"]] == [SECRET, "No."]
    assert next(guarded.stream(given, stream_mode="messages"))[0].content == "No."


def test_a_writer_is_heard_where_nothing_has_to_be_judged(nameless):
    """What a node writes to the stream itself passes where no output guardrail acts."""

    def writes(state: MessagesState) -> Any:
        get_stream_writer()("progress")
        return {"messages": [AIMessage("done")]}

    made = StateGraph(MessagesState)
    made.add_node("writes", writes)
    made.add_edge(START, "writes")
    guarded = protect(made.compile(), Guard(Guardrail(Flags(), stage="input", action="log")))
    assert list(guarded.stream({"messages": [HumanMessage("Hi")]}, stream_mode="custom")) == ["progress"]


def test_a_violation_in_a_stream_of_states_lets_nothing_more_out(nameless):
    """Of a graph whose second answer is blocked, the first state is out and the second is not."""
    answers = iter(["fine", SECRET])
    guarded = protect(graph(nameless(answer=lambda _: next(answers))), Guard(BLOCKS_OUT))
    items = []
    with pytest.raises(GuardrailViolation):
        items.extend(guarded.stream({"messages": [HumanMessage("Hi")]}, stream_mode="updates"))
    assert [list(item) for item in items] in ([], [["first"]])
    assert SECRET not in repr(items)


def test_a_sequence_can_be_looked_at(fake_chat):
    """A protected sequence draws itself, tells its schemas and is shown as the original is."""
    original = chain(fake_chat())
    guarded = protect(original, Guard())
    assert guarded.get_graph().draw_mermaid() == original.get_graph().draw_mermaid()
    assert guarded.get_input_jsonschema() == original.get_input_jsonschema()
    assert guarded.get_output_jsonschema() == original.get_output_jsonschema()
    assert repr(guarded) == repr(original)
    assert isinstance(guarded, RunnableSequence)
    assert guarded.config_specs == original.config_specs


class Ends(BaseCallbackHandler):
    """Keeps what it is told of the outermost run."""

    def __init__(self):
        self.told = []

    def on_chain_end(self, outputs, *, parent_run_id=None, **kwargs):
        """Keep it."""
        if parent_run_id is None:
            self.told.append(outputs)


@pytest.mark.parametrize("refusal", [None, "No."])
def test_listeners_are_told_what_left(ask, refusal):
    """Listeners and callbacks of a protected chain are told of its answer as the guard let it pass, in every mode."""
    says = RunnableLambda(lambda _: f"key {SECRET}") | StrOutputParser()
    action = "redact" if refusal is None else "block"
    guarded = protect(
        says,
        Guard(
            Guardrail(Flags(when=SECRET, name="f", cheap=True, reach=10), stage="output", action=action),
            refusal=refusal,
        ),
    )
    heard, ends = [], Ends()
    listened = guarded.with_listeners(on_end=lambda run: heard.append(run.outputs["output"]))
    ask(listened, "hi", {"callbacks": [ends]})
    expected = refusal or "key <FAKE>"
    assert [*heard, *ends.told] == [expected, expected]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("action", ["redact", "block"])
def test_a_message_history_keeps_what_left(ask, action):
    """RunnableWithMessageHistory around a protected chain keeps no character that a guardrail removes or blocks."""
    kept = InMemoryChatMessageHistory()
    says = RunnableLambda(lambda _: f"key {SECRET}") | StrOutputParser()
    guarded = protect(
        says, Guard(Guardrail(Flags(when=SECRET, name="f", cheap=True, reach=10), stage="output", action=action))
    )
    remembering = RunnableWithMessageHistory(guarded, lambda session_id: kept)
    with suppress(GuardrailViolation):
        ask(remembering, [HumanMessage("hi")], {"configurable": {"session_id": "1"}})
    assert SECRET not in repr(kept.messages)
    assert action == "block" or kept.messages[-1].content == "key <FAKE>"
