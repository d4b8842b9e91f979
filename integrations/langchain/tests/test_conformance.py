"""What LangChain's adapters keep of a guard's promises, in every call mode; what they refuse, and what is missing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from llmguard_langchain import GuardCallback, protect
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


class Called(Adapter):
    """A chat model in LangChain's call modes, with a config."""

    modes = (
        Mode("invoke"),
        Mode("ainvoke", is_async=True),
        Mode("batch"),
        Mode("abatch", is_async=True),
        Mode("stream", streamed=True),
        Mode("astream", streamed=True, is_async=True),
        Mode("astream_events", streamed=True, is_async=True),
    )

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


class Protected(Called):
    """A protected chat model."""

    name = "LangChain protect(model)"
    gaps: Mapping[str, str] = {
        "tool_call-unreached/*": "reached, by the tool calls of an answer, of which scripts have none"
    }

    def build(self, guard: Guard, script: Script) -> Any:
        """The model under its guard."""
        return protect(Scripted(script=script), guard)

    def again(self, subject: Any, guard: Guard) -> Any:
        """The same under another."""
        return protect(subject, guard)


PROTECTED = Protected()


@pytest.mark.parametrize("scenario", scenarios(PROTECTED), ids=str)
async def test_protected_models_conform(scenario: Scenario) -> None:
    """A protected model does what the scenario claims."""
    await scenario.run(PROTECTED)


_EDITS = ("redact", "mask", "hash", "pseudonymize", "replace")


class Observed(Called):
    """A chat model that is called with a GuardCallback."""

    name = "LangChain GuardCallback"
    cannot: Mapping[str, str] = dict.fromkeys(
        (
            *(f"{stage}-{word}/*" for stage in ("input", "output") for word in _EDITS),
            "call-unchanged/*",
            "call-two-guards/*",
            "call-many-at-once/*",
            "monitor-sees-*/*",
            "stream-originals-back/*",
            "span-records-once/*",
            "span-without-content/*",
        ),
        "a callback changes nothing: protect the model",
    ) | dict.fromkeys(
        (
            "output-block*/*stream*",
            "output-allow*/*stream*",
            "output-re*/*stream*",
            "output-judged-once/*stream*",
            "call-bypassed/*stream*",
            "stream-redact*/*",
            "stream-block*/*",
            "stream-stays*/*",
            "model-error-in-stream-redact/*",
            "caller-leaves-stream-redact/*",
            "monitor-not-when-blocked/*stream*",
            "span-of-blocked-call/*stream*",
        ),
        "a callback cannot hold a stream: protect the model",
    )
    gaps: Mapping[str, str] = {
        "*-refusal/*": "no refusal mode: the violation is raised",
        "output-reask*/*": "a callback cannot ask again, and does not refuse to",
        "caller-cancels-scorer/*": "the event loop waits while a callback judges",
        "caller-leaves-stream-log/astream_events": "LangChain cancels the call, and that is what the span says",
        "monitor-outermost/*": "a callback does not see that it is called inside an op of its guard",
        "span-nests/*": "a callback cannot make its span the current one",
    }

    def build(self, guard: Guard, script: Script) -> Any:
        """The model with a callback."""
        return Scripted(script=script, callbacks=[GuardCallback(guard)])

    def again(self, subject: Any, guard: Guard) -> Any:
        """The same with one more."""
        return subject.model_copy(update={"callbacks": [*subject.callbacks, GuardCallback(guard)]})


OBSERVED = Observed()


@pytest.mark.parametrize("scenario", scenarios(OBSERVED), ids=str)
async def test_callbacks_conform(scenario: Scenario) -> None:
    """A GuardCallback does what the scenario claims, or refuses."""
    await scenario.run(OBSERVED)
