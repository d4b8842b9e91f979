"""What is compared: nothing, handlers that do nothing, the floor written by hand, and ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.llm import (
    LLMChatEndEvent,
    LLMChatStartEvent,
    LLMCompletionEndEvent,
    LLMCompletionStartEvent,
)
from llama_index.core.instrumentation.span_handlers import BaseSpanHandler
from opentelemetry import trace
from opentelemetry.context import attach, detach
from opentelemetry.trace import TracerProvider
from pydantic import PrivateAttr

from llmguard_llamaindex import attach as attach_to
from llmguard_llamaindex import instrument, protect, uninstrument
from llmguard_middleware import Guard, Guardrail
from llmguard_middleware.scorers import pii

__all__ = ["Variant", "variants"]


def _itself(thing: Any) -> Any:
    return thing


@dataclass(frozen=True)
class Variant:
    """One way to run a row: what is put around the model, around the engine, and around each round (not timed)."""

    around_model: Callable[[Any], Any] = _itself
    around_engine: Callable[[Any], Any] = _itself
    around_round: Callable[[], AbstractContextManager[Any]] = nullcontext


class NoOpSpans(BaseSpanHandler[Any]):
    """Told of all spans, and does nothing."""

    def new_span(self, *args: Any, **kwargs: Any) -> None:
        """Nothing."""

    span_enter = span_exit = span_drop = prepare_to_exit_span = prepare_to_drop_span = new_span


class NoOpEvents(BaseEventHandler):
    """Told of all events, and does nothing."""

    def handle(self, event: Any, **kwargs: Any) -> None:
        """Nothing."""


class Floor(BaseEventHandler):
    """One span for each pair of a model's events, eleven attributes, no content: the least that is written by hand."""

    _tracer: trace.Tracer = PrivateAttr()
    _spans: dict[str, trace.Span] = PrivateAttr(default_factory=dict)

    def __init__(self, tracer: trace.Tracer) -> None:
        super().__init__()
        self._tracer = tracer

    def handle(self, event: Any, **kwargs: Any) -> None:
        """Open the span, or end it."""
        if isinstance(event, (LLMChatStartEvent, LLMCompletionStartEvent)):
            told = event.model_dict
            assert event.span_id is not None
            self._spans[event.span_id] = self._tracer.start_span(
                "chat fake-1",
                kind=trace.SpanKind.CLIENT,
                attributes={
                    "gen_ai.operation.name": "chat",
                    "gen_ai.provider.name": told.get("class_name", ""),
                    "gen_ai.request.model": told.get("model", ""),
                    "gen_ai.request.temperature": told.get("temperature", 0.0),
                },
            )
        elif isinstance(event, (LLMChatEndEvent, LLMCompletionEndEvent)):
            assert event.span_id is not None
            self._end(self._spans.pop(event.span_id), getattr(event.response, "raw", None) or {})

    def _end(self, span: trace.Span, raw: Mapping[str, Any]) -> None:
        usage = raw.get("usage", {})
        span.set_attributes(
            {
                "gen_ai.response.id": raw.get("id", ""),
                "gen_ai.response.model": raw.get("model", ""),
                "gen_ai.response.finish_reasons": [one["finish_reason"] for one in raw.get("choices", ())],
                "gen_ai.usage.input_tokens": usage.get("prompt_tokens", 0),
                "gen_ai.usage.output_tokens": usage.get("completion_tokens", 0),
                "llmguard.guard.name": "floor",
                "llmguard.guard.digest": "000000000000",
            }
        )
        span.end()


