"""Fakes: models that say what they are told to, a retriever over fixed documents, telemetry kept in memory."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from fakes_parts import LOOPS_CARRY, answer_of
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.base.response.schema import RESPONSE_TYPE
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from opentelemetry import trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import Field

from llmguard_middleware import Guard, Guardrail, Monitor

MODES = [prefix + name for name in ("chat", "complete") for prefix in ("", "a", "stream_", "astream_")]


def pytest_configure(config: pytest.Config) -> None:
    """Old versions leave loops of their own with tasks pending, which cannot reset their variable when they go."""
    if not LOOPS_CARRY:
        left = r"Exception ignored in. <coroutine object \w+\.a(query|retrieve|synthesize)"
        config.addinivalue_line("filterwarnings", f"ignore:{left}:pytest.PytestUnraisableExceptionWarning")
        gc.disable()  # amid a test they would end what is another's, and crash a Python that sets a variable just then


_tests = count(1)


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """What such a loop left goes now, in a context of its own."""
    yield
    if not LOOPS_CARRY:
        copy_context().run(gc.collect, 1 if next(_tests) % 100 else 2)


@dataclass
class Script:
    """What a model says, in pieces of `size` characters, and what it was asked. Shared by copies of the model."""

    answer: str = "fine"
    size: int = 1
    asked: list[str] = field(default_factory=list)
    tracer: trace.Tracer = field(default_factory=trace.NoOpTracer)
    error: Exception | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Script:
        return self

    def whole(self, prompt: str) -> str:
        """The whole answer."""
        self.asked.append(prompt)
        with self.tracer.start_as_current_span("POST"):
            if self.error is not None:
                raise self.error
            return self.answer

    def pieces(self, prompt: str) -> Iterator[tuple[str, str, dict[str, Any] | None]]:
        """(so far, piece, raw) of a streamed answer."""
        self.asked.append(prompt)
        for start in range(0, len(self.answer), self.size):
            with self.tracer.start_as_current_span("POST"):
                if self.error is not None and start:
                    raise self.error
                piece = self.answer[start : start + self.size]
            last = start + self.size >= len(self.answer)
            yield self.answer[: start + self.size], piece, self.raw(prompt) if last else {"choices": []}

    def raw(self, prompt: str) -> dict[str, Any]:
        """The provider's own answer, as OpenAI's is."""
        return {
            "id": "answer-1",
            "model": "scripted-2",
            "usage": {"prompt_tokens": len(prompt.split()), "completion_tokens": len(self.answer.split())},
            "choices": [{"finish_reason": "stop", "message": {"content": self.answer}}],
        }


class Completing(CustomLLM):
    """A model of LlamaIndex's simplest kind: everything ends up in `complete` or `stream_complete`."""

    script: Script = Field(exclude=True)

    @property
    def metadata(self) -> LLMMetadata:
        """What LlamaIndex asks about the model."""
        return LLMMetadata(model_name="scripted")

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """As scripted."""
        return CompletionResponse(text=self.script.whole(prompt), raw=self.script.raw(prompt))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """As scripted."""
        return (CompletionResponse(text=text, delta=delta, raw=raw) for text, delta, raw in self.script.pieces(prompt))


