"""What is said where a call of an attached engine is made holds for it, wherever it is awaited or read."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from fakes_engines import ENGINES, chat_engine
from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.base.response.schema import AsyncStreamingResponse, StreamingResponse
from llama_index.core.chat_engine.types import StreamingAgentChatResponse
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import TextNode

from llmguard_llamaindex import attach, protect
from llmguard_middleware import Guard, Guardrail
from llmguard_middleware.testing import Flags

OF_ACME = {"tenant.id": "acme"}


def guard_of_acme(stage: Any = "output") -> Guard:
    """A guard that has a rule for one tenant only."""
    return Guard(Guardrail(Flags(when="nasty", cheap=True), stage=stage, action="redact", where=OF_ACME))


def read(made: Any) -> str:
    """All that a call gives, as text, in a context of its own."""

    async def later() -> str:
        response = await made if inspect.isawaitable(made) else made
        if isinstance(response, (StreamingAgentChatResponse, AsyncStreamingResponse)):
            return "".join([piece async for piece in response.async_response_gen()])
        if hasattr(response, "__aiter__"):
            return "".join([piece.delta async for piece in response])
        return _text(response)

    return asyncio.run(later()) if inspect.isawaitable(made) else _text(made)


def _text(response: Any) -> str:
    if isinstance(response, list):
        return "".join(item.text for item in response)
    if isinstance(response, ChatResponse):
        return str(response.message.content)
    if isinstance(response, (StreamingAgentChatResponse, StreamingResponse)):
        return "".join(response.response_gen)
    return "".join(piece.delta for piece in response) if hasattr(response, "__next__") else str(response)


MADE: dict[str, Callable[[Any, Any, Guard], Any]] = {
    **{
        f"{kind}-{way}": lambda llm, shelf, guard, kind=kind, way=way: getattr(  # type: ignore[misc]  # of defaults
            attach(chat_engine(kind, llm, shelf), guard), way
        )("Hi")
        for kind in ENGINES
        for way in ("achat", "stream_chat", "astream_chat")
    },
    "aquery": lambda llm, shelf, guard: attach(RetrieverQueryEngine.from_args(shelf, llm=llm), guard).aquery("Hi"),
    "query streamed": lambda llm, shelf, guard: attach(
        RetrieverQueryEngine.from_args(shelf, llm=llm, streaming=True), guard
    ).query("Hi"),
    "aquery streamed": lambda llm, shelf, guard: attach(
        RetrieverQueryEngine.from_args(shelf, llm=llm, streaming=True), guard
    ).aquery("Hi"),
    "achat": lambda llm, _, guard: protect(llm, guard).achat([ChatMessage(role="user", content="Hi")]),
    "stream_complete": lambda llm, _, guard: protect(llm, guard).stream_complete("Hi"),
    "astream_complete": lambda llm, _, guard: protect(llm, guard).astream_complete("Hi"),
}


@pytest.mark.parametrize("how", MADE)
def test_the_tenant_is_that_of_the_place_where_the_call_was_made(how: str, llm: Any, script: Any, shelf: Any) -> None:
    """A call that is awaited or read after the block is judged by the tenant's rules; one made outside is not."""
    script.answer, script.size = "so nasty", 3
    guard = guard_of_acme()
    with guard.attributes(tenant__id="acme"):
        made = MADE[how](llm, shelf, guard)
    other = MADE[how](llm, shelf, guard)

    assert read(made) == "so <FAKE>"
    assert read(other) == "so nasty"


def test_retrievers(shelf: Any) -> None:
    """So it is with what is retrieved."""
    guard = guard_of_acme("retrieval")
    shelf.nodes = [TextNode(text="so nasty")]
    attach(shelf, guard)
    with guard.attributes(tenant__id="acme"):
        made = shelf.aretrieve("Hi")

    assert read(made) == "so <FAKE>"
    assert read(shelf.aretrieve("Hi")) == "so nasty"


@pytest.mark.parametrize("how", ["simple-achat", "context-achat", "aquery", "aquery streamed", "achat"])
def test_a_bypass_is_over_with_its_block(how: str, llm: Any, script: Any, shelf: Any) -> None:
    """What is made in a bypass and begins after it is judged."""
    script.answer = "so nasty"
    guard = Guard(Guardrail(Flags(when="nasty", cheap=True), stage="output", action="redact"))
    with guard.bypass(reason="a test"):
        made = MADE[how](llm, shelf, guard)

    assert read(made) == "so <FAKE>"


def test_methods_look_as_they_did(completing: Any, shelf: Any) -> None:
    """LlamaIndex and others ask whether a method is async; a guarded object's own are found to be the same."""
    plain, guarded = chat_engine("context", completing, shelf), chat_engine("context", completing, shelf)
    attach(guarded, Guard())
    for name in ("chat", "achat", "stream_chat", "astream_chat"):
        assert inspect.iscoroutinefunction(getattr(guarded, name)) == inspect.iscoroutinefunction(getattr(plain, name))
