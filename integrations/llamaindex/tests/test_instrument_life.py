"""instrument: how it is switched on and off, and what becomes of calls that nobody ends."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes_engines import threads_joined
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.span_handlers import BaseSpanHandler
from llama_index.core.memory import ChatMemoryBuffer
from opentelemetry import context, trace

from llmguard_llamaindex import instrument, uninstrument
from llmguard_llamaindex._instrument._switch import Instrumentor
from llmguard_middleware import ConfigurationError, Guard, Monitor


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """After each test uninstrument() leaves LlamaIndex's dispatcher, and the current context, as they were."""
    root = get_dispatcher()
    before = list(root.span_handlers), list(root.event_handlers)
    yield
    uninstrument()
    assert (root.span_handlers, root.event_handlers) == before
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.fixture(params=[False, True], ids=["idle", "monitored"])
def guard(request: pytest.FixtureRequest, telemetry: Any) -> Any:
    """A guard that has nothing to judge, and one that has."""

    def watch(output: object) -> float:
        return 1.0

    return telemetry.guard(*[Monitor(watch)] * request.param)


def calls() -> Any:
    """What our handler holds."""
    return next(handler.guards[0] for handler in get_dispatcher().span_handlers if handler.class_name() == "llmguard")


def test_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a guard, instrument() reads the file that LLMGUARD_CONFIG names, and so does opentelemetry-instrument."""
    file = tmp_path / "guard.yaml"
    file.write_text("name: from-file\nguardrails: [{scorer: pii, stage: output, action: log}]\n")
    monkeypatch.setenv("LLMGUARD_CONFIG", str(file))

    assert instrument().name == "from-file"
    uninstrument()
    Instrumentor().instrument()
    assert calls().guard.name == "from-file"
    Instrumentor().uninstrument()

    assert not [handler for handler in get_dispatcher().span_handlers if handler.class_name() == "llmguard"]


def test_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a guard and a file, instrument() says what to write; opentelemetry-instrument does nothing."""
    monkeypatch.delenv("LLMGUARD_CONFIG", raising=False)

    with pytest.raises(ConfigurationError, match=r"write instrument\(guard\), or set LLMGUARD_CONFIG=guard.yaml"):
        instrument()
    Instrumentor().instrument()

    assert not [handler for handler in get_dispatcher().span_handlers if handler.class_name() == "llmguard"]


def test_bad_options(telemetry: Any) -> None:
    """Options that make no sense are refused in one sentence."""
    with pytest.raises(ConfigurationError, match="synthesis of instrument"):
        instrument(telemetry.guard(), synthesis=1)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(ConfigurationError, match="idle of instrument"):
        instrument(telemetry.guard(), idle=0)


def test_one_of_two(completing: Any, telemetry: Any) -> None:
    """uninstrument(guard) undoes one of several, and the others go on."""
    one, two = telemetry.guard(name="one"), telemetry.guard(name="two")
    instrument(one)
    instrument(two)

    uninstrument(one)
    completing.complete("Hello")

    assert [span.attributes["llmguard.guard.name"] for span in telemetry.spans] == ["two"]


def test_inside_a_call(completing: Any, script: Any, telemetry: Any, engine: Any, guard: Any) -> None:
    """uninstrument() from inside a query ends its span as abandoned and leaves nothing current."""
    instrument(guard)

    class Off:
        def start_as_current_span(self, name: str) -> Any:
            uninstrument()
            return trace.NoOpTracer().start_as_current_span(name)

    script.tracer = Off()
    before = context.get_current()
    engine(completing).query("Hello")

    assert context.get_current() == before
    ended = {span.name: span.attributes.get("llmguard.abandoned") for span in telemetry.spans}
    assert ended == {"invoke_workflow RetrieverQueryEngine": True, "retrieval": None, "chat scripted": True}


@pytest.mark.parametrize("held", ["a model's", "an engine's"])
def test_idle(completing: Any, script: Any, telemetry: Any, engine: Any, guard: Any, held: str) -> None:
    """A stream that somebody holds open is ended as abandoned after the idle time, and what it lies in, too."""
    script.answer = "a long answer"
    ended = threading.Event()

    class Heard(threading.Event):
        def on_end(self, span: Any) -> None:
            if span.attributes.get("llmguard.abandoned") and span.parent is None:
                ended.set()

    from opentelemetry.sdk.trace import SpanProcessor  # noqa: PLC0415 - for this class

    class Waiting(SpanProcessor):
        def on_end(self, span: Any) -> None:
            Heard().on_end(span)

    telemetry.tracer_provider.add_span_processor(Waiting())
    instrument(guard, idle=0.05)

    if held == "a model's":
        stream = completing.stream_complete("Hello")
    else:
        stream = engine(completing, streaming=True).query("Hello").response_gen
    next(stream)

    assert ended.wait(30)
    open_ones = [span for span in telemetry.spans if span.name != "retrieval"]
    assert all(span.attributes["llmguard.abandoned"] for span in open_ones)
    list(stream)  # goes on all the same
    assert calls().faults == 0


