"""instrument: spans and monitors for every query, retrieval and LLM call of the process.

LlamaIndex swallows whatever its handlers raise, so nothing can be blocked or changed from here.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractContextManager
from typing import Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.response.schema import AsyncStreamingResponse, StreamingResponse
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.exception import ExceptionEvent
from llama_index.core.instrumentation.events.llm import (
    LLMChatEndEvent,
    LLMChatInProgressEvent,
    LLMChatStartEvent,
    LLMCompletionEndEvent,
    LLMCompletionInProgressEvent,
    LLMCompletionStartEvent,
)
from llama_index.core.instrumentation.span import BaseSpan
from llama_index.core.instrumentation.span_handlers import BaseSpanHandler
from llama_index_instrumentation import get_dispatcher
from pydantic import Field, PrivateAttr

from llmguard_middleware import Guard, Message
from llmguard_middleware._flow import Flow, reentered
from llmguard_middleware._guard import expect_guard

from ._convert import facts
from ._forms import CHAT, COMPLETION
from ._retrieval import texts_of
from ._seal import seal_of
from ._watch import answer_of, call_of, follow, record

__all__ = ["instrument", "uninstrument"]

_STARTS = (LLMChatStartEvent, LLMCompletionStartEvent)
_CHUNKS = (LLMChatInProgressEvent, LLMCompletionInProgressEvent)
_ENDS = (LLMChatEndEvent, LLMCompletionEndEvent)
_INSTEAD = "use protect(llm, guard) or attach(engine, guard)"


def instrument(guard: Guard) -> None:
    """Trace and monitor every query, retrieval and LLM call of this process until `uninstrument()`.

    What is protected or attached already is left to its own guard. Guardrails with action "log" are recorded.

    Args:
        guard: its monitors score each outermost call. Instrumenting with it again changes nothing.

    Raises:
        UnenforceableError: if the guard has an acting guardrail: LlamaIndex's handlers cannot stop or change a call.
    """
    expect_guard(guard, "instrument(guard)")
    guard.require("instrument(guard)", lambda policy: guard.refuse(policy.guardrails, "instrument(guard)", _INSTEAD))
    root = get_dispatcher()
    if not any(handler.guard is guard for handler in root.span_handlers if isinstance(handler, _Spans)):
        spans = _Spans(guard)
        root.add_span_handler(spans)
        root.add_event_handler(_Events(spans))


def uninstrument() -> None:
    """Undo every `instrument`; spans of calls still under way end as abandoned."""
    root = get_dispatcher()
    ours = [handler for handler in root.span_handlers if isinstance(handler, _Spans)]
    root.span_handlers = [handler for handler in root.span_handlers if not isinstance(handler, _Spans)]
    root.event_handlers = [handler for handler in root.event_handlers if not isinstance(handler, _Events)]
    for handler in ours:
        handler.close()


class _Open(BaseSpan):
    """A call under way: its flow, and what is known of its answer.

    `ends_with` is the span whose end event ends a stream; `flowing` says that its first chunk is out.
    """

    flow: Any = None
    method: str = ""
    request: Any = None
    flowing: bool = False
    known: dict[str, Any] = Field(default_factory=dict)
    ends_with: str | None = None
    _active: AbstractContextManager[None] | None = PrivateAttr(None)

    def enter(self) -> None:
        """Make this the current call; undone by `leave`, in the same context."""
        self._active = self.flow.active()
        self._active.__enter__()

    def leave(self) -> None:
        active, self._active = self._active, None
        if active is not None:
            active.__exit__(None, None, None)


class _Spans(BaseSpanHandler[_Open]):
    """Turns LlamaIndex's spans into calls. Nested spans of one LLM (`achat` that calls `chat`) are one call."""

    _guard: Guard = PrivateAttr()
    # By the span id of a nested duplicate: the call that it is part of.
    _nested: dict[str, _Open] = PrivateAttr(default_factory=dict)

    def __init__(self, guard: Guard) -> None:
        super().__init__()
        self._guard = guard

    @classmethod
    def class_name(cls) -> str:
        return "llmguard"

    @property
    def guard(self) -> Guard:
        return self._guard

    def close(self) -> None:
        for span in list(self.open_spans.values()):
            span.flow.abandoned()
        self.open_spans.clear()
        self._nested.clear()

    def new_span(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,
        instance: Any | None = None,
        parent_span_id: str | None = None,
        tags: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> _Open | None:
        method = id_.partition("-")[0].rpartition(".")[2]
        request = next(iter((*bound_args.args, *bound_args.kwargs.values())), None)
        call = call_of(instance, method, request, bound_args.kwargs)
        if call is None or seal_of(instance) is not None:
            return None
        if (around := self._same(instance, method, request, parent_span_id)) is not None:
            self._nested[id_] = around
            return None
        if reentered(instance, self._guard):
            return None
        flow = Flow(self._guard, call, owner=instance)
        span = _Open(id_=id_, parent_id=parent_span_id, flow=flow, method=method, request=request)
        if isinstance(instance, BaseLLM):
            messages = (CHAT if "chat" in method else COMPLETION).asked(request)
        else:
            messages = [Message("user", call.inputs["query"])] if isinstance(instance, BaseQueryEngine) else []
        flow.call = flow.call.but(messages=tuple(messages))
        for message in messages:
            record(flow, "input", message.text, message.role)
        span.enter()
        return span

    def _same(self, instance: Any, method: str, request: Any, parent: str | None) -> _Open | None:
        """The call that this one of the same LLM is part of."""
        if not isinstance(instance, BaseLLM):
            return None
        above = self.part_of(parent)
        if above is not None and above.flow.owner is instance:
            return above
        # CustomLLM's async streams ask the sync one for the very same request when they are first read, and by then
        # their own span is closed, so that this one has no parent.
        waiting = (s for s in list(self.open_spans.values()) if s.method == f"a{method}" and not s.flowing)
        return next((span for span in waiting if span.flow.owner is instance and span.request is request), None)

    def part_of(self, id_: str | None) -> _Open | None:
        """The open call that this span is, or is part of."""
        return None if id_ is None else self.open_spans.get(id_) or self._nested.get(id_)

    def prepare_to_exit_span(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,
        instance: Any | None = None,
        result: Any | None = None,
        **kwargs: Any,
    ) -> _Open | None:
        span = self.open_spans.get(id_)
        if span is None:
            if not isinstance(result, (Generator, AsyncGenerator)):
                self._nested.pop(id_, None)
            return None
        span.leave()
        if isinstance(result, (Generator, AsyncGenerator)) and span.ends_with is not None:
            return None  # its end comes as an event
        if isinstance(result, (StreamingResponse, AsyncStreamingResponse)):
            follow(span.flow, result)
        elif isinstance(result, (Generator, AsyncGenerator)):
            span.flow.outermost = False  # a stream that sends no events: there is no answer to monitor
            span.flow.answered()
        else:
            self.answered(span, result)
        return span

    def prepare_to_drop_span(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,
        instance: Any | None = None,
        err: BaseException | None = None,
        **kwargs: Any,
    ) -> _Open | None:
        self._nested.pop(id_, None)
        span = self.open_spans.get(id_)
        if span is not None:
            span.leave()
            span.flow.failed(err or RuntimeError())
        return span

    def answered(self, span: _Open, result: Any) -> None:
        """End a call with its whole result, or with the last chunk of its stream."""
        flow = span.flow
        if isinstance(flow.owner, BaseRetriever):
            output: Any = texts_of(result or ())
            for text in output:
                record(flow, "retrieval", text)
        else:
            if isinstance(flow.owner, BaseLLM):
                span.known |= facts(result)
                output = "" if result is None else (CHAT if hasattr(result, "message") else COMPLETION).answer(result)
            else:
                output = answer_of(result)
                flow.call = flow.call.but(context=texts_of(getattr(result, "source_nodes", None) or ()))
            if isinstance(output, str):
                record(flow, "output", output)
        flow.answered(output=output, **span.known)

    def ended(self, span: _Open) -> None:
        """Forget a stream that is over."""
        self.open_spans.pop(span.id_, None)
        for id_ in [id_ for id_, around in list(self._nested.items()) if around is span]:
            self._nested.pop(id_, None)


class _Events(BaseEventHandler):
    """Tells the open calls how their streams go on: a span of LlamaIndex's ends when a stream begins."""

    _spans: _Spans = PrivateAttr()

    def __init__(self, spans: _Spans) -> None:
        super().__init__()
        self._spans = spans

    @classmethod
    def class_name(cls) -> str:
        return "llmguard"

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        span = self._spans.part_of(event.span_id)
        if span is None:
            return
        if isinstance(event, _STARTS):
            span.ends_with = span.ends_with or event.span_id
        elif event.span_id != span.ends_with:
            return
        elif isinstance(event, _CHUNKS):
            span.flowing = True
            span.known |= facts(event.response)
        elif isinstance(event, (*_ENDS, ExceptionEvent)) and span.flow.call.streamed:
            if isinstance(event, _ENDS):
                self._spans.answered(span, event.response)
            elif isinstance(event.exception, GeneratorExit):
                span.flow.abandoned()
            else:
                span.flow.failed(event.exception)
            self._spans.ended(span)
