"""Whatever LangChain or Python make of a protected thing is protected by the same guard, or says why it cannot be."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import httpx
import pytest
from langchain.chat_models import init_chat_model
from langchain_core.documents import Document
from langchain_core.load import dumpd
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import ConfigurableField, RunnableLambda
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel

from llmguard_langchain import protect
from llmguard_middleware import ConfigurationError, Guard, Guardrail, GuardrailViolation
from llmguard_middleware.testing import Flags

BAD = "bad"
GUARD = Guard(Guardrail(Flags(when=BAD), stage="input"))
TOOL_GUARD = Guard(Guardrail(Flags(when=BAD), stage="tool_call"))


class Finds(BaseRetriever):
    """Finds one document."""

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return [Document("found")]


@tool
def look(at: str) -> str:
    """Looks."""
    return f"saw {at}"


def graph(model):
    """One node."""
    made = StateGraph(MessagesState)
    made.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
    made.add_edge(START, "model")
    return made.compile()


def things(model):
    """One of each kind, unprotected, with what to give it."""
    prompt = ChatPromptTemplate.from_template("{input}")
    return {
        "chat": (model, BAD, GUARD),
        "sequence": (prompt | model | StrOutputParser(), {"input": BAD}, GUARD),
        "lambda": (RunnableLambda(model.invoke), BAD, GUARD),
        "retriever": (Finds(), BAD, GUARD),
        "tool": (look, {"at": BAD}, TOOL_GUARD),
        "graph": (graph(model), {"messages": [("user", BAD)]}, GUARD),
    }


KINDS = list(things(RunnableLambda(str)))


@pytest.fixture(params=KINDS)
def protected(request, fake_chat):
    """Something protected, and what to give it that is blocked."""
    thing, given, guard = things(fake_chat())[request.param]
    return protect(thing, guard), given


def is_guarded(thing, given) -> bool:
    """Whether a call of it is blocked."""
    with pytest.raises(GuardrailViolation):
        thing.invoke(given)
    return True


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda thing: thing.with_config(tags=["a"])])
def test_copies_are_guarded_by_the_same_guard(protected, way):
    """copy.copy, copy.deepcopy and with_config keep the guard, and do not copy it."""
    thing, given = protected
    made = way(thing)
    assert made is not thing
    assert is_guarded(made, given)
    assert is_guarded(thing, given)


def test_what_is_protected_cannot_be_pickled_and_says_so(protected):
    """A guard holds threads, so pickling is an error with the way out; the original is as picklable as it was."""
    thing, _ = protected
    with pytest.raises(ConfigurationError, match=r"a guarded \w+ cannot be pickled, since .*: pickle the original"):
        pickle.dumps(thing)


def test_a_chain_with_something_protected_cannot_be_pickled_and_says_so(fake_chat):
    """The sentence is the same where the protected thing is a part."""
    with pytest.raises(ConfigurationError, match="a guarded StreamingChat cannot be pickled"):
        pickle.dumps(RunnableLambda(len) | protect(fake_chat(), GUARD))


def test_model_copy_keeps_the_guard(fake_chat):
    """model_copy, with and without updates, shallow and deep, gives a guarded model of the same class."""
    guarded = protect(fake_chat(), GUARD)
    for made in (guarded.model_copy(), guarded.model_copy(deep=True), guarded.model_copy(update={"answer": "Yes."})):
        assert type(made) is type(guarded)
        assert is_guarded(made, BAD)
    assert guarded.model_copy(update={"answer": "Yes."}).invoke("Hi").content == "Yes."


def test_a_class_is_made_once(fake_chat):
    """Protecting many models of a class with a guard makes one class, and each guard its own."""
    one, two = (type(protect(fake_chat(), GUARD)) for _ in range(2))
    assert one is two
    assert type(protect(fake_chat(), Guard())) is not one


def test_the_original_stays_as_it_is(fake_chat):
    """What was protected is not, itself."""
    for thing, given, guard in things(fake_chat()).values():
        before = type(thing)
        protect(thing, guard)
        assert type(thing) is before
        thing.invoke(given)


def test_a_copy_serializes_as_the_original(fake_chat):
    """LangChain's own serialization, which tracers use, tells no difference."""
    for thing, _, guard in things(fake_chat()).values():
        assert dumpd(protect(thing, guard)) == dumpd(thing) or "repr" in json.dumps(dumpd(thing))


class Weather(BaseModel):
    """The weather."""

    sky: str


