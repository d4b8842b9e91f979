"""What a chain, a graph or a tool takes and gives is judged wherever a message keeps it, as at a model."""

from __future__ import annotations

import re
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseLLM
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.outputs import (
    ChatGeneration,
    ChatGenerationChunk,
    ChatResult,
    Generation,
    GenerationChunk,
    LLMResult,
)
from langchain_core.runnables import RunnableGenerator, RunnableLambda
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, Send
from pydantic import BaseModel

from llmguard_langchain import GuardMiddleware, protect
from llmguard_middleware import Guard, Guardrail, GuardrailViolation, scorer
from llmguard_middleware.scorers import length, pii, valid_json

CARD = "4111-1111-1111-1111"
NUMBER = 4111111111111111
MESSAGES = {
    "reasoning": AIMessage([{"type": "reasoning", "reasoning": CARD}, {"type": "text", "text": "x"}]),
    "citation": AIMessage([{"type": "text", "text": "x", "annotations": [{"type": "citation", "cited_text": CARD}]}]),
    "server tool": AIMessage([{"type": "server_tool_result", "tool_call_id": "1", "output": {"x": [CARD]}}]),
    "unknown": AIMessage([{"type": "search_result", "title": CARD, "content": [{"type": "text", "text": CARD}]}]),
    "parts": AIMessage([{"type": "text", "text": CARD[:8]}, {"type": "text", "text": CARD[8:]}]),
    "tool call": AIMessage("", tool_calls=[{"name": "pay", "args": {"card": NUMBER}, "id": "1"}]),
    "invalid": AIMessage("", invalid_tool_calls=[{"name": "pay", "args": "", "id": "1", "error": CARD}]),
    "metadata": AIMessage("x", response_metadata={"quote": CARD}),
    "beside": AIMessage("x", additional_kwargs={"refusal": CARD}),
    "escaped": AIMessage('{"card": "\\u0034111-1111-1111-1111"}'),
    "extra": AIMessage("x", zork=CARD),
    "name": HumanMessage("x", name=CARD),
}


class Card(BaseModel):
    """What a model is asked for."""

    number: int


def redacting(stage: Any) -> Guard:
    """A guard that redacts at one stage."""
    return Guard(Guardrail(pii(), stage=stage, action="redact"))


def clean(value: Any) -> bool:
    """Whether no half of the number is there, as a text or as a number."""
    return re.search(r"(4111|1111)\W{0,4}1111", repr(value)) is None


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
@pytest.mark.parametrize("wrapped", [False, True])
async def test_a_chain_gives_no_part_of_a_message_unjudged(message, wrapped):
    """All texts of a message that a chain gives are judged, by itself or inside of what it gives."""
    before = message.model_copy(deep=True)
    chain = RunnableLambda(lambda _: {"messages": [message]} if wrapped else message)
    guarded = protect(chain, redacting("output"))
    assert clean(guarded.invoke("hi"))
    assert clean(await guarded.ainvoke("hi"))
    assert clean(guarded.batch(["hi"]))
    with pytest.raises(GuardrailViolation):
        protect(chain, Guard(Guardrail(pii(), stage="output"))).invoke("hi")
    assert message == before


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_a_chain_gets_no_part_of_a_message_unjudged(message):
    """All texts of a message that goes into a chain are judged."""
    got: list[Any] = []
    protect(RunnableLambda(lambda given: got.append(given) or "x"), redacting("input")).invoke([message])
    assert got
    assert clean(got)


RESULTS = {
    "block": lambda: ToolMessage(
        [{"type": "search_result", "title": CARD, "content": [{"type": "text", "text": CARD}]}], tool_call_id="1"
    ),
    "json": lambda: ToolMessage([{"type": "json", "json": {"a": CARD}}], tool_call_id="1"),
    "beside": lambda: ToolMessage("x", tool_call_id="1", additional_kwargs={"a": CARD}),
    "artifact": lambda: ToolMessage("x", tool_call_id="1", artifact={"a": NUMBER, "b": CARD}),
    "command": lambda: Command(
        update={"messages": [ToolMessage([{"type": "json", "json": {"a": CARD}}], tool_call_id="1")]}
    ),
    "escaped": lambda: '{"card": "\\u0034111-1111-1111-1111"}',
    "number": lambda: NUMBER,
    "inside": lambda: {"card": NUMBER},
    "key": lambda: {(CARD, 1): "x"},
}


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS)
def test_a_tool_gives_no_part_of_its_result_unjudged(result):
    """All texts and numbers that a tool gives are judged."""

    @tool
    def look(place: str) -> Any:
        """Look."""
        return result()

    guarded = protect(look, redacting("tool_result"))
    assert clean(guarded.invoke({"place": "x"}))
    assert clean(guarded.invoke({"type": "tool_call", "name": "look", "args": {"place": "x"}, "id": "1"}))
    with pytest.raises(GuardrailViolation):
        protect(look, Guard(Guardrail(pii(), stage="tool_result"))).invoke({"place": "x"})


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS)
def test_an_agents_tool_gives_no_part_of_its_result_unjudged(result, fake_chat):
    """Neither the model nor the state has a part of what a tool gives that nobody judged."""

    @tool
    def look(place: str) -> Any:
        """Look."""
        return result()

    model, told = _calling(fake_chat, {"name": "look", "args": {"place": "x"}, "id": "1"})
    agent = create_agent(model, [look], middleware=[GuardMiddleware(redacting("tool_result"))])
    assert clean(agent.invoke({"messages": [HumanMessage("hi")]}))
    assert len(told) == 2
    assert clean(told)


