"""What a user writes by mistake ends in one sentence that says what to write, and never in a call without a guard."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser

from llmguard_langchain import GuardCallback, GuardMiddleware, instrument, protect
from llmguard_middleware import ConfigurationError, Guard, Guardrail
from llmguard_middleware.testing import Flags

GUARD = Guard(Guardrail(Flags(when="bad", name="bad"), stage="input"))
README = (Path(__file__).parents[1] / "README.md").read_text().partition("## Mistakes")[2].partition("\n## ")[0]


def called(runnable, method, given, config):
    """All that a Runnable gives."""

    async def later():
        if method == "ainvoke":
            return await runnable.ainvoke(given, config)
        return [item async for item in runnable.astream(given, config)]

    if method.startswith("a"):
        return asyncio.run(later())
    return runnable.invoke(given, config) if method == "invoke" else list(runnable.stream(given, config))


@pytest.fixture(params=["model", "chain", "agent"])
def thing(request, fake_chat):
    """What takes callbacks, and what it is asked."""
    model = fake_chat()
    if request.param == "agent":
        return create_agent(model, []), {"messages": [HumanMessage("bad")]}
    return (model if request.param == "model" else model | StrOutputParser()), "bad"


METHODS = ["invoke", "ainvoke", "stream", "astream"]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("method", METHODS)
def test_the_class_of_a_callback_is_refused(thing, method):
    """callbacks=[GuardCallback] says that the guard is missing, in every call mode."""
    runnable, given = thing
    with pytest.raises(ConfigurationError, match=r"write callbacks=\[GuardCallback\(guard\)\]$"):
        called(runnable, method, given, {"callbacks": [GuardCallback]})


def test_the_class_of_a_callback_can_be_looked_through():
    """Who only looks at the class (help, documentation) meets no error, and an instance ignores no event."""
    assert "on_chain_start" in dict(inspect.getmembers(GuardCallback))
    assert not hasattr(GuardCallback, "ignore_chain")
    callback = GuardCallback(GUARD)
    ignores = [name for name in dir(callback) if name.startswith("ignore_")]
    assert len(ignores) >= 7
    assert not any(getattr(callback, name) for name in ignores)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("given_instead", [GUARD, Guard, GuardMiddleware(GUARD)], ids=["guard", "class", "middleware"])
def test_what_is_no_callback_lets_no_call_through(fake_chat, method, given_instead):
    """LangChain itself raises for callbacks=[guard], and the README says what to write."""
    model = fake_chat()
    with pytest.raises(AttributeError, match=r"has no attribute '(raise_error|run_inline)'"):
        called(model, method, "bad", {"callbacks": [given_instead]})
    assert not model.received
    assert "has no attribute 'raise_error'" in README
    assert "has no attribute 'run_inline'" in README


@pytest.mark.parametrize(
    ("given_instead", "error", "match"),
    [
        ([GUARD], AttributeError, "has no attribute 'wrap_tool_call'"),
        ([GuardMiddleware], AttributeError, "has no attribute 'wrap_tool_call'"),
        ([GuardCallback(GUARD)], AttributeError, "has no attribute 'wrap_tool_call'"),
        (GuardMiddleware(GUARD), TypeError, "is not iterable"),
        ([GuardMiddleware(GUARD), GuardMiddleware(GUARD)], AssertionError, "remove duplicate middleware instances"),
    ],
    ids=["a guard", "the class", "a callback", "no list", "twice"],
)
def test_what_is_no_middleware_makes_no_agent(fake_chat, given_instead, error, match):
    """LangChain itself raises for middleware=[guard] and the like, and the README says what to write."""
    with pytest.raises(error, match=match):
        create_agent(fake_chat(), [], middleware=given_instead)
    assert match in README


def test_a_callback_without_its_list_lets_no_call_through(fake_chat):
    """LangChain itself raises for callbacks=GuardCallback(guard), and the README says what to write."""
    with pytest.raises(AttributeError, match="has no attribute 'copy'"):
        fake_chat().invoke("bad", {"callbacks": GuardCallback(GUARD)})
    assert "has no attribute 'copy'" in README


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        (lambda chain: protect(GUARD, chain), r"was given Guard: write protect\(thing, guard\), in this order$"),
        (
            lambda chain: protect(chain, Guard),
            r"was given the class Guard; build one of your rules: Guard\(rule, ...\)$",
        ),
        (
            lambda chain: protect(chain, GuardCallback(GUARD)),
            r"given GuardCallback; pass the guard that it was made of$",
        ),
        (lambda chain: protect(chain, [GUARD]), r"was given list; one guard holds all rules, Guard\(\*rules\), and"),
        (
            lambda chain: protect(type(chain), GUARD),
            r"RunnableSequence: write protect\(RunnableSequence\(...\), guard\)$",
        ),
        (lambda chain: protect(chain.invoke, GUARD), "was given method: wrap it in RunnableLambda$"),
        (
            GuardCallback,
            r"GuardCallback\(guard\), the chain's config=.*takes a Guard and was given",
        ),
        (
            GuardMiddleware,
            r"GuardMiddleware\(guard\) takes a Guard and was given RunnableSequence",
        ),
        (lambda chain: GuardMiddleware(GuardCallback(GUARD)), "pass the guard that it was made of$"),
        (instrument, r"instrument\(guard\) takes a Guard and was given RunnableSequence"),
    ],
)
def test_what_is_no_guard_and_no_runnable_is_named(fake_chat, mistake, sentence):
    """What was given in the place of a Runnable or a guard is named, with what to write."""
    with pytest.raises(ConfigurationError, match=sentence):
        mistake(fake_chat() | StrOutputParser())


@pytest.mark.parametrize("forgets", [protect, GuardCallback, GuardMiddleware])
def test_a_missing_guard_is_named(fake_chat, forgets):
    """protect(chain) without a guard is Python's own sentence, which names the guard; type checkers see it before."""
    given = (fake_chat(),) if forgets is protect else ()
    with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'guard'$"):
        forgets(*given)