class Chatting(FunctionCallingLLM):
    """A model with every method of its own, as a provider's is."""

    script: Script = Field(exclude=True)
    tool_calls: list[Any] = Field(default_factory=list)

    @property
    def metadata(self) -> LLMMetadata:
        """What LlamaIndex asks about the model."""
        return LLMMetadata(model_name="scripted", is_chat_model=True, is_function_calling_model=True)

    def _prompt(self, messages: Sequence[ChatMessage]) -> str:
        return "\n".join(message.content or "" for message in messages)

    def _message(self, text: str) -> ChatMessage:
        return answer_of(text, *self.tool_calls)

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """As scripted."""
        prompt = self._prompt(messages)
        return ChatResponse(message=self._message(self.script.whole(prompt)), raw=self.script.raw(prompt))

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """As scripted."""
        pieces = self.script.pieces(self._prompt(messages))
        return (ChatResponse(message=self._message(text), delta=delta, raw=raw) for text, delta, raw in pieces)

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """As scripted."""
        prompt = self._prompt(messages)
        return ChatResponse(message=self._message(self.script.whole(prompt)), raw=self.script.raw(prompt))

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """As scripted."""

        async def gen() -> ChatResponseAsyncGen:
            for text, delta, raw in self.script.pieces(self._prompt(messages)):
                yield ChatResponse(message=self._message(text), delta=delta, raw=raw)

        return gen()

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """As scripted."""
        return CompletionResponse(text=self.script.whole(prompt), raw=self.script.raw(prompt))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """As scripted."""
        return (CompletionResponse(text=text, delta=delta, raw=raw) for text, delta, raw in self.script.pieces(prompt))

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """As scripted."""
        return CompletionResponse(text=self.script.whole(prompt), raw=self.script.raw(prompt))

    @llm_completion_callback()
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        """As scripted."""

        async def gen() -> CompletionResponseAsyncGen:
            for text, delta, raw in self.script.pieces(prompt):
                yield CompletionResponse(text=text, delta=delta, raw=raw)

        return gen()

    def _prepare_chat_with_tools(self, tools: Any, user_msg: Any = None, **kwargs: Any) -> dict[str, Any]:
        return {"messages": [ChatMessage(role="user", content=user_msg)]}

    def get_tool_calls_from_response(
        self, response: Any, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """None."""
        return []


class Shelf(BaseRetriever):
    """Retrieves all of its documents."""

    def __init__(self, *documents: str) -> None:
        super().__init__()
        self.nodes = [TextNode(text=document, id_=str(number)) for number, document in enumerate(documents)]
        self.similarity_top_k = len(documents)
        self.asked: list[str] = []

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self.asked.append(query_bundle.query_str)
        return [NodeWithScore(node=node, score=1.0) for node in self.nodes]


class Telemetry:
    """Providers for a guard, and what was written through them."""

    def __init__(self) -> None:
        self._spans, self._records = InMemorySpanExporter(), InMemoryLogRecordExporter()
        self.tracer_provider, self.logger_provider = (
            TracerProvider(shutdown_on_exit=False),
            LoggerProvider(shutdown_on_exit=False),
        )
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.logger_provider.add_log_record_processor(SimpleLogRecordProcessor(self._records))

    def guard(self, *rules: Guardrail | Monitor, **options: Any) -> Guard:
        """A guard that writes here."""
        return Guard(*rules, tracer_provider=self.tracer_provider, logger_provider=self.logger_provider, **options)

    @property
    def spans(self) -> list[ReadableSpan]:
        """The ended spans in the order of their start, without the guardrails' and monitors' own."""
        spans = [span for span in self._spans.get_finished_spans() if not span.name.startswith("llmguard.")]
        return sorted(spans, key=lambda span: span.start_time or 0)

    @property
    def tree(self) -> list[tuple[str, str | None]]:
        """(name, parent's name) of those spans."""
        names = {span.context.span_id: span.name for span in self._spans.get_finished_spans()}
        return [(span.name, names[span.parent.span_id] if span.parent else None) for span in self.spans]

    @property
    def flagged(self) -> list[tuple[str, str]]:
        """(rule, stage) of every guardrail that flagged a text."""
        attributes = [
            dict(span.attributes or {})
            for span in self._spans.get_finished_spans()
            if span.name.startswith("llmguard.guardrail ")
        ]
        return sorted((str(a["llmguard.guardrail.name"]), str(a["llmguard.stage"])) for a in attributes)

    @property
    def records(self) -> list[dict[str, Any]]:
        """The attributes of the evaluation results."""
        return [dict(item.log_record.attributes or {}) for item in self._records.get_finished_logs()]


@pytest.fixture(autouse=True)
def _no_loop_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """LlamaIndex's sync methods make an event loop for the thread and leave it: a later test would be blamed for it."""
    yield
    if not inspect.iscoroutinefunction(getattr(request, "function", None)):
        # `get_event_loop` would make one where there is none.
        loop = getattr(getattr(asyncio.get_event_loop_policy(), "_local", None), "_loop", None)
        if loop is not None and not loop.is_running():
            loop.close()
            asyncio.set_event_loop(None)


@pytest.fixture
def telemetry() -> Telemetry:
    """Telemetry in memory."""
    return Telemetry()


@pytest.fixture
def script(telemetry: Telemetry) -> Script:
    """What the models say."""
    return Script()


@pytest.fixture(params=[Completing, Chatting])
def llm(request: pytest.FixtureRequest, script: Script) -> Any:
    """A model of either kind."""
    return request.param(script=script)


@pytest.fixture
def chatting(script: Script) -> Chatting:
    """A model with every method of its own."""
    return Chatting(script=script)


@pytest.fixture
def completing(script: Script) -> Completing:
    """A model of the simplest kind."""
    return Completing(script=script)


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """One of the eight ways to call an LLM."""
    return str(request.param)


@pytest.fixture
def ask() -> Callable[..., Any]:
    """Ask an LLM in one of its eight ways; returns the text of the answer."""

    async def asking(llm: Any, mode: str, text: str) -> str:
        request: Any = [ChatMessage(role="user", content=text)] if "chat" in mode else text
        reply = getattr(llm, mode)(request)
        if mode.startswith("a"):
            reply = await reply
        if isinstance(reply, Generator):
            return "".join(chunk.delta for chunk in reply)
        if isinstance(reply, AsyncGenerator):
            return "".join([chunk.delta async for chunk in reply])
        return str(reply.message.content if "chat" in mode else reply.text)

    return asking


@pytest.fixture
def shelf() -> Shelf:
    """A retriever over two documents."""
    return Shelf("Bob lives in Ulm.", "Write to bob@example.com.")


@pytest.fixture
def engine(shelf: Shelf) -> Callable[..., RetrieverQueryEngine]:
    """Make a query engine over the shelf."""

    def make(llm: Any, **options: Any) -> RetrieverQueryEngine:
        return RetrieverQueryEngine.from_args(shelf, llm=llm, **options)

    return make


@pytest.fixture
def query() -> Callable[..., Any]:
    """Query an engine, sync or async, streamed or not; returns the text of the answer."""

    async def querying(engine: Any, way: str, text: str) -> str:
        response: RESPONSE_TYPE = await engine.aquery(text) if way == "aquery" else engine.query(text)
        source = getattr(response, "response_gen", None)
        if isinstance(source, Generator):
            return "".join(source)
        if isinstance(source, AsyncGenerator):
            return "".join([piece async for piece in source])
        return str(response)

    return querying
