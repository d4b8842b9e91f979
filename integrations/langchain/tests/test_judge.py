"""A chat model as a judge: asked for a form, counted, and neither judged nor scored itself, whatever guards it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from llmguard_langchain import GuardCallback, GuardMiddleware, instrument, protect, uninstrument
from llmguard_middleware import Guard, Guardrail, Monitor
from llmguard_middleware.scorers import judge
from llmguard_middleware.telemetry import TelemetryOptions
from llmguard_middleware.testing import Flags

GOOD = '{"reasoning": "It says so.", "score": 0.75}'
PROMPT = "Is {output} a good answer to {question}? BOMB"
JUDGE = "llmguard.judge.name"
EVERYTHING = (
    Guardrail(Flags(when=""), stage="input", name="all-in"),
    Guardrail(Flags(when=""), stage="output", name="all-out"),
)


def guarding(captured, *rules, **options) -> Guard:
    """A guard whose telemetry is captured."""
    return Guard(*rules, **options, **captured.providers)


class Seen:
    """A monitor's scorer that flags nothing and keeps what it was given."""

    name = "seen"

    def __init__(self) -> None:
        self.outputs: list[str] = []

    def score(self, output: Any) -> bool:
        """Keep it."""
        self.outputs.append(str(output))
        return False


def marked(captured) -> list[tuple[str, str]]:
    """The names of the spans of calls and of the judges that they are of."""
    return [
        (span.name, span.attributes.get(JUDGE, "")) for span in captured.spans if not span.name.startswith("llmguard.")
    ]


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_guarded_judge_is_neither_blocked_nor_scored(provider, captured, how):
    """Its guard blocks and monitors all there is; its call has one span, which says whose it is."""
    seen = Seen()
    guard = guarding(captured, *EVERYTHING, Monitor(seen))
    good = judge(PROMPT, model=protect(provider(answer=GOOD), guard), name="good")
    given = {"output": "yes", "question": "what?"}
    score = good.score(**given) if how == "sync" else asyncio.run(good.ascore(**given))
    assert guard.flush(timeout=10) == 0
    assert (score.value, score.explanation, seen.outputs) == (0.75, "It says so.", [])
    (span,) = captured.spans
    assert (span.name, span.attributes[JUDGE], span.attributes["llmguard.guard.name"]) == (
        "chat fake-1",
        "good",
        "default",
    )
    assert span.attributes["gen_ai.usage.input_tokens"] == 3
    assert "llmguard.verdict" not in span.attributes


@pytest.mark.parametrize("stage", ["input", "output"])
def test_a_judge_may_be_the_model_that_it_judges(fake_chat, captured, stage):
    """The guarded model is asked by its own guardrail: that call has a span of its own and ends there."""

    def said(messages):
        return GOOD if "BOMB" in str(messages) else "fine"

    holder: list[Any] = []
    prompt = "Judge {text} BOMB"
    rule = Guardrail(judge(prompt, model=lambda _: holder[0].invoke("BOMB").content, name="own"), stage=stage)
    guard = guarding(captured, rule)
    holder.append(protect(fake_chat(answer=said), guard))
    assert holder[0].invoke("hello").content == "fine"
    assert sorted(marked(captured)) == [("chat fake-1", ""), ("chat fake-1", "own")]


@pytest.mark.parametrize("where", ["callback", "instrument", "both"])
def test_a_watched_judge_is_marked_and_not_scored(fake_chat, captured, where):
    """By a GuardCallback or for the whole process, with a guard that would refuse and score all."""
    seen = Seen()
    guard = guarding(captured, *EVERYTHING, Monitor(seen), name="watch")
    model = fake_chat(answer=GOOD)
    if where != "instrument":
        model = model.with_config(callbacks=[GuardCallback(guard)])
    if where != "callback":
        instrument(guard)
    try:
        score = judge(PROMPT, model=model).score(output="a", question="b")
    finally:
        uninstrument()
    assert guard.flush(timeout=10) == 0
    assert (score.value, seen.outputs, marked(captured)) == (0.75, [], [("chat fake-1", "judge")])


def test_a_judge_in_the_guardrail_of_an_instrumented_process_is_marked(fake_chat, captured):
    """Its call is told from the one that it judges, and only the latter is scored."""
    seen = Seen()
    guard = guarding(
        captured,
        Guardrail(judge("Judge {text}", model=fake_chat(answer=GOOD), name="own"), stage="input"),
        Monitor(seen),
    )
    chain = ChatPromptTemplate.from_messages([("user", "{question}")]) | protect(fake_chat(), guard) | StrOutputParser()
    watch = guarding(captured, Monitor(seen), name="watch")
    assert chain.invoke({"question": "hi"}, {"callbacks": [GuardCallback(watch)]}) == "Hello."
    assert guard.flush(timeout=10) == 0
    assert watch.flush(timeout=10) == 0
    assert seen.outputs == ["Hello.", "Hello."]
    assert [judged for _, judged in marked(captured) if judged] == ["own"]


