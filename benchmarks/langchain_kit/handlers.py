"""What is compared: nothing, a handler that does nothing, the floor written by hand, and ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import TracerProvider

from llmguard_langchain import GuardCallback, protect
from llmguard_middleware import Guard

__all__ = ["Floor", "HearingFloor", "NoOp", "ThreeSpans", "TwoMore", "Variant", "variants"]


@dataclass(frozen=True)
class Variant:
    """One way to run a row: what is put around the model, into the config, and around each round (not timed)."""

    around_model: Callable[[Any], Any] | None = None
    callbacks: Sequence[BaseCallbackHandler] = ()
    around_round: Callable[[], AbstractContextManager[Any]] = nullcontext
    flush: Callable[[], object] | None = None

    def model(self, model: Any) -> Any:
        """The model as this variant uses it."""
        return model if self.around_model is None else self.around_model(model)

    def config(self) -> dict[str, Any]:
        """The config for its calls."""
        return {"callbacks": list(self.callbacks)} if self.callbacks else {}


class NoOp(BaseCallbackHandler):
    """Listens to the events that GuardCallback listens to, in line as it does, and does nothing."""

    raise_error = run_inline = True

    def _nothing(self, *args: Any, **kwargs: Any) -> None:
        pass

    on_chain_start = on_chain_end = on_chain_error = _nothing
    on_chat_model_start = on_llm_start = on_llm_new_token = on_stream_event = on_llm_end = on_llm_error = _nothing
    on_retriever_start = on_retriever_end = on_retriever_error = _nothing
    on_tool_start = on_tool_end = on_tool_error = _nothing


class HearingFloor(BaseCallbackHandler):
    """One span per model call, eleven attributes, no content; LangChain tells it of chains and retrievers, too."""

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


class Floor(HearingFloor):
    """The same with everything but models ignored: the least that tracing costs when it is written by hand."""

    ignore_chain = ignore_retriever = ignore_agent = True


class TwoMore(Floor):
    """The floor with two more spans, with our attributes, made and ended in the events of models.

    Whoever makes three spans pays this, and that LangChain tells it of chains and retrievers, before a line of its own.
    """

    def __init__(self, tracer: trace.Tracer) -> None:
        super().__init__(tracer)
        guard = {"llmguard.guard.name": "floor", "llmguard.guard.digest": "000000000000"}
        self._retrieval = {"gen_ai.operation.name": "retrieval", **guard}
        name = {"gen_ai.workflow.name": "RunnableSequence"}
        self._workflow = {"gen_ai.operation.name": "invoke_workflow", **guard, **name}

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        """Open the span of the model, and close two others."""
        workflow = self._tracer.start_span("invoke_workflow RunnableSequence", attributes=self._workflow)
        below = trace.set_span_in_context(workflow)
        self._tracer.start_span("retrieval _Shelf", below, attributes=self._retrieval).end()
        super().on_chat_model_start(*args, **kwargs)
        workflow.end()


class ThreeSpans(HearingFloor):
    """The floor with a span for the outermost chain and for each retrieval, too: what GuardCallback makes, by hand."""

    def __init__(self, tracer: trace.Tracer) -> None:
        super().__init__(tracer)
        self._above: dict[Any, Context] = {}

    def _open(self, operation: str, run_id: Any, parent_run_id: Any) -> None:
        above = self._above.get(parent_run_id)
        attributes = {"gen_ai.operation.name": operation, "llmguard.guard.name": "floor"}
        span = self._spans[run_id] = self._tracer.start_span(operation, above, attributes=attributes)
        self._above[run_id] = trace.set_span_in_context(span, above)

    def _close(self, *args: Any, run_id: Any, **kwargs: Any) -> None:
        self._above.pop(run_id, None)
        if (span := self._spans.pop(run_id, None)) is not None:
            span.end()

    def on_chain_start(self, *args: Any, run_id: Any, parent_run_id: Any = None, **kwargs: Any) -> None:
        """Open the span of the outermost chain; those inside pass it on."""
        if parent_run_id is None:
            self._open("invoke_workflow", run_id, None)
        elif parent_run_id in self._above:
            self._above[run_id] = self._above[parent_run_id]

    def on_retriever_start(self, *args: Any, run_id: Any, parent_run_id: Any = None, **kwargs: Any) -> None:
        """Open the span of a retrieval."""
        self._open("retrieval", run_id, parent_run_id)

    def on_chat_model_start(
        self, serialized: Any, messages: Any, *, run_id: Any, parent_run_id: Any = None, **kwargs: Any
    ) -> None:
        """Open the span of a model under what lies above it."""
        above = self._above.get(parent_run_id)
        token = None if above is None else attach(above)
        super().on_chat_model_start(serialized, messages, run_id=run_id, **kwargs)
        if token is not None:
            detach(token)

    on_chain_end = on_retriever_end = _close


def variants(provider: TracerProvider | None) -> dict[str, Variant]:
    """The bare framework, the floors and ours, by name."""
    guard = Guard(tracer_provider=provider)
    tracer = trace.get_tracer("floor", tracer_provider=provider)

    def protected(model: Any) -> Any:
        return protect(model, guard)

    return {
        "bare": Variant(),
        "no-op": Variant(callbacks=[NoOp()]),
        "floor": Variant(callbacks=[Floor(tracer)]),
        "floor, hears all": Variant(callbacks=[HearingFloor(tracer)]),
        "floor, two more spans": Variant(callbacks=[TwoMore(tracer)]),
        "floor, all spans": Variant(callbacks=[ThreeSpans(tracer)]),
        "callback": Variant(callbacks=[GuardCallback(guard)]),
        "protect": Variant(protected),
        "both": Variant(protected, [GuardCallback(guard)]),
    }
