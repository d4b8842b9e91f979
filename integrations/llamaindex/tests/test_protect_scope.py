"""What is said where a protected call is made holds for it, wherever its stream is read or its coroutine awaited."""

from __future__ import annotations

import asyncio
import copy
import inspect
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from fakes_parts import answer_of
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from llmguard_llamaindex import protect
from llmguard_middleware import Guard, Guardrail, GuardrailViolation
from llmguard_middleware.testing import Flags

from .conftest import Completing, Script
from .fakes_llm import Speaking, called

# LlamaIndex's own structured models use it.
pytestmark = pytest.mark.filterwarnings("ignore:The `json` method:pydantic.warnings.PydanticDeprecatedSince20")

OF_ACME = {"tenant.id": "acme"}
PROMPT = PromptTemplate("Who is {who}?")


class Person(BaseModel):
    """What a structured answer is."""

    to: str = ""


def send(to: str) -> str:
    """Send a letter."""
    return f"sent to {to}"


TOOL = FunctionTool.from_defaults(send)
HELLO = [ChatMessage(role="user", content="Hi")]
SAYS: dict[str, Callable[[Any], Any]] = {
    "stream_chat": lambda llm: llm.stream_chat(HELLO),
    "stream_complete": lambda llm: llm.stream_complete("Hi"),
    "stream": lambda llm: llm.stream(PROMPT, who="he"),
    "stream_chat_with_tools": lambda llm: llm.stream_chat_with_tools([TOOL], user_msg="Hi"),
    "stream_structured_predict": lambda llm: llm.stream_structured_predict(Person, PROMPT, who="he"),
    "structured stream_chat": lambda llm: llm.as_structured_llm(Person).stream_chat(HELLO),
    "achat": lambda llm: llm.achat(HELLO),
    "acomplete": lambda llm: llm.acomplete("Hi"),
    "astream_chat": lambda llm: llm.astream_chat(HELLO),
    "astream_complete": lambda llm: llm.astream_complete("Hi"),
    "apredict": lambda llm: llm.apredict(PROMPT, who="he"),
    "astream": lambda llm: llm.astream(PROMPT, who="he"),
    "achat_with_tools": lambda llm: llm.achat_with_tools([TOOL], user_msg="Hi"),
    "astream_chat_with_tools": lambda llm: llm.astream_chat_with_tools([TOOL], user_msg="Hi"),
    "apredict_and_call": lambda llm: llm.apredict_and_call([TOOL], user_msg="Hi"),
    "astructured_predict": lambda llm: llm.astructured_predict(Person, PROMPT, who="he"),
    "astream_structured_predict": lambda llm: llm.astream_structured_predict(Person, PROMPT, who="he"),
    "structured achat": lambda llm: llm.as_structured_llm(Person).achat(HELLO),
    "structured astream_chat": lambda llm: llm.as_structured_llm(Person).astream_chat(HELLO),
}


def model(mode: str = "") -> Speaking:
    """A model that is nasty in all that it says, or in the structured answer that it gives in a tool call."""
    call = called(to="so nasty")
    if "structured" in mode:
        return Speaking(answer=answer_of(call.model_copy(update={"tool_name": "Person"})), size=2, raw_calls=True)
    return Speaking(answer=answer_of("so nasty", call), size=2)


def guard_of_acme(stage: Any = "output", **options: Any) -> Guard:
    """A guard that has a rule for one tenant only."""
    return Guard(Guardrail(Flags(when="nasty", cheap=True), stage=stage, action="redact", where=OF_ACME, **options))


def all_of(made: Any) -> str:
    """All that a call gives, as text, read and awaited outside of every block."""

    async def later() -> Any:
        given = await made
        return [one async for one in given] if hasattr(given, "__aiter__") else given

    told = list(made) if hasattr(made, "__next__") else asyncio.run(later())
    tokens = isinstance(told, list) and all(isinstance(one, str) for one in told)
    return "".join(told) if tokens else repr(told)


@pytest.mark.parametrize("mode", SAYS)
def test_the_tenant_is_that_of_the_place_where_the_call_was_made(mode: str) -> None:
    """In every method that begins later, a call that is read after the block is judged by the tenant's rules, and one
    that is made outside is not.
    """
    guard = guard_of_acme()
    llm = protect(model(mode), guard)
    with guard.attributes(tenant__id="acme"):
        made = SAYS[mode](llm)
    other = SAYS[mode](llm)

    told = all_of(made)

    assert "<FAKE>" in told
    assert "nasty" not in told
    assert "nasty" in all_of(other)


