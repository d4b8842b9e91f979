"""A violation is neither failed over, nor retried, nor turned into a tool's text."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnableWithFallbacks
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from pydantic import ValidationError

from llmguard_langchain import GuardCallback, protect
from llmguard_middleware import Guard, Guardrail, GuardrailViolation
from llmguard_middleware.errors import LLMGuardError
from llmguard_middleware.scorers import secrets
from llmguard_middleware.testing import Flags

BAD = "bad"


def guard(**options):
    """Blocks what is bad at both ends."""
    rules = [Guardrail(Flags(when=BAD, name=stage), stage=stage) for stage in ("input", "output")]
    return Guard(*rules, **options)


@pytest.fixture(params=["input", "output"])
def blocked(request, provider):
    """A model whose next call is blocked at one end, and what to ask it."""
    return (provider(), BAD) if request.param == "input" else (provider(answer=BAD), "Hi")


def test_a_block_is_not_failed_over(blocked, provider, ask):
    """In every call mode, at either end: the violation is raised, and the fallback is never asked."""
    (model, text), spare = blocked, provider()
    with pytest.raises(GuardrailViolation):
        ask(protect(model, guard()).with_fallbacks([spare]), text)
    assert spare.received == []


def test_a_failure_is_failed_over(provider, ask):
    """In every call mode, an error that is no violation is handled as LangChain does."""
    failing, spare = provider(error=ValueError("down")), provider(answer="Here.")
    assert "".join(ask(protect(failing, guard()).with_fallbacks([spare]), "Hi")).endswith("Here.")


def test_a_block_is_not_retried(blocked, ask):
    """In every call mode, at either end: the model is asked at most once."""
    model, text = blocked
    with pytest.raises(GuardrailViolation):
        ask(protect(model, guard()).with_retry(stop_after_attempt=3, wait_exponential_jitter=False), text)
    assert len(model.received) == (0 if text == BAD else 1)


def test_a_failure_is_retried(provider, ask_whole):
    """An error that is no violation is retried as LangChain does."""
    model = provider(error=ValueError("down"))
    with pytest.raises(ValueError, match="down"):
        ask_whole(protect(model, guard()).with_retry(stop_after_attempt=3, wait_exponential_jitter=False), "Hi")
    assert len(model.received) == 3


@pytest.mark.parametrize("listed", [(GuardrailViolation,), (ValueError, LLMGuardError)])
def test_who_lists_violations_gets_them_failed_over_and_retried(provider, ask_whole, listed):
    """A violation that is named in so many words (or by its own base) is handled like any other error."""
    model, spare = provider(answer=BAD), provider()
    guarded = protect(model, guard())
    assert ask_whole(guarded.with_fallbacks([spare], exceptions_to_handle=listed), "Hi") == ["Hello."]
    retrying = guarded.with_retry(retry_if_exception_type=listed, stop_after_attempt=2, wait_exponential_jitter=False)
    with pytest.raises(GuardrailViolation):
        ask_whole(retrying, "Hi")
    assert len(model.received) == 3


def test_what_is_handled_on_purpose_does_not_stick(provider, ask):
    """In a protected chain, too, in every call mode: a violation that the caller lists is handled, and life goes on."""
    inside = guard()
    guarded = protect(provider(answer=BAD), inside)
    chain = RunnableLambda(str) | guarded.with_fallbacks([provider()], exceptions_to_handle=(GuardrailViolation,))
    assert "".join(ask(protect(chain | StrOutputParser(), Guard(name="outside")), "Hi")).endswith("Hello.")
    assert protect(chain | StrOutputParser(), inside).invoke("Hi") == "Hello."


def test_a_retry_by_a_function_never_sees_a_violation(fake_chat, installed):
    """A callable that decides about retries decides about failures only."""
    model, seen = fake_chat(answer=BAD), []
    guarded, decides = protect(model, guard()), lambda error: seen.append(error) or True
    if not installed.retry_by_function:
        with pytest.raises(ValidationError, match="should be a valid tuple"):
            guarded.with_retry(retry_if_exception_type=decides)
        return
    retrying = guarded.with_retry(retry_if_exception_type=decides)
    with pytest.raises(GuardrailViolation):
        retrying.invoke("Hi")
    assert (len(model.received), seen) == (1, [])


@pytest.mark.parametrize(
    "made", ["bind", "bind_tools", "with_config", "with_types", "with_retry", "with_structured_output"]
)
def test_what_a_copy_makes_of_itself_fails_as_the_copy_does(fake_chat, ask, made):
    """Options bound to a copy do not open the way to a fallback."""

    class Tools(fake_chat):
        def bind_tools(self, tools, **kwargs):
            return super().bind(**kwargs)

    guarded, spare = protect(Tools(), guard()), fake_chat()
    options = {"bind_tools": ([],), "with_structured_output": ({"title": "a", "description": "b", "properties": {}},)}
    bound = getattr(guarded, made)(*options.get(made, ()))
    with pytest.raises(GuardrailViolation):
        ask(bound.with_fallbacks([spare]), BAD)
    assert spare.received == []


@pytest.mark.parametrize("return_exceptions", [False, True])
@pytest.mark.parametrize("with_", ["with_fallbacks", "with_retry"])
@pytest.mark.parametrize("use_async", [False, True])
def test_in_a_batch_a_block_fails_its_item_alone(fake_chat, return_exceptions, with_, use_async):
    """Under return_exceptions=True the other items are answered; else the violation is raised."""
    spare = fake_chat()
    guarded = protect(fake_chat(), guard())
    chain = guarded.with_fallbacks([spare]) if with_ == "with_fallbacks" else guarded.with_retry()

    def batch():
        given = ["one", BAD, "two"]
        if use_async:
            return asyncio.run(chain.abatch(given, return_exceptions=return_exceptions))
        return chain.batch(given, return_exceptions=return_exceptions)

    if return_exceptions:
        one, violation, two = batch()
        assert isinstance(violation, GuardrailViolation)
        assert (one.content, two.content) == ("Hello.", "Hello.")
    else:
        with pytest.raises(GuardrailViolation):
            batch()
    assert spare.received == []


def within(model, spare):
    """Chains in which LangChain's own fallback or retry is around a protected model."""
    prompt = ChatPromptTemplate.from_template("{input}")
    named = RunnableLambda(lambda text: {"input": text})
    return {
        "fallbacks round a chain": named | (prompt | model).with_fallbacks([prompt | spare]) | StrOutputParser(),
        "retry round a chain": named | (prompt | model).with_retry(wait_exponential_jitter=False) | StrOutputParser(),
        "fallbacks outermost": (named | prompt | model).with_fallbacks([named | prompt | spare]),
        "retry outermost": (named | prompt | model).with_retry(wait_exponential_jitter=False),
        "fallback class": RunnableWithFallbacks(runnable=model, fallbacks=[spare]),
    }