def calling(fake_chat):
    """A provider that calls the tool it is given."""

    class Calls(fake_chat):
        def bind_tools(self, tools, **kwargs):
            return super().bind(tools=tools)

        def _generate(self, messages, *args, tools=(), **kwargs):
            result = super()._generate(messages)
            if tools:
                call = {"name": "Weather", "args": {"sky": "blue"}, "id": "1", "type": "tool_call"}
                result.generations[0].message = AIMessage("", tool_calls=[call])
            return result

    return Calls(disable_streaming=True)


def test_bind_tools_and_structured_output_are_guarded(fake_chat, ask_whole):
    """Tools and schemas reach the model through the guard."""
    guarded = protect(calling(fake_chat), GUARD)
    for made in (guarded.bind_tools([look]), guarded.with_structured_output(Weather), guarded.bind(stop=["x"])):
        assert is_guarded(made, BAD)
    assert guarded.with_structured_output(Weather).invoke("Hi") == Weather(sky="blue")


def test_what_is_bound_may_be_protected_later(fake_chat):
    """protect() of a model with options protects the model in it, which stays one span and one stream."""
    bound = calling(fake_chat).bind_tools([look])
    guarded = protect(bound, GUARD)
    assert isinstance(guarded, type(bound))
    assert is_guarded(guarded, BAD)
    assert guarded.invoke("Hi").tool_calls
    bound.invoke(BAD)


def test_configurable_fields_keep_the_guard(fake_chat):
    """A model whose fields are configured is made anew, with its guard."""
    guarded = protect(fake_chat(), GUARD).configurable_fields(answer=ConfigurableField(id="answer"))
    chosen = guarded.with_config(configurable={"answer": "Yes."})
    assert chosen.invoke("Hi").content == "Yes."
    assert is_guarded(chosen, BAD)
    assert is_guarded(guarded, BAD)


@pytest.mark.parametrize("order", ["before", "after"])
def test_configurable_alternatives_are_all_guarded(fake_chat, order):
    """An alternative is guarded as well, whether protect() came before or after it, and if it is made when chosen."""

    def alternatives(model):
        others = {"other": fake_chat(answer="Other."), "made": lambda: fake_chat(answer="Made.")}
        return model.configurable_alternatives(ConfigurableField(id="model"), default_key="first", **others)

    model = fake_chat()
    guarded = alternatives(protect(model, GUARD)) if order == "before" else protect(alternatives(model), GUARD)
    for name, answer in {"first": "Hello.", "other": "Other.", "made": "Made."}.items():
        chosen = guarded.with_config(configurable={"model": name})
        assert chosen.invoke("Hi").content == answer
        assert is_guarded(chosen, BAD)


def test_a_rate_limiter_is_kept(fake_chat):
    """The copy's calls go through the original's rate limiter, once each."""
    limiter = InMemoryRateLimiter(requests_per_second=1000, check_every_n_seconds=0.001, max_bucket_size=5)
    guarded = protect(fake_chat(rate_limiter=limiter), GUARD)
    assert guarded.rate_limiter is limiter
    assert guarded.invoke("Hi").content == "Hello."


def answers(request: httpx.Request) -> httpx.Response:
    """What OpenAI says."""
    model = json.loads(request.content)["model"]
    message = {"role": "assistant", "content": f"I am {model}."}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return httpx.Response(
        200, json={"id": "1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
    )


def test_init_chat_model_gives_what_can_be_protected():
    """A model of init_chat_model, fixed or chosen by the config, is guarded, and so is all that is made of it."""
    with httpx.Client(transport=httpx.MockTransport(answers)) as client:
        options: Any = {
            "model_provider": "openai",
            "api_key": "k",
            "http_client": client,
            "base_url": "http://localhost/v1",
        }
        fixed = protect(init_chat_model("one", **options), GUARD)
        assert fixed.invoke("Hi").text == "I am one."
        assert is_guarded(fixed, BAD)
        chosen = protect(init_chat_model("one", configurable_fields=["model"], **options), GUARD)
        for made in (chosen, chosen.bind_tools([look]), chosen.with_config(tags=["a"]), chosen.bind(stop=["x"])):
            assert made.invoke("Hi", {"configurable": {"model": "two"}}).text == "I am two."
            assert is_guarded(made, BAD)
        assert is_guarded(chosen.with_fallbacks([RunnableLambda(str)]), BAD)
        assert protect(chosen, GUARD) is chosen