ARGUMENTS = {
    "number": NUMBER,
    "float": float(NUMBER),
    "numbers": [4111, 1111, 1111, 1111],
    "halves": [CARD[:8], CARD[8:]],
    "key": {CARD: 1},
    "escaped": '{"card": "\\u0034111-1111-1111-1111"}',
}


@pytest.mark.parametrize("given", ARGUMENTS.values(), ids=ARGUMENTS)
@pytest.mark.parametrize("by", ["protect", "middleware"])
def test_no_form_of_an_argument_hides_what_it_says(given, by, fake_chat):
    """A tool gets no number that a rule of tool_call finds, whole or in pieces, and none if the rule blocks."""
    got: list[Any] = []

    @tool
    def pay(card: Any) -> str:
        """Pay."""
        got.append(card)
        return "paid"

    def call(guard: Guard) -> None:
        if by == "protect":
            protect(pay, guard).invoke({"card": given})
        else:
            model, _ = _calling(fake_chat, {"name": "pay", "args": {"card": given}, "id": "1"})
            create_agent(model, [pay], middleware=[GuardMiddleware(guard)]).invoke({"messages": [HumanMessage("hi")]})

    call(redacting("tool_call"))
    assert len(got) == 1
    assert clean(got)
    with pytest.raises(GuardrailViolation):
        call(Guard(Guardrail(pii(), stage="tool_call")))
    assert len(got) == 1


def _calling(fake_chat, call):
    """A model that calls a tool once, and what it was told."""
    told: list[Any] = []

    class Calling(fake_chat):
        def bind_tools(self, tools, **kwargs):
            return self

        def _generate(self, messages, *args, **kwargs):
            told.append(messages)
            generated = super()._generate(messages)
            calls = [] if isinstance(messages[-1], ToolMessage) else [call]
            generated.generations[0].message = AIMessage("done", tool_calls=calls)
            return generated

        _stream = None

    return Calling(), told


def giving(items: Any) -> RunnableGenerator[Any, Any]:
    """A chain that streams these."""

    def give(_: Any) -> Any:
        yield from items

    return RunnableGenerator(give)


TEXT = f"card {CARD} ok"
DELTAS = {
    "dicts": [{"delta": one} for one in TEXT],
    "dicts after another": [{"run": "x"}, *({"delta": one} for one in TEXT)],
    "texts after a dict": [{"run": "x"}, *TEXT],
    "texts after nothing": [None, *TEXT],
}


@pytest.mark.parametrize("items", DELTAS.values(), ids=DELTAS)
def test_pieces_of_a_text_in_items_that_cannot_be_added_are_judged_as_one_text(items):
    """A chain that streams a text in dicts of its own, which LangChain cannot add, gives no match piece by piece."""
    chain = giving(items)
    told = list(protect(chain, redacting("output")).stream("hi"))
    said = [item.get("delta", "") if isinstance(item, dict) else item or "" for item in told]
    assert "".join(said) == "card <CREDIT_CARD> ok"
    with pytest.raises(GuardrailViolation):
        list(protect(chain, Guard(Guardrail(pii(), stage="output"))).stream("hi"))


def test_states_without_a_match_leave_as_they_are():
    """Items that each say all that was said so far are the chain's own if nothing has to be edited."""
    items = [{"said": "Nothing is wrong here."[:end]} for end in range(1, 20)]
    assert list(protect(giving(items), redacting("output")).stream("hi")) == items


