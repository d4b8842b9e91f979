"""Fakes that LangChain takes for providers, and one way to ask in every call mode."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

import pytest
from langchain.agents import create_agent, factory
from langchain_core._api.beta_decorator import LangChainBetaWarning
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.retry import RunnableRetry
from langchain_core.tools import BaseTool
from langgraph.pregel import Pregel
from langgraph.types import StreamMode
from pydantic import Field

from llmguard_middleware.testing import CapturedTelemetry, captured_telemetry

_FACTORY = inspect.getsource(factory)


@dataclass(frozen=True)
class Installed:
    """What the installed LangChain does and its oldest supported versions (1.0) do not.

    A test that depends on such a thing says what those do instead.
    """

    agent_names: bool = "lc_agent_name" in _FACTORY  # the nodes of an agent, and callbacks, are told its name
    tool_call_ids: bool = "tool_call_id" in inspect.getsource(BaseTool.run).partition("on_tool_start(")[2][:600]
    injected_apart: bool = hasattr(BaseTool, "_filter_injected_args")  # callbacks are not told what LangChain injects
    event_streams: bool = hasattr(Pregel, "stream_events")  # of version 3
    typed_parts: bool = "version" in inspect.signature(Pregel.stream).parameters  # a graph's stream(version="v2")
    lean_tool_calls: bool = "ToolCallWithContext(" not in _FACTORY  # checkpoints keep them without the agent's state
    own_parse_errors: bool = _FACTORY.count(" StructuredOutputValidationError(") > 1  # also of a provider's answers
    retry_by_function: bool = "Callable" in str(RunnableRetry.model_fields["retry_exception_types"].annotation)


def pytest_configure(config: pytest.Config) -> None:
    """Let pass what the oldest versions say of themselves."""
    if not Installed.event_streams:
        config.addinivalue_line("filterwarnings", "ignore:AgentStatePydantic has been moved")
        config.addinivalue_line("filterwarnings", "ignore:Pydantic serializer warnings")  # of openai's parsed answers


@pytest.fixture
def installed() -> Installed:
    """What the installed LangChain does."""
    return Installed()


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


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """When a callback blocks, LangChain drops coroutines: they go now, and not while some other test runs."""
    yield
    gc.collect(1)


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


# Agents.


class AgentChat(BaseChatModel):
    """A model for `create_agent`: says its answers one after the other, streamed one character at a time.

    Which one is next, the answers in the history say, so that who asks again is answered the same.
    """

    answers: list[AIMessage] = Field(default_factory=list)
    received: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "fake"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        """It calls what its script says."""
        return self.bind()

    def _next(self, messages: list[BaseMessage]) -> AIMessage:
        self.received.append(messages)
        return self.answers[sum(isinstance(message, AIMessage) for message in messages)]

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._next(messages))])

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        answer = self._next(messages)
        for letter in str(answer.content):
            yield ChatGenerationChunk(message=AIMessageChunk(content=letter))
        for index, call in enumerate(answer.tool_calls):
            for name, piece in ((call["name"], ""), *((None, letter) for letter in json.dumps(call["args"]))):
                part = tool_call_chunk(name=name, args=piece, id=call["id"] if name else None, index=index)
                yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[part]))


class Agent:
    """An agent under guards, with the tool `lookup`, and all that is seen of it."""

    def __init__(self, *answers: Any, result: str = "found", **options: Any) -> None:
        messages = [AIMessage(answer) if isinstance(answer, str) else answer for answer in answers]
        self.model = options.pop("model", None) or AgentChat(answers=messages)
        self.looked_up: list[str] = []

        def lookup(who: str) -> str:
            """Look somebody up."""
            self.looked_up.append(who)
            return result

        self.graph = create_agent(self.model, [*options.pop("tools", ()), lookup], **options)
        self.seen: list[Any] = []

    def ask(self, text: Any, mode: str = "invoke", **config: Any) -> Any:
        """Ask in this mode; what is seen is kept, also if it raises."""
        given = text if not isinstance(text, str) else {"messages": [HumanMessage(text)]}
        method, _, stream_mode = mode.partition(":")
        how: dict[str, Any] = {"config": config}
        if stream_mode in ("v2", "v3"):
            how["version"] = stream_mode
        elif stream_mode:
            how["stream_mode"] = stream_mode.split("+") if "+" in stream_mode else stream_mode
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The v3 streaming protocol", category=LangChainBetaWarning)
            if method.startswith("a"):
                asyncio.run(self._aask(method, given, how))
            elif method == "invoke":
                self.seen.append(self.graph.invoke(given, **how))
            else:
                for event in getattr(self.graph, method)(given, **how):
                    self.seen.append(event)
        return self.seen[-1] if self.seen else None

    async def _aask(self, method: str, given: Any, how: dict[str, Any]) -> None:
        if method == "ainvoke":
            self.seen.append(await self.graph.ainvoke(given, **how))
            return
        events = getattr(self.graph, method)(given, **how)
        async for event in await events if inspect.iscoroutine(events) else events:
            self.seen.append(event)

    @property
    def shown(self) -> str:
        """Everything that was seen, as text; the pieces of streamed messages also put together."""
        chunks = [event[0] for event in self.seen if isinstance(event, tuple) and hasattr(event[0], "content")]
        joined = "".join(_text(chunk) for chunk in chunks if chunk.type == "AIMessageChunk")
        return f"{self.seen!r}\n{joined}"

    @property
    def received(self) -> str:
        """All that the model was sent, as text."""
        return repr(self.model.received)


def calls(*named: dict[str, Any], text: str = "") -> AIMessage:
    """A model's answer that calls `lookup` with each of these arguments."""
    return AIMessage(
        text, tool_calls=[{"name": "lookup", "args": args, "id": f"call-{i}"} for i, args in enumerate(named, 1)]
    )


@pytest.fixture
def make_agent() -> type[Agent]:
    """Agents with a scripted model."""
    return Agent


@pytest.fixture
def tool_calls() -> Callable[..., AIMessage]:
    """Answers that call the agent's tool."""
    return calls


_STREAM_MODES = (*get_args(StreamMode), "messages+updates")
AGENT_MODES = [
    "invoke",
    "ainvoke",
    *(f"{method}:{mode}" for method in ("stream", "astream") for mode in _STREAM_MODES),
    "astream_events:v2",
    *([f"{method}:v3" for method in ("stream_events", "astream_events")] if Installed.event_streams else []),
]


@pytest.fixture(params=AGENT_MODES)
def agent_mode(request: pytest.FixtureRequest) -> str:
    """Each way to call an agent."""
    return request.param


@pytest.fixture(params=["invoke", "ainvoke"])
def whole_mode(request: pytest.FixtureRequest) -> str:
    """Sync and async."""
    return request.param
