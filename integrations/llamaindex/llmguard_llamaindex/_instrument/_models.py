"""Models and embedding models."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatResponse, CompletionResponse
from llama_index.core.instrumentation.events.exception import ExceptionEvent
from llama_index.core.instrumentation.events.llm import (
    LLMChatEndEvent,
    LLMChatInProgressEvent,
    LLMChatStartEvent,
    LLMCompletionEndEvent,
    LLMCompletionInProgressEvent,
    LLMCompletionStartEvent,
)

from llmguard_middleware import Call, Message
from llmguard_middleware._flow import Flow
from llmguard_middleware.telemetry import _names as names

from .._content import tell_answer, tell_asked
from .._convert import facts
from .._forms import CHAT, COMPLETION
from .._known import KnownCalls
from ._kinds import Kind, first, options, record

if TYPE_CHECKING:
    from llama_index.core.instrumentation.events import BaseEvent

    from ._run import Run

__all__ = ["Embedding", "Model", "embeddings_call"]

_STREAMS = (Generator, AsyncGenerator)
_WHOLE = frozenset((ChatResponse, CompletionResponse))
_LAST = 4  # pieces of a stream that may tell usage and finish reason
_MOST = 1000  # embedding models and numbers of texts that are known by heart


class Model(Kind):
    """chat, complete and their streamed and async siblings of an LLM."""

    def __init__(self) -> None:
        self._known = KnownCalls()

    def asked(self, run: Run, arguments: Mapping[str, Any], method: str, *, judged: bool) -> Call:
        """The call; the same object for the same model and options."""
        run.request = first(arguments)
        given = options(arguments)
        if given is arguments:
            given = {name: value for name, value in arguments.items() if value is not run.request}
        run.streams = streamed = "stream_" in method
        if judged:
            run.options = given
        return self._known.call(run.owner, given, streamed=streamed)

    def messages(self, run: Run) -> Sequence[Message]:
        """What is asked."""
        return (COMPLETION if isinstance(run.request, str) else CHAT).asked(run.request)

    def opened(self, run: Run, flow: Flow) -> None:
        """Record what is asked, and tell it."""
        super().opened(run, flow)
        tell_asked(flow, run.request, run.options)

    def later(self, run: Run, result: Any) -> bool:
        """A generator tells by events how it goes on; one that sends none is over when it is gone."""
        if not run.streams and type(result) in _WHOLE:  # mostly; to ask for an abstract class costs
            return False
        if not isinstance(result, _STREAMS):
            run.streams = False
            return False
        run.unread = weakref.ref(result, partial(_gone, run))
        return True

    def answer(self, run: Run, result: Any) -> dict[str, Any]:
        """Usage, model, finish reasons; of a stream, what its first and last pieces tell."""
        if run.last is None:
            known = facts(result)
        else:
            known = facts(run.first)
            for piece in run.last:
                known |= facts(piece)
            known["streamed"] = True
            run.first = run.last = None
        if run.flow is not None:
            output = "" if result is None else (CHAT if hasattr(result, "message") else COMPLETION).answer(result)
            record(run.flow, "output", output)
            tell_answer(run.flow, result)
            known["output"] = output
        return known


def _gone(run: Run, _: Any) -> None:
    """The generator of a stream is gone; if its end was not told, its reader left, or it tells nothing at all."""
    if run.over:
        return
    if run.ends_with is None and isinstance(run.ended, Flow):
        run.ended.outermost = False  # there is no answer to monitor
    run.calls.end(run, abandoned=run.ends_with is not None)


def told_of(run: Run, event: BaseEvent) -> None:
    """How a stream goes on; looked up by class, since each token sends an event."""
    kind = type(event)
    if kind in _CHUNKS:
        if event.span_id == run.ends_with:
            _arrived(run, event)
    elif kind in _STARTS:
        if run.ends_with is None:
            run.ends_with = event.span_id
    elif event.span_id != run.ends_with:
        return
    elif kind in _ENDS:
        if run.last is None:
            run.last = deque(maxlen=_LAST)
        run.calls.end(run, event.response)  # type: ignore[attr-defined]  # _ENDS have one
    elif kind is ExceptionEvent:
        run.calls.end(run, error=event.exception)  # type: ignore[attr-defined]  # this has one


def _arrived(run: Run, event: Any) -> None:
    if run.arrivals is not None:
        run.arrivals.append(perf_counter())
    if run.last is not None:
        run.last.append(event.response)
    else:
        run.begins(event.response)
        run.last = deque(maxlen=_LAST)
    run.heard = True


_STARTS = frozenset((LLMChatStartEvent, LLMCompletionStartEvent))
_CHUNKS = frozenset((LLMChatInProgressEvent, LLMCompletionInProgressEvent))
_ENDS = frozenset((LLMChatEndEvent, LLMCompletionEndEvent))


class Embedding(Kind):
    """The embeddings of a query, of a text or of many."""

    def __init__(self) -> None:
        self._known: dict[tuple[type, Any, int], Call] = {}  # by class, model and number of texts

    def asked(self, run: Run, arguments: Mapping[str, Any], method: str, *, judged: bool) -> Call:
        """The call: its model and how many texts there are."""
        run.request = first(arguments)
        texts = run.request if isinstance(run.request, (list, tuple)) else [run.request]
        run.many = method.endswith("batch")
        key = type(run.owner), getattr(run.owner, "model_name", None), len(texts)
        call = self._known.get(key)
        if call is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            call = self._known[key] = embeddings_call(*key)
        return call.but(inputs={"input": run.request}) if judged else call

    def opened(self, run: Run, flow: Flow) -> None:
        """Record the texts."""
        for text in run.request if isinstance(run.request, (list, tuple)) else [run.request]:
            record(flow, "embedding", text)

    def answer(self, run: Run, result: Any) -> dict[str, Any]:
        """The number of dimensions."""
        vector = result
        if run.many and result:
            vector = result[0]
        return {"answer_attributes": {names.EMBEDDING_DIMENSIONS: len(vector)}} if vector else {}


_PACKAGE = "llama_index.embeddings."


def embeddings_call(cls: type, model: Any, count: int) -> Call:
    """The call of an embedding model of a class, with this name, for so many texts."""
    theirs = (base.__module__ for base in cls.__mro__ if base.__module__.startswith(_PACKAGE))
    provider = next((module.removeprefix(_PACKAGE).partition(".")[0] for module in theirs), cls.__name__.lower())
    named = isinstance(model, str) and model != "unknown"
    return Call.made(
        "embeddings",
        provider=provider,
        model=model if named else "",
        name=cls.__name__,
        attributes={names.EMBEDDING_INPUTS: count},
    )