SAID = {
    "a file's address": [{"type": "reasoning", "reasoning": f"data:;base64,{CARD}"}],
    "a cited one": [{"type": "text", "text": "x", "annotations": [{"cited_text": f"data:;base64,{CARD}"}]}],
    "tokens": [{"type": "text", "text": CARD, "logprobs": [{"token": "4111-1111-"}]}],
    "a number": [{"type": "zork", "card": NUMBER, "width": 640}],
    "a tool's number": [{"type": "server_tool_result", "tool_call_id": "1", "output": NUMBER}],
    "a tool's JSON": [{"type": "tool_result", "content": [{"json": {"card": NUMBER}}]}],
    "a tool's list": [{"type": "server_tool_result", "tool_call_id": "1", "output": [1, NUMBER]}],
}


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
@pytest.mark.parametrize("streamed", [False, True])
def test_nothing_in_a_content_block_hides_a_number(said, streamed, fake_chat):
    """What begins as a file, repeats the answer token by token, or is a number that a tool states, is judged."""

    class Blocks(fake_chat):
        def _generate(self, messages, *args, **kwargs):
            return ChatResult(generations=[ChatGeneration(message=AIMessage(said))])

        def _stream(self, messages, *args, **kwargs):
            yield ChatGenerationChunk(message=AIMessageChunk(content=said))

    guarded = protect(Blocks(), redacting("output"))
    assert clean(list(guarded.stream("hi")) if streamed else guarded.invoke("hi"))


@pytest.mark.parametrize("kind", [dict, Card])
def test_a_parsed_answer_holds_no_number_that_the_text_lost(kind, fake_chat):
    """What a provider parsed itself says what is left of the answer, numbers included."""
    parsed = {"number": NUMBER} if kind is dict else Card(number=NUMBER)

    class Parsing(fake_chat):
        def _generate(self, messages, *args, **kwargs):
            message = AIMessage(f'{{"number": {NUMBER}}}', additional_kwargs={"parsed": parsed})
            return ChatResult(generations=[ChatGeneration(message=message)])

    answer = protect(Parsing(), redacting("output")).invoke("hi")
    assert answer.content == '{"number": "<CREDIT_CARD>"}'
    assert clean(answer)


class CardError(Exception):
    """A failure that says its text in a way of its own."""

    def __init__(self, number: str) -> None:
        super().__init__()
        self.number = number

    def __str__(self) -> str:
        return f"no such card: {self.number}"


class Tells(AgentMiddleware):
    """Makes what a tool raised its result, as LangChain's ToolRetryMiddleware does."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Exception] = []

    def wrap_tool_call(self, request, handler):
        """Sync."""
        try:
            return handler(request)
        except Exception as error:  # noqa: BLE001 - the point
            self.seen.append(error)
            return ToolMessage(f"failed: {error}", tool_call_id=request.tool_call["id"])

    async def awrap_tool_call(self, request, handler):
        """Async."""
        try:
            return await handler(request)
        except Exception as error:  # noqa: BLE001 - the point
            self.seen.append(error)
            return ToolMessage(f"failed: {error}", tool_call_id=request.tool_call["id"])


@pytest.mark.parametrize("error", [ValueError(f"no {CARD}"), KeyError("x", CARD), CardError(CARD)], ids=repr)
@pytest.mark.parametrize("use_async", [False, True])
async def test_what_an_agents_tool_raises_is_judged_like_its_result(error, use_async, fake_chat):
    """A middleware further out that makes a result of an error has no text that a rule of tool_result took out."""

    @tool
    def look(place: str) -> Any:
        """Look."""
        raise error

    async def ask(guard: Guard) -> tuple[Any, list[Any], list[Exception]]:
        model, told = _calling(fake_chat, {"name": "look", "args": {"place": "x"}, "id": "1"})
        outer = Tells()
        agent = create_agent(model, [look], middleware=[outer, GuardMiddleware(guard)])
        asked = {"messages": [HumanMessage("hi")]}
        return (await agent.ainvoke(asked) if use_async else agent.invoke(asked)), told, outer.seen

    result, told, (seen,) = await ask(redacting("tool_result"))
    assert clean(result)
    assert clean(told)
    assert "<CREDIT_CARD>" in str(seen)
    assert seen.__context__ is None
    with pytest.raises(GuardrailViolation):
        await ask(Guard(Guardrail(pii(), stage="tool_result")))
    _, _, (seen,) = await ask(Guard(Guardrail(pii(), stage="tool_call")))
    assert seen is error


def test_the_error_of_a_chain_quotes_no_answer_that_was_to_be_redacted(ask, fake_chat):
    """What a parser could not read is in its error as the output rules leave it, and nowhere beside that."""

    def parse(message: AIMessage) -> Any:
        msg = f"no JSON: {message.text}"
        raise OutputParserException(msg, llm_output=message.text)

    chain = fake_chat(answer=f"The card is {CARD}.") | RunnableLambda(parse)
    with pytest.raises(OutputParserException, match="The card is <CREDIT_CARD>") as told:
        ask(protect(chain, redacting("output")), "hi")
    error = told.value
    assert error.llm_output == "The card is <CREDIT_CARD>."
    assert clean([error.args, vars(error), error.__context__, error.__cause__])
    with pytest.raises(GuardrailViolation):
        ask(protect(chain, Guard(Guardrail(pii(), stage="output"))), "hi")


def test_an_error_without_a_finding_is_the_chains_own():
    """Nothing is done to an error in which no place is flagged: it is no answer, whatever a rule says of answers."""
    error = CardError("none")

    def fail(_: Any) -> Any:
        raise error

    asked: list[str] = []

    @scorer
    def judge(text: str) -> bool:
        asked.append(text)
        return True

    for rule in (pii(), valid_json(), judge):
        with pytest.raises(CardError) as told:
            protect(RunnableLambda(fail), Guard(Guardrail(rule, stage="output"))).invoke("hi")
        assert told.value is error
    assert asked == []


def test_what_a_provider_says_of_all_answers_is_judged(fake_chat, ask_whole):
    """LangChain puts `llm_output` into the message, when the model's own method has returned."""

    class Telling(fake_chat):
        def _generate(self, messages, *args, **kwargs):
            message = ChatGeneration(message=AIMessage("x"))
            return ChatResult(generations=[message], llm_output={"quote": CARD, "model_name": "m"})

        _stream = None

    guarded = protect(Telling(), redacting("output"))
    assert clean(guarded.invoke("hi"))
    assert guarded.invoke("hi").response_metadata["model_name"] == "m"
    assert clean(guarded.generate([[HumanMessage("hi")]]))
    with pytest.raises(GuardrailViolation):
        ask_whole(protect(Telling(), Guard(Guardrail(pii(), stage="output"))), "hi")
    only = Guardrail(length(most=2), stage="output")  # which finds no place
    assert ask_whole(protect(Telling(), Guard(only)), "hi") == ["x"]


