"""`protect` for LangChain chat models keeps every promise of a guard, in every call mode."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from llmguard_langchain import protect
from llmguard_middleware import Guard
from llmguard_middleware.testing.conformance import Adapter, Mode, Scenario, Script, scenarios


def _asked(messages: list[BaseMessage]) -> str:
    return "\n".join(str(message.text) for message in messages)


class Scripted(BaseChatModel):
    """A provider with every method of its own, which does what its script says."""

    script: Any

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return _result(self.script.reply(_asked(messages)))

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return _result(await self.script.areply(_asked(messages)))

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for piece in self.script.stream(_asked(messages)):
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece))

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        async for piece in self.script.astream(_asked(messages)):
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece))


def _result(text: str) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])


class Protected(Adapter):
    """A protected chat model."""

    name = "LangChain protect(model)"
    modes = (
        Mode("invoke"),
        Mode("ainvoke", is_async=True),
        Mode("batch"),
        Mode("abatch", is_async=True),
        Mode("stream", streamed=True),
        Mode("astream", streamed=True, is_async=True),
        Mode("astream_events", streamed=True, is_async=True),
    )

    gaps: Mapping[str, str] = {
        "*-refusal/*": "no refusal mode yet: the violation is raised",
        "output-reask*/*": "the model is not asked again yet: reask blocks",
        "input-race*/*invoke": "a race is not settled where the guard has no output rule",
        "input-race*/*batch": "as invoke",
        "input-race-streams/*": "a race is settled only at the end of the stream",
        "input-pseudonymize/*invoke": "originals are not put back where the guard has no output rule",
        "input-pseudonymize/*batch": "as invoke",
        "call-many-at-once/*invoke": "as input-pseudonymize",
        "call-many-at-once/*batch": "as input-pseudonymize",
    }

    def build(self, guard: Guard, script: Script) -> Any:
        """The model under its guard."""
        return protect(Scripted(script=script), guard)

    def again(self, subject: Any, guard: Guard) -> Any:
        """The same under another."""
        return protect(subject, guard)

    def call(self, subject: Any, mode: Mode, text: str) -> Any:
        """As a Runnable."""
        if mode.name == "astream_events":
            return subject.astream_events(text, version="v2")
        return getattr(subject, mode.name)([text] if "batch" in mode.name else text)

    def text(self, reply: Any) -> str:
        """What a message, the only message of a batch, a chunk or an event says."""
        if isinstance(reply, dict):
            reply = reply["data"]["chunk"] if reply["event"] == "on_chat_model_stream" else AIMessageChunk("")
        (message,) = reply if isinstance(reply, list) else [reply]
        return str(message.text)


PROTECTED = Protected()


@pytest.mark.parametrize("scenario", scenarios(PROTECTED), ids=str)
async def test_protected_models_conform(scenario: Scenario) -> None:
    """A protected model does what the scenario claims."""
    await scenario.run(PROTECTED)