@pytest.mark.parametrize("mode", SAYS)
def test_what_goes_in_is_the_tenant_s_as_well(mode: str) -> None:
    """Likewise what goes in: messages of a coroutine that is awaited later meet the rules of where it was made."""
    guard = Guard(Guardrail(lambda text: True, name="all", stage="input", where=OF_ACME))
    llm = protect(model(mode), guard)

    def call() -> None:
        with guard.attributes(tenant__id="acme"):
            made = SAYS[mode](llm)
        all_of(made)

    with pytest.raises(GuardrailViolation):
        call()
    assert llm.asked == []


@pytest.mark.parametrize("mode", SAYS)
def test_a_bypass_is_over_with_its_block(mode: str) -> None:
    """What is made in a bypass of another guard's, and begins after it, is judged."""
    guard = Guard(Guardrail(Flags(when="nasty", cheap=True), stage="output", action="redact"))
    llm = protect(model(mode), guard)
    with guard.attributes(tenant__id="acme"), guard.bypass(reason="a test"):
        made = SAYS[mode](llm)

    told = all_of(made)

    began = mode in ("stream_chat", "stream_complete", "stream", "stream_chat_with_tools")
    assert ("nasty" in told) == began  # a sync stream asks its model at once, in the bypass


WRAPPED: dict[str, Callable[[Any], Any]] = {
    "second guard": lambda llm: protect(llm, Guard(Guardrail(Flags(when="xyz", cheap=True), stage="output"))),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "model_copy": lambda llm: llm.model_copy(),
}


@pytest.mark.parametrize("mode", ["stream_chat", "astream_chat", "achat", "stream_structured_predict"])
@pytest.mark.parametrize("how", WRAPPED)
def test_what_is_made_of_a_copy_begins_as_it_was_made(how: str, mode: str) -> None:
    """So do a copy under two guards and copies of a copy."""
    guard = guard_of_acme()
    llm = WRAPPED[how](protect(model(mode), guard))
    with guard.attributes(tenant__id="acme"):
        made = SAYS[mode](llm)

    told = all_of(made)

    assert "<FAKE>" in told
    assert "nasty" not in told


@pytest.mark.parametrize("mode", ["stream_chat", "stream_complete", "achat", "astream_complete"])
def test_models_of_the_simplest_kind(mode: str) -> None:
    """A model all of whose methods end up in one begins as it was made, too."""
    guard = guard_of_acme()
    llm = protect(Completing(script=Script(answer="so nasty")), guard)
    with guard.attributes(tenant__id="acme"):
        made = SAYS[mode](llm)

    assert "nasty" not in all_of(made)


def test_two_streams_read_in_turn_do_not_mix() -> None:
    """Streams of two tenants, and one of nobody, each piece of which is read in turn, are each their own."""
    guard = guard_of_acme()
    llm = protect(Speaking(answer=answer_of("so nasty and more"), size=3), guard)
    streams = []
    for tenant in ("acme", "other"):
        with guard.attributes(tenant__id=tenant):
            streams.append(llm.stream_chat(HELLO))
    streams.append(llm.stream_chat(HELLO))

    pieces = itertools.zip_longest(*((chunk.delta for chunk in one) for one in streams), fillvalue="")

    told = ["".join(one) for one in zip(*pieces, strict=True)]
    assert told == ["so <FAKE> and more", "so nasty and more", "so nasty and more"]


def test_a_protected_structured_model() -> None:
    """A structured model that is protected itself begins as it was made."""
    guard = guard_of_acme()
    llm = protect(model("structured").as_structured_llm(Person), guard)
    with guard.attributes(tenant__id="acme"):
        made = llm.stream_chat(HELLO)

    assert "nasty" not in all_of(made)
    assert type(llm).__name__ == "StructuredLLM"
    assert protect(llm, guard) is llm


def test_methods_look_as_they_did() -> None:
    """LlamaIndex asks whether a method is async; a copy's own are found to be the same."""
    llm = model()
    guarded = protect(llm, guard_of_acme())
    for name in ("chat", "achat", "stream_chat", "astream_chat", "apredict", "astructured_predict", "achat_with_tools"):
        for kind in (inspect.iscoroutinefunction, inspect.isasyncgenfunction):
            assert kind(getattr(guarded, name)) == kind(getattr(llm, name)), name
