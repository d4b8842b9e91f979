"""Fakes that LangChain takes for providers, and one way to ask in every call mode."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from pydantic import Field

from llmguard_middleware.testing import CapturedTelemetry, captured_telemetry

USAGE = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
METADATA = {"model_name": "fake-1-20260101", "finish_reason": "stop"}


class FakeChat(BaseChatModel):
    """Answers with a fixed text, or by a function of the messages; keeps what it was sent; streams by `size`."""

    answer: Any = "Hello."
    size: int = 1000
    error: Any = None
    received: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "fake"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {"ls_provider": "fake", "ls_model_name": "fake-1", "ls_model_type": "chat", "ls_temperature": 0.5}

    def _said(self, messages: list[BaseMessage]) -> Any:
        self.received.append(messages)
        return self.answer(messages) if callable(self.answer) else self.answer

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        said = self._said(messages)
        if self.error:
            raise self.error
        message = AIMessage(said, id="resp-1", usage_metadata=USAGE, response_metadata=dict(METADATA))
        return ChatResult(generations=[ChatGeneration(message=message)])


class StreamingChat(FakeChat):
    """The same, able to stream."""

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        said = self._said(messages)
        for start in range(0, len(said), self.size):
            text = said[start : start + self.size]
            yield ChatGenerationChunk(message=AIMessageChunk(content=text, id="resp-1"))
            if self.error:
                raise self.error
        last = AIMessageChunk(content="", id="resp-1", usage_metadata=USAGE, response_metadata=dict(METADATA))
        yield ChatGenerationChunk(message=last)


class NativeAsyncChat(StreamingChat):
    """The same, with async methods that call the sync ones in this task, as some providers' do."""

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        await asyncio.sleep(0)
        return self._generate(messages)

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(messages):
            await asyncio.sleep(0)
            yield chunk


@pytest.fixture(params=[FakeChat, StreamingChat, NativeAsyncChat])
def provider(request: pytest.FixtureRequest) -> type[FakeChat]:
    """Each way in which a provider may implement a chat model."""
    return request.param


@pytest.fixture
def fake_chat() -> type[FakeChat]:
    """A provider that can stream."""
    return StreamingChat


@pytest.fixture
def captured() -> Iterator[CapturedTelemetry]:
    """Spans and records in memory."""
    with captured_telemetry() as telemetry:
        yield telemetry


Ask = Callable[..., list[str]]


def _text(piece: Any) -> str:
    return piece if isinstance(piece, str) else "".join(piece.text)


async def _collect(pieces: AsyncIterator[Any]) -> list[str]:
    return [_text(piece) async for piece in pieces]


async def _events(runnable: Runnable, given: Any, config: RunnableConfig | None) -> list[str]:
    events = [event async for event in runnable.astream_events(given, config, version="v2")]
    pieces = [_text(event["data"]["chunk"]) for event in events if event["event"] == "on_chat_model_stream"]
    return pieces or [_text(event["data"]["output"]) for event in events if event["event"] == "on_chat_model_end"]


ASK: dict[str, Ask] = {
    "invoke": lambda runnable, given, config=None: [_text(runnable.invoke(given, config))],
    "ainvoke": lambda runnable, given, config=None: [_text(asyncio.run(runnable.ainvoke(given, config)))],
    "batch": lambda runnable, given, config=None: [_text(runnable.batch([given], config)[0])],
    "abatch": lambda runnable, given, config=None: [_text(asyncio.run(runnable.abatch([given], config))[0])],
    "stream": lambda runnable, given, config=None: [_text(piece) for piece in runnable.stream(given, config)],
    "astream": lambda runnable, given, config=None: asyncio.run(_collect(runnable.astream(given, config))),
    "astream_events": lambda runnable, given, config=None: asyncio.run(_events(runnable, given, config)),
}


@pytest.fixture(params=list(ASK))
def ask(request: pytest.FixtureRequest) -> Ask:
    """One question in each call mode: the pieces of the answer, as text."""
    return ASK[request.param]


@pytest.fixture(params=["stream", "astream", "astream_events"])
def ask_streamed(request: pytest.FixtureRequest) -> Ask:
    """One question in each streaming call mode."""
    return ASK[request.param]


@pytest.fixture(params=["invoke", "ainvoke", "batch", "abatch"])
def ask_whole(request: pytest.FixtureRequest) -> Ask:
    """One question in each call mode that gives a whole answer."""
    return ASK[request.param]