@pytest.mark.parametrize("shape", list(within(None or RunnableLambda(str), RunnableLambda(str))))
@pytest.mark.parametrize("same", [True, False])
def test_in_a_protected_chain_a_block_goes_round_nothing(fake_chat, ask, shape, same):
    """Whatever fallback or retry lies in the chain, what a model in it was forbidden is not asked of another."""
    model, spare = fake_chat(), fake_chat()
    inside = guard()
    outside = inside if same else Guard(name="outside")
    chain = protect(within(protect(model, inside), spare)[shape], Guard(name="outside") if not same else outside)
    with pytest.raises(GuardrailViolation):
        ask(chain, BAD)
    assert (model.received, spare.received) == ([], [])


@pytest.mark.parametrize("shape", list(within(RunnableLambda(str), RunnableLambda(str))))
def test_in_a_protected_chain_a_blocked_answer_goes_round_nothing(fake_chat, ask, shape):
    """Nor is another model asked when an answer is blocked, in every call mode."""
    model, spare = fake_chat(answer=BAD), fake_chat()
    with pytest.raises(GuardrailViolation):
        ask(protect(within(protect(model, guard()), spare)[shape], Guard()), "Hi")
    assert (len(model.received), spare.received) == (1, [])


def agent(model, calls):
    """A graph of a model and a tool, whose errors become the tool's text."""

    @tool
    def look(at: str) -> str:
        """Looks."""
        calls.append(at)
        return f"saw {at}"

    tools = ToolNode([protect(look, tool_guard())], handle_tool_errors=True)
    graph = StateGraph(MessagesState)
    graph.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node("tools", tools)
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", lambda state: "tools" if state["messages"][-1].tool_calls else END)
    graph.add_edge("tools", "model")
    return graph.compile(name="agent")


def tool_guard():
    """Blocks arguments that are bad."""
    return Guard(Guardrail(Flags(when=BAD), stage="tool_call"))


@pytest.mark.parametrize("mode", ["invoke", "ainvoke", "stream", "astream"])
def test_a_violation_never_becomes_a_tools_text(fake_chat, mode):
    """A tool node that answers with its tool's errors does not answer with a violation, in a protected graph."""

    class Calls(fake_chat):
        def _said(self, messages):
            super()._said(messages)
            return ""

        def _generate(self, messages, *args, **kwargs):
            result = super()._generate(messages)
            call = {"name": "look", "args": {"at": BAD}, "id": "1", "type": "tool_call"}
            if not any(message.type == "tool" for message in messages):
                result.generations[0].message = AIMessage("", tool_calls=[call])
            return result

        def _stream(self, messages, *args, **kwargs):
            yield from ()

    model, calls = Calls(disable_streaming=True), []
    graph = protect(agent(model, calls), Guard())

    async def ask():
        given = {"messages": [("user", "Hi")]}
        if mode == "ainvoke":
            await graph.ainvoke(given)
        elif mode == "astream":
            [item async for item in graph.astream(given)]
        elif mode == "invoke":
            graph.invoke(given)
        else:
            list(graph.stream(given))

    with pytest.raises(GuardrailViolation):
        asyncio.run(ask())
    assert (len(model.received), calls) == (1, [])


