"""attach(agent): what the memory and the context keep."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fakes_agents import KINDS, Play, Playing, made
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer, ChatSummaryMemoryBuffer, Memory
from llama_index.core.workflow import Context

from llmguard_llamaindex import attach, protect
from llmguard_middleware import ConfigurationError, Guard, Guardrail, GuardrailViolation, UnenforceableError
from llmguard_middleware.scorers import pii

# LlamaIndex asks every attribute of a workflow whether it is a step.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step"),
    pytest.mark.filterwarnings("ignore:Skipping serialization of known unserializable key"),
]

TURNS: list[str | dict[str, Any]] = [{"text": "to c@example.com"}, "it is o@example.com"]
ASKED = "I am u@example.com"


@pytest.fixture(params=["buffer", "sqlite"])
async def memory(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """A memory of either kind."""
    if request.param == "buffer":
        yield ChatMemoryBuffer.from_defaults(token_limit=3000)
        return
    made = Memory.from_defaults(session_id="s")
    yield made
    if (engine := made.sql_store._async_engine) is not None:
        await engine.dispose()


def _redacting() -> Guard:
    stages: tuple[Any, ...] = ("input", "tool_call", "tool_result", "output")
    return Guard(*(Guardrail(pii(), stage=stage, action="redact", name=stage) for stage in stages))


@pytest.mark.parametrize("kind", KINDS)
async def test_redacted_by_default(kind: str, memory: Any) -> None:
    """A memory, in a list or in SQLite, keeps the messages as the guard let them pass, the given history too."""
    agent = attach(made(kind, Play([*TURNS], gives="r@example.com")), _redacting())
    history = [ChatMessage(role="user", content="h@example.com"), ChatMessage(role="assistant", content="hm")]
    await agent.run(ASKED, chat_history=history, memory=memory)
    kept = repr(await memory.aget_all())
    assert "@example.com" not in kept
    assert "I am <EMAIL_ADDRESS>" in kept
    assert history[0].content == "h@example.com"


@pytest.mark.parametrize("kind", KINDS)
async def test_raw_if_told(kind: str) -> None:
    """With state="raw" the memory keeps what the user said; the model and the reader of events still see none of it."""
    play = Play(["fine"])
    memory = ChatMemoryBuffer.from_defaults(token_limit=3000)
    agent = attach(made(kind, play), _redacting(), state="raw")
    handler = agent.run(ASKED, memory=memory)
    events = [event async for event in handler.stream_events()]
    await handler
    assert "u@example.com" in repr(await memory.aget_all())
    assert "u@example.com" not in repr(events) + play.heard


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stage", ["input", "output", "tool_call", "tool_result"])
@pytest.mark.parametrize("state", ["raw", "redacted"])
async def test_no_orphan_turn(kind: str, memory: Any, stage: Any, state: Any) -> None:
    """After a block the memory is as before the run, so that the conversation can go on."""
    before = [ChatMessage(role="user", content="hello"), ChatMessage(role="assistant", content="good day")]
    await memory.aput_messages(before)
    agent = attach(made(kind, Play([*TURNS], gives="r@example.com")), Guard(Guardrail(pii(), stage=stage)), state=state)
    with pytest.raises(GuardrailViolation):
        await agent.run(ASKED if stage == "input" else "please", memory=memory)
    assert [message.content for message in await memory.aget_all()] == ["hello", "good day"]


async def test_context_goes_on(memory: Any) -> None:
    """A conversation over one context and memory goes on after a block, without the turn that was blocked."""
    play = Play(["one", "two"])
    agent = attach(made("function", play), Guard(Guardrail(pii(), stage="input")))
    context = Context(agent)
    await agent.run("hello", ctx=context, memory=memory)
    with pytest.raises(GuardrailViolation):
        await agent.run(ASKED, ctx=context, memory=memory)
    await agent.run("good day", ctx=context, memory=memory)
    assert [message.content for message in play.asked[-1]] == ["hello", "one", "good day"]


async def test_stored_context() -> None:
    """A context that was stored and loaded again holds no raw text, and the conversation goes on from it."""
    agent = attach(made("function", Play(["one", "two"])), _redacting())
    handler = agent.run(ASKED)
    await handler
    stored = handler.ctx.to_dict()
    assert "u@example.com" not in repr(stored)
    assert str(await agent.run("again", ctx=Context.from_dict(agent, stored))) == "two"


def test_placeholders_are_not_stored() -> None:
    """Pseudonyms that only one run can put back are refused where the memory would keep them."""
    guard = Guard(Guardrail(pii(), stage="input", action="pseudonymize"))
    for kind in KINDS:
        with pytest.raises(ConfigurationError, match='use state="raw"'):
            attach(made(kind, Play()), guard)
        attach(made(kind, Play()), guard, state="raw")
    with pytest.raises(ConfigurationError, match="state"):
        attach(made("function", Play()), guard, state="none")  # type: ignore[arg-type]  # a typing mistake


@pytest.mark.parametrize("kind", KINDS)
async def test_pseudonyms(kind: str) -> None:
    """The model and the tool get placeholders, the caller the originals."""
    play = Play([{"text": "?"}, "?"])
    agent = made(kind, play)

    def turn(messages: Any, play: Play = play, told: Any = play.turn) -> Any:
        said = told(messages)
        name = next(word for message in messages for word in str(message.content).split() if word.startswith("<EMAIL"))
        return said.replace("?", name) if isinstance(said, str) else {"text": name}

    play.turn = turn  # type: ignore[method-assign]  # a model that repeats what it is asked
    attach(agent, Guard(Guardrail(pii(), stage="input", action="pseudonymize")), state="raw")
    handler = agent.run("I am u@example.com")
    events = [event async for event in handler.stream_events()]
    result = await handler
    assert str(result) == "u@example.com"
    assert "u@example.com" not in play.heard + repr(play.used)
    assert play.used[0].startswith("<EMAIL")
    assert events


def _summary(llm: Any) -> ChatSummaryMemoryBuffer:
    return ChatSummaryMemoryBuffer.from_defaults(llm=llm, token_limit=5, tokenizer_fn=str.split)


@pytest.mark.parametrize("kind", ["function", "workflow"])
async def test_a_memory_with_an_llm_of_its_own(kind: str) -> None:
    """With raw messages, the LLM of a memory has to be guarded, or it would be told what no model may be told."""
    guard = Guard(Guardrail(pii(), stage="input", action="redact"))
    play, other = Play(["fine"]), Play(["it was short"])
    agent = attach(made(kind, play), guard, state="raw")
    with pytest.raises(UnenforceableError, match="build the memory with llm="):
        await agent.run("I am u@example.com and more words", memory=_summary(Playing(play=other)))
    memory = _summary(protect(Playing(play=other), guard))
    for _ in range(2):
        await agent.run("I am u@example.com and more words", memory=memory)
    assert "<EMAIL_ADDRESS>" in other.heard
    assert "u@example.com" not in other.heard + play.heard