@pytest.mark.parametrize("how", ["sync", "async"])
def test_what_a_monitor_asks_is_in_the_trace_of_what_it_scores(fake_chat, captured, how):
    """Below the call, with the score; not in a trace that nobody would find."""
    model = fake_chat(answer=GOOD)

    async def later(messages: Any) -> Any:
        return (await guarded.ainvoke([(one["role"], one["content"]) for one in messages])).content

    guarded = protect(model, guarding(captured))
    asked = judge("{output}", model=guarded if how == "sync" else later, name="own")
    guard = guarding(captured, Monitor(asked), name="watch")
    protect(fake_chat(), guard).invoke("hello")
    assert guard.flush(timeout=10) == 0
    scored, question = (
        next(one for one in captured.spans if one.attributes.get(JUDGE, "") == name) for name in ("", "own")
    )
    assert (question.name, question.parent, question.trace_id) == ("chat fake-1", scored.name, scored.trace_id)


@pytest.mark.parametrize("how", ["sync", "async", "race"])
def test_what_a_guardrail_asks_lies_below_what_it_guards(fake_chat, captured, how):
    """In its trace, whoever asks and however the guardrail runs."""
    asked = judge("{text}", model=protect(fake_chat(answer=GOOD), guarding(captured)), name="own")
    model = protect(fake_chat(), guarding(captured, Guardrail(asked, stage="input", race=how == "race")))
    answer = model.invoke("hello") if how != "async" else asyncio.run(model.ainvoke("hello"))
    assert answer.content == "Hello."
    judged, question = (
        next(one for one in captured.spans if one.attributes.get(JUDGE, "") == name) for name in ("", "own")
    )
    assert (question.parent, question.trace_id) == (judged.name, judged.trace_id)


def test_two_guards_around_a_judge_share_its_span(fake_chat, captured):
    """As around any model."""
    inner, outer = guarding(captured, *EVERYTHING), guarding(captured, *EVERYTHING, name="outer")
    model = protect(protect(fake_chat(answer=GOOD), inner), outer)
    assert judge(PROMPT, model=model).score(output="a", question="b").value == 0.75
    assert marked(captured) == [("chat fake-1", "judge")]


def test_what_a_judge_reads_is_never_captured(fake_chat, captured):
    """It may read what a guardrail has yet to redact, so that its span has no content even where others' have."""
    guard = guarding(captured, telemetry=TelemetryOptions(content="SPAN_ONLY"))
    model = protect(fake_chat(answer=GOOD), guard)
    judge(PROMPT, model=model).score(output="amy@example.com", question="b")
    model.invoke("hello")
    first, second = captured.spans
    assert "gen_ai.input.messages" not in first.attributes
    assert "gen_ai.input.messages" in second.attributes


def test_a_scorer_that_is_no_judge_has_no_span(fake_chat, captured):
    """What it asks stays its own business, as before."""
    guard = guarding(captured)
    model = protect(fake_chat(), guard)

    def asks(text: str) -> bool:
        return bool(model.invoke("hidden").content) and False

    Guard(Guardrail(asks, stage="input")).check("hello", stage="input")
    assert captured.spans == ()


def structured(fake_chat, reply: AIMessage):
    """A provider that takes tools, by which LangChain asks for structured output."""

    class Structured(fake_chat):
        def bind_tools(self, tools, **kwargs):
            return self.bind(tools=tools)

        def _generate(self, messages, *args, **kwargs):
            self.received.append(kwargs)
            return ChatResult(generations=[ChatGeneration(message=reply)])

    return Structured()


def test_a_model_that_takes_a_schema_is_asked_by_it(fake_chat):
    """The arguments of its call are the reply; the schema holds the scale."""
    call = {"name": "Judgement", "args": {"reasoning": "so", "score": 4}, "id": "1", "type": "tool_call"}
    model = structured(fake_chat, AIMessage("", tool_calls=[call]))
    score = judge(PROMPT, model=model, scale=(1, 5)).score(output="a", question="b")
    assert (score.value, score.explanation, score.metadata["answer"]) == (0.75, "so", 4.0)
    assert "maximum" in json.dumps(model.received[0]["tools"][0], default=str)


def test_a_model_that_refuses_a_schema_is_asked_in_words(fake_chat):
    """Once: what it does not take is remembered."""

    class Refusing(fake_chat):
        def with_structured_output(self, schema, **kwargs):
            self.received.append(schema)
            raise NotImplementedError

    model = Refusing(answer=GOOD)
    asked = judge(PROMPT, model=model)
    assert [asked.score(output="a", question="b").value for _ in range(2)] == [0.75, 0.75]
    assert [type(one).__name__ for one in model.received] == ["dict", "list", "list"]


def test_the_usage_is_counted_against_the_budget(fake_chat):
    """LangChain says what a call took: seven tokens here."""
    asked = judge(PROMPT, model=fake_chat(answer=GOOD), budget={"tokens": 15})
    scores = [asked.score(output="a", question="b") for _ in range(4)]
    assert [score.unscored for score in scores] == [False, False, True, True]
    assert asked.budget is not None
    assert asked.budget.spent.tokens == 14