def test_in_refusal_mode_nothing_is_raised_and_nothing_fails_over(fake_chat, ask):
    """In refusal mode the refusal is the answer, also of a copy with fallbacks."""
    spare = fake_chat()
    guarded = protect(fake_chat(), guard(refusal="No.")).with_fallbacks([spare])
    assert "".join(ask(guarded, BAD)) == "No."
    assert spare.received == []


def test_a_chunk_is_a_chunk(fake_chat):
    """A copy with fallbacks streams."""
    guarded = protect(fake_chat(answer="one two", size=3), guard()).with_fallbacks([fake_chat()])
    assert all(isinstance(chunk, AIMessageChunk) for chunk in guarded.stream("Hi"))


def test_what_is_handled_on_purpose_does_not_stick_to_a_callback(fake_chat, ask_whole):
    """A fallback that the caller wants after a violation answers under a GuardCallback, too."""
    guard = Guard(Guardrail(secrets(), stage="output"))
    handled = protect(fake_chat(answer="sk-" + "A1b2C3d4" * 5), guard).with_fallbacks(
        [fake_chat(answer="fallback")], exceptions_to_handle=(GuardrailViolation,)
    )
    chain = RunnableLambda(lambda given: given) | handled
    assert ask_whole(chain, "Hi", {"callbacks": [GuardCallback(guard)]}) == ["fallback"]


def test_a_violation_of_another_guard_sticks_to_the_chain_of_a_callback(fake_chat, ask_whole, captured):
    """A chain under a GuardCallback that swallows what another guard inside has raised does not get away with it."""
    model = protect(fake_chat(answer="sk-" + "A1b2C3d4" * 5), Guard(Guardrail(secrets(), stage="output")))

    def swallows(given):
        try:
            return model.invoke(given)
        except GuardrailViolation:
            return AIMessage("nothing happened")

    with pytest.raises(GuardrailViolation):
        ask_whole(
            RunnableLambda(swallows), "Hi", {"callbacks": [GuardCallback(Guard(name="outer", **captured.providers))]}
        )


def test_no_model_starts_after_the_violation_of_another_guard(fake_chat, ask_whole, captured):
    """Below a GuardCallback that only traces, no model is called once another guard has stopped something."""
    model = protect(fake_chat(answer="sk-" + "A1b2C3d4" * 5), Guard(Guardrail(secrets(), stage="output")))
    later = fake_chat()

    def swallows(given):
        with suppress(GuardrailViolation):
            model.invoke(given)
        with suppress(GuardrailViolation):
            later.invoke(given)
        return AIMessage("nothing happened")

    with pytest.raises(GuardrailViolation):
        ask_whole(RunnableLambda(swallows), "Hi", {"callbacks": [GuardCallback(Guard(**captured.providers))]})
    assert later.received == []


@pytest.mark.parametrize("around", ["chain", "callback", "another guard's callback"])
def test_a_refused_tool_does_not_stop_what_is_around_it(around):
    """In refusal mode a tool that was stopped has an answer, and neither its chain nor a callback's fails for it."""
    guard = Guard(Guardrail(secrets(), stage="tool_result"), refusal="No.")

    @tool
    def look(who: str) -> str:
        """Look somebody up."""
        return "sk-" + "A1b2C3d4" * 5

    guarded = protect(look, guard)
    chain = RunnableLambda(lambda given: f"It says: {guarded.invoke(given)}") | StrOutputParser()
    callback = GuardCallback(guard if around == "callback" else Guard(name="other"))
    if around == "chain":
        assert protect(chain, guard).invoke("Hi") == "It says: No."
    else:
        assert chain.invoke("Hi", {"callbacks": [callback]}) == "It says: No."


@pytest.mark.parametrize("inside", ["tool", "chain"])
def test_whatever_another_guard_protects_a_violation_sticks_to_the_callback(captured, inside):
    """A chain under a GuardCallback cannot swallow the violation of a tool, or a chain, under another guard."""
    guard = Guard(Guardrail(secrets(), stage="tool_result"), Guardrail(secrets(), stage="output", name="out"))

    @tool
    def look(who: str) -> str:
        """Look somebody up."""
        return "sk-" + "A1b2C3d4" * 5

    guard.covers("output", "tool_result")
    guarded = protect(look if inside == "tool" else RunnableLambda(look.func), guard)

    def swallows(given):
        try:
            return guarded.invoke(given)
        except GuardrailViolation:
            return "nothing happened"

    with pytest.raises(GuardrailViolation):
        RunnableLambda(swallows).invoke("Hi", {"callbacks": [GuardCallback(Guard(name="outer", **captured.providers))]})