async def test_cancelled(chatting: Any, telemetry: Any, guard: Any) -> None:
    """A call that is cancelled ends its span as failed, and is forgotten."""
    begun = asyncio.Event()

    class Slow(type(chatting)):  # type: ignore[misc]  # a class that a fixture gives
        async def achat(self, messages: Any, **kwargs: Any) -> Any:
            begun.set()
            await asyncio.Event().wait()

    instrument(guard)
    task = asyncio.ensure_future(Slow(script=chatting.script).achat([]))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    (span,) = telemetry.spans
    assert span.attributes["error.type"] == "asyncio.exceptions.CancelledError"
    assert calls().live == {}


async def test_left_async_stream(llm: Any, script: Any, telemetry: Any, engine: Any, guard: Any) -> None:
    """A reader who leaves an async query's stream ends its spans as abandoned."""
    script.answer = "a long answer"
    instrument(guard)

    response = await engine(llm, streaming=True).aquery("Hello")
    stream = response.response_gen
    await anext(stream)
    await stream.aclose()
    del stream, response
    gc.collect()
    await asyncio.sleep(0)

    ended = {span.name: span.attributes.get("llmguard.abandoned") for span in telemetry.spans}
    assert ended["invoke_workflow RetrieverQueryEngine"] is True


def test_failed_chat_stream(llm: Any, script: Any, telemetry: Any, guard: Any) -> None:
    """A turn whose stream fails in the thread that writes it down ends as failed, with the model's call in it."""
    script.answer, script.error = "a long answer", RuntimeError("about bob@example.com")
    instrument(guard)
    engine = SimpleChatEngine.from_defaults(llm=llm, memory=ChatMemoryBuffer.from_defaults(token_limit=1000))
    uncaught, threading.excepthook = threading.excepthook, lambda _: None
    try:
        with threads_joined(), pytest.raises(RuntimeError):
            list(engine.stream_chat("Hello").response_gen)
    finally:
        threading.excepthook = uncaught

    told = [(span.name, span.attributes.get("error.type")) for span in telemetry.spans]
    assert told == [("invoke_workflow SimpleChatEngine", "RuntimeError"), ("chat scripted", "RuntimeError")]


class _Others(BaseSpanHandler[Any]):
    """Another library's handler."""

    seen: list[str] = []  # noqa: RUF012 - pydantic copies it

    def new_span(self, id_: str, *args: Any, **kwargs: Any) -> None:
        """Remember it."""
        self.seen.append(id_.partition("-")[0])

    def prepare_to_exit_span(self, *args: Any, **kwargs: Any) -> None:
        """Nothing."""

    prepare_to_drop_span = prepare_to_exit_span


def test_fault(completing: Any, telemetry: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What fails in our handler reaches neither the application nor other handlers, is counted, and is logged once."""
    others = _Others()
    instrument(telemetry.guard())
    root = get_dispatcher()
    root.span_handlers = [*root.span_handlers, others]

    class Odd(type(completing)):  # type: ignore[misc]  # a class that a fixture gives
        def to_payload(self, *args: Any) -> Any:
            return {}

        @property
        def api_base(self) -> Any:
            raise ZeroDivisionError("about bob@example.com")

    try:
        with caplog.at_level(logging.WARNING, "llmguard.telemetry"):
            llm = Odd(script=completing.script)
            assert [llm.complete("Hello").text for _ in range(3)] == ["fine"] * 3
    finally:
        root.span_handlers = [handler for handler in root.span_handlers if handler is not others]

    assert calls().faults == 3
    assert caplog.messages == ["a call of LlamaIndex could not be traced: ZeroDivisionError"]
    assert others.seen == ["Odd.complete"] * 3
    assert calls().live == {}


def test_shutdown(completing: Any, script: Any, telemetry: Any) -> None:
    """LlamaIndex's own shutdown of a dispatcher ends open spans as abandoned."""
    script.answer = "a long answer"
    instrument(telemetry.guard())
    stream = completing.stream_complete("Hello")
    next(stream)

    for handler in get_dispatcher().span_handlers:
        if handler.class_name() == "llmguard":
            handler.close()
    stream.close()

    assert [span.attributes.get("llmguard.abandoned") for span in telemetry.spans] == [True]


def test_silent(completing: Any) -> None:
    """A guard with no rules and nobody who sees its spans costs nothing and keeps nothing."""
    instrument(Guard())

    completing.complete("Hello")

    assert calls().live == {}