class FourSpans(BaseSpanHandler[Any]):
    """The same four spans of a query as ours, by hand: query, retrieval, embedding, and the model's outermost call.

    Its attributes are fewer, and it knows no stream, no nested call of one object, no error.
    """

    _tracer: trace.Tracer = PrivateAttr()
    _spans: dict[str, Any] = PrivateAttr(default_factory=dict)

    def __init__(self, tracer: trace.Tracer) -> None:
        super().__init__()
        self._tracer = tracer

    def span_enter(self, id_: str, bound_args: Any, instance: Any = None, *args: Any, **kwargs: Any) -> None:
        """Open the span of one of four methods."""
        method = id_[:-37].rpartition(".")[2]
        if method in ("query", "retrieve", "get_query_embedding", "complete"):
            attributes = {
                "gen_ai.operation.name": method,
                "gen_ai.provider.name": type(instance).__name__,
                "gen_ai.request.model": getattr(instance, "model", ""),
                "llmguard.guard.name": "floor",
                "llmguard.guard.digest": "000000000000",
            }
            kind = trace.SpanKind.CLIENT
            span = self._tracer.start_span(method, kind=kind, attributes=attributes)
            self._spans[id_] = span, attach(trace.set_span_in_context(span))

    def span_exit(self, id_: str, bound_args: Any, instance: Any = None, result: Any = None, **kwargs: Any) -> None:
        """End it."""
        if (found := self._spans.pop(id_, None)) is None:
            return
        span, token = found
        detach(token)
        if isinstance(instance, BaseRetriever):
            told = [{"id": one.node.node_id, "score": one.score} for one in result]
            span.set_attributes({"gen_ai.retrieval.documents": json.dumps(told)})
        elif isinstance(instance, BaseLLM):
            usage = result.raw["usage"]
            span.set_attributes(
                {
                    "gen_ai.response.id": result.raw["id"],
                    "gen_ai.response.model": result.raw["model"],
                    "gen_ai.response.finish_reasons": [one["finish_reason"] for one in result.raw["choices"]],
                    "gen_ai.usage.input_tokens": usage["prompt_tokens"],
                    "gen_ai.usage.output_tokens": usage["completion_tokens"],
                }
            )
        span.end()

    def new_span(self, *args: Any, **kwargs: Any) -> None:
        """Not asked."""

    prepare_to_exit_span = prepare_to_drop_span = span_drop = new_span


@contextmanager
def _listening(*handlers: Any) -> Iterator[None]:
    root = get_dispatcher()
    before = root.span_handlers, root.event_handlers
    root.span_handlers = [*before[0], *(one for one in handlers if isinstance(one, BaseSpanHandler))]
    root.event_handlers = [*before[1], *(one for one in handlers if isinstance(one, BaseEventHandler))]
    try:
        yield
    finally:
        root.span_handlers, root.event_handlers = before


def variants(provider: TracerProvider | None) -> dict[str, Variant]:
    """All of ours, by name."""
    guard = Guard(tracer_provider=provider)
    tracer = trace.get_tracer("floor", tracer_provider=provider)
    floor = Floor(tracer)
    nothing = NoOpSpans(), NoOpEvents()

    def protected(llm: Any) -> Any:
        return protect(llm, guard)

    def attached(engine: Any) -> Any:
        return attach_to(engine, guard)

    def ruled(llm: Any) -> Any:
        redacting = [
            Guardrail(pii(), stage=stage, action="redact", name=f"pii-{stage}") for stage in ("input", "output")
        ]
        return protect(llm, Guard(*redacting, tracer_provider=provider))

    @contextmanager
    def instrumented() -> Iterator[None]:
        instrument(guard)
        try:
            yield
        finally:
            uninstrument()

    return {
        "bare": Variant(),
        "no-op": Variant(around_round=lambda: _listening(*nothing)),
        "floor": Variant(around_round=lambda: _listening(floor)),
        "by hand, 4 spans": Variant(around_round=lambda: _listening(FourSpans(tracer))),
        "instrument": Variant(around_round=instrumented),
        "protect": Variant(around_model=protected),
        "protect, 2 rules": Variant(around_model=ruled),
        "attach": Variant(around_engine=attached),
        "both": Variant(protected, around_round=instrumented),
    }