def test_a_text_model_and_a_chain_are_judges_too(fake_chat):
    """They are given a prompt and give a text."""
    text = FakeListLLM(responses=[GOOD])
    chain = ChatPromptTemplate.from_messages([("user", "{input}")]) | fake_chat(answer=GOOD) | StrOutputParser()
    for model in (text, {"input": lambda given: given} | chain):
        assert judge(PROMPT, model=model).score(output="a", question="b").value == 0.75


def test_a_refusal_by_the_provider_is_no_score(fake_chat):
    """Even if its text looks like one."""
    message = AIMessage(GOOD, response_metadata={"finish_reason": "content_filter"})
    score = judge(PROMPT, model=structured(fake_chat, message)).score(output="a", question="b")
    assert (score.unscored, score.value, score.metadata["reason"]) == (True, None, "refused")


def test_messages_reach_the_model_as_they_are(fake_chat):
    """System and user; braces in what users say stay braces."""
    model = fake_chat(answer=GOOD)
    judge("{output}", model=model).score(output="{question} {{0}} {output}")
    system, user = model.received[0]
    assert "JSON" in system.content
    assert user == HumanMessage("{question} {{0}} {output}")


def test_openais_own_client_is_asked_by_its_schema(captured):
    """ChatOpenAI, guarded, before a server in memory: a schema, then, as the server refuses that, words."""
    asked: list[Any] = []

    def serve(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        asked.append(body.get("response_format"))
        if len(asked) == 2:
            return httpx.Response(400, json={"error": {"message": "response_format is not supported"}})
        message = {"role": "assistant", "content": GOOD}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 10}
        head = {"id": "1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini-2024-07-18"}
        return httpx.Response(200, json={**head, "choices": [choice], "usage": usage})

    with httpx.Client(transport=httpx.MockTransport(serve)) as client:
        llm = ChatOpenAI(model="gpt-4o-mini", api_key="none", http_client=client, max_retries=0)
        good = judge(PROMPT, model=protect(llm, guarding(captured, *EVERYTHING)), budget={"tokens": 1000})
        scores = [good.score(output="a", question="b") for _ in range(2)]
    assert [score.value for score in scores] == [0.75, 0.75]
    assert asked[0]["type"] == "json_schema"
    assert asked[0]["json_schema"]["schema"]["properties"]["score"]["maximum"] == 1
    assert [one and one["type"] for one in asked] == ["json_schema", "json_schema", None]
    assert good.budget is not None
    assert good.budget.spent.tokens == 2 * (8 + 2)
    assert marked(captured) == [("chat gpt-4o-mini", "judge")] * 3


QUOTING = '{"reasoning": "It quotes hong@example.com.", "score": 0}'


@pytest.mark.parametrize("mode", ["stream:messages", "astream:messages", "stream:updates", "invoke", "ainvoke"])
def test_a_judges_words_are_not_in_the_stream_of_an_agent(make_agent, fake_chat, mode):
    """The reader of an agent's messages reads the agent's, whatever its guard asks meanwhile."""
    guard = Guard(Guardrail(judge("Is {text} rude?", model=fake_chat(answer=QUOTING)), stage="input", action="log"))
    agent = make_agent("hello there", middleware=[GuardMiddleware(guard)])
    agent.ask("Hi", mode)
    assert "hello there" in agent.shown
    assert "quotes" not in agent.shown


def test_a_judges_words_are_not_among_the_events_of_a_chain(fake_chat):
    """Nor in the events of a chain around a guarded model."""
    guard = Guard(Guardrail(judge("Is {text} rude?", model=fake_chat(answer=QUOTING)), stage="input", action="log"))
    chain = RunnableLambda(lambda given: given) | protect(fake_chat(answer="hello there"), guard) | StrOutputParser()

    async def said() -> str:
        return str([event["data"] async for event in chain.astream_events("Hi", version="v2")])

    seen = asyncio.run(said())
    assert "hello there" in seen
    assert "quotes" not in seen


def test_a_judge_that_is_a_graph_leaves_nothing_in_the_applications_checkpoints(fake_chat):
    """Its state is its own, and not a part of the conversation that it judges."""
    within = StateGraph(MessagesState)
    within.add_node("ask", lambda state: {"messages": [fake_chat(answer=QUOTING).invoke(state["messages"])]})
    within.add_edge(START, "ask")
    model = RunnableLambda(lambda asked: {"messages": [("user", str(asked))]}) | within.compile()
    model |= RunnableLambda(lambda state: state["messages"][-1])
    guarded = protect(
        fake_chat(answer="hello there"),
        Guard(Guardrail(judge("Is {text} rude?", model=model), stage="input", action="log")),
    )
    around = StateGraph(MessagesState)
    around.add_node("answer", lambda state: {"messages": [guarded.invoke(state["messages"])]})
    around.add_edge(START, "answer")
    saver = InMemorySaver()
    app = around.compile(checkpointer=saver)
    app.invoke({"messages": [("user", "Hi")]}, {"configurable": {"thread_id": "T"}})
    kept = {
        (one.config["configurable"]["thread_id"], one.config["configurable"]["checkpoint_ns"])
        for one in saver.list(None)
    }
    assert kept == {("T", "")}