def test_what_a_text_model_says_beside_its_text_is_judged():
    """Neither a whole answer nor a stream tells in `generation_info` or `llm_output` what its text must not say."""
    told: list[Any] = []

    class Told(BaseCallbackHandler):
        def on_llm_end(self, response, **kwargs):
            told.append(response)

        def on_llm_new_token(self, token, *, chunk=None, **kwargs):
            told.append(chunk)

    class Model(BaseLLM):
        @property
        def _llm_type(self):
            return "fake"

        def _generate(self, prompts, *args, **kwargs):
            info = {"quote": CARD, "finish_reason": "stop"}
            return LLMResult(generations=[[Generation(text="x", generation_info=info)]], llm_output={"quote": CARD})

        def _stream(self, prompt, *args, **kwargs):
            yield GenerationChunk(text="x", generation_info={"quote": CARD, "finish_reason": "stop"})

    guarded = protect(Model(), redacting("output"))
    config: Any = {"callbacks": [Told()]}
    assert guarded.invoke("hi", config) == "x"
    assert "".join(guarded.stream("hi", config)) == "x"
    assert clean(told)
    assert "'finish_reason': 'stop'" in repr(told)


def _inside(node: Any, guard: Guard) -> Any:
    """A graph with a protected one in it, and a node that this may hand over to."""
    inner = StateGraph(MessagesState)
    inner.add_node("node", node)
    inner.add_edge(START, "node")
    outer = StateGraph(MessagesState)
    outer.add_node("inner", protect(inner.compile(), guard))
    outer.add_node("next", lambda state: {"messages": [AIMessage("next")]})
    outer.add_edge(START, "inner")
    return outer.compile()


@pytest.mark.parametrize("by_send", [False, True])
@pytest.mark.parametrize("use_async", [False, True])
async def test_what_a_protected_graph_hands_over_to_the_graph_around_it_is_judged(by_send, use_async):
    """A command to the parent leaves a graph as an answer does, with what it writes there and what it sends on."""
    said = {"messages": [AIMessage([{"type": "reasoning", "reasoning": CARD}, {"type": "text", "text": CARD}])]}
    goto: Any = [Send("next", said)] if by_send else "next"

    def hand_over(_: Any) -> Any:
        return Command(graph=Command.PARENT, goto=goto, update={} if by_send else said)

    async def ask(guard: Guard) -> Any:
        graph, given = _inside(hand_over, guard), {"messages": [HumanMessage("hi")]}
        modes: Any = ["values", "updates", "tasks"]
        if use_async:
            return [item async for item in graph.astream(given, stream_mode=modes)]
        return list(graph.stream(given, stream_mode=modes))

    told = await ask(redacting("output"))
    assert clean(told)
    assert "next" in repr(told[-1])
    with pytest.raises(GuardrailViolation):
        await ask(Guard(Guardrail(pii(), stage="output")))
    unchanged = await ask(redacting("input"))
    assert CARD in repr(unchanged)
