"""What tracing costs a LangChain application: ours against the floor, one hand-written span per model call.

Added process CPU per call over the bare framework in us, `until the call returns / with all export work`: spans go
through a BatchSpanProcessor and OTLP/HTTP to a sink in another process. Rounds of all variants take turns in one
process, and the medians of their paired differences are compared: only the ratios carry over to another machine.

Run: uv run python benchmarks/langchain_cost.py [--rounds 15] [--only chat]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import process_time
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnablePassthrough
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from llmguard_langchain import GuardCallback, protect
from llmguard_middleware import Guard

SINK = """
import http.server
class Sink(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
print(server.server_port, flush=True)
server.serve_forever()
"""
USAGE = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
METADATA = {"model_name": "fake-1-2026", "finish_reason": "stop", "id": "resp-1"}


class Fake(BaseChatModel):
    """Answers at once; streams 200 tokens."""

    @property
    def _llm_type(self) -> str:
        return "fake"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {"ls_provider": "fake", "ls_model_name": "fake-1", "ls_model_type": "chat", "ls_temperature": 0.5}

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        message = AIMessage("Hello.", usage_metadata=USAGE, response_metadata=dict(METADATA))
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return self._generate(messages)


class Streaming(Fake):
    """The same, able to stream."""

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for _ in range(200):
            yield ChatGenerationChunk(message=AIMessageChunk(content="word ", id="resp-1"))
        yield ChatGenerationChunk(
            message=AIMessageChunk(content="", usage_metadata=USAGE, response_metadata=dict(METADATA))
        )


class Shelf(BaseRetriever):
    """Five documents."""

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return [Document(f"document {number} about the matter at hand") for number in range(5)]


class Floor(BaseCallbackHandler):
    """One span per model call, eleven attributes, no content: what tracing costs when written by hand."""

    ignore_chain = ignore_retriever = ignore_agent = True

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer
        self._spans: dict[Any, trace.Span] = {}

    def on_chat_model_start(self, serialized: Any, messages: Any, *, run_id: Any, **kwargs: Any) -> None:
        """Open the span."""
        metadata = kwargs.get("metadata") or {}
        self._spans[run_id] = self._tracer.start_span(
            "chat fake-1",
            kind=trace.SpanKind.CLIENT,
            attributes={
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": metadata.get("ls_provider", ""),
                "gen_ai.request.model": metadata.get("ls_model_name", ""),
                "gen_ai.request.temperature": metadata.get("ls_temperature", 0.0),
            },
        )

    def on_llm_end(self, response: Any, *, run_id: Any, **kwargs: Any) -> None:
        """End it."""
        span = self._spans.pop(run_id)
        message = response.generations[0][0].message
        usage = message.usage_metadata or {}
        span.set_attributes(
            {
                "gen_ai.response.id": message.id or "",
                "gen_ai.response.model": message.response_metadata.get("model_name", ""),
                "gen_ai.response.finish_reasons": (message.response_metadata.get("finish_reason", ""),),
                "gen_ai.usage.input_tokens": usage.get("input_tokens", 0),
                "gen_ai.usage.output_tokens": usage.get("output_tokens", 0),
                "llmguard.guard.name": "floor",
                "llmguard.guard.digest": "000000000000",
            }
        )
        span.end()


def rag(model: Any) -> Any:
    """A chain with a retriever."""
    prompt = ChatPromptTemplate.from_messages([("system", "Context: {context}"), ("user", "{question}")])
    return {"context": Shelf(), "question": RunnablePassthrough()} | prompt | model | (lambda message: message.content)


Call = Callable[[Any, dict[str, Any]], None]
_POOL = ThreadPoolExecutor(8)


def _threads(model: Any, config: dict[str, Any]) -> None:
    list(_POOL.map(lambda _: model.invoke("Hi", config), range(64)))


def _tasks(model: Any, config: dict[str, Any]) -> None:
    async def all_of_them() -> None:
        await asyncio.gather(*(model.ainvoke("Hi", config) for _ in range(32)))

    asyncio.run(all_of_them())


def _rag(model: Any, config: dict[str, Any]) -> None:
    chain = rag(model)
    for _ in range(20):
        chain.invoke("Hi", config)


ROWS: dict[str, tuple[type[Fake], int, Call]] = {
    "chat": (Fake, 100, lambda model, config: [model.invoke("Hi", config) for _ in range(100)] and None),
    "rag": (Fake, 20, _rag),
    "stream": (Streaming, 10, lambda model, config: [list(model.stream("Hi", config)) for _ in range(10)] and None),
    "32 async": (Fake, 32, _tasks),
    "8 threads": (Fake, 64, _threads),
}


def variants(kind: type[Fake], provider: TracerProvider) -> dict[str, tuple[Any, dict[str, Any]]]:
    """The model and the config of each variant."""
    guard = Guard(tracer_provider=provider)
    return {
        "bare": (kind(), {}),
        "floor": (kind(), {"callbacks": [Floor(provider.get_tracer("floor"))]}),
        "callback": (kind(), {"callbacks": [GuardCallback(guard)]}),
        "protect": (protect(kind(), guard), {}),
        "both": (protect(kind(), guard), {"callbacks": [GuardCallback(guard)]}),
    }


def main() -> None:
    """Print a table of the rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", choices=list(ROWS))
    options = parser.parse_args()
    sink = subprocess.Popen([sys.executable, "-c", SINK], stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own text
    assert sink.stdout is not None
    exporter = OTLPSpanExporter(f"http://127.0.0.1:{sink.stdout.readline().strip()}/v1/traces")
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=3_600_000, max_queue_size=100_000))
    try:
        for row in [options.only] if options.only else ROWS:
            kind, calls, call = ROWS[row]
            told: dict[str, list[tuple[float, float]]] = {}
            things = variants(kind, provider)
            for _ in range(options.rounds + 2):
                for name, (model, config) in things.items():
                    gc.collect()
                    before = process_time()
                    call(model, config)
                    until = process_time()
                    provider.force_flush()
                    told.setdefault(name, []).append((until - before, process_time() - before))
            bare = told.pop("bare")[2:]
            cells = {
                name: [
                    statistics.median(
                        (one[i] - base[i]) / calls * 1e6 for one, base in zip(pairs[2:], bare, strict=True)
                    )
                    for i in (0, 1)
                ]
                for name, pairs in told.items()
            }
            floor = cells["floor"]
            print(
                f"{row:10}",
                *(
                    f"{name} {cell[0]:6.0f}/{cell[1]:6.0f} ({cell[0] / floor[0]:.2f}x/{cell[1] / floor[1]:.2f}x)"
                    for name, cell in cells.items()
                ),
                sep="  ",
            )
    finally:
        provider.shutdown()
        sink.kill()


if __name__ == "__main__":
    main()
