"""Chat engines behind a guard: the user's message and the answer, whole or streamed, and what stays of them."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.chat_engine.types import AgentChatResponse, StreamingAgentChatResponse

from llmguard_middleware import Call, Guard, GuardrailViolation
from llmguard_middleware._begun import held
from llmguard_middleware._drive import inside_scorer
from llmguard_middleware._flow import Flow, reentered
from llmguard_middleware._scope import captured
from llmguard_middleware._steps import Ask, Judge, Steps, aopened, arun, opened, run

from .._forms import CHAT
from .._judged import text_of
from .._retrieval import asked, texts_of
from .._root import Root
from .._seal import above, guards_of, keeps_raw
from ._answers import released
from ._chat_stream import GuardedChatStream, answered
from ._metadata import with_metadata
from ._turn import Turn, turn_of

__all__ = ["GuardedChatEngine"]

History = Sequence[ChatMessage] | None


class GuardedChatEngine:
    """The guard methods, put before the chat engine's own class."""

    def chat(self, message: str, chat_history: Any = None, **kwargs: Any) -> Any:
        return _guarded(self, run, above(self).chat, kwargs)(message, chat_history)

    async def achat(self, message: str, chat_history: Any = None, **kwargs: Any) -> Any:
        return await _guarded(self, arun, above(self).achat, kwargs)(message, chat_history)

    def stream_chat(self, message: str, chat_history: Any = None, **kwargs: Any) -> Any:
        return _guarded(self, run, above(self).stream_chat, kwargs, streamed=True)(message, chat_history)

    async def astream_chat(self, message: str, chat_history: Any = None, **kwargs: Any) -> Any:
        return await _guarded(self, arun, above(self).astream_chat, kwargs, streamed=True)(message, chat_history)

    @property
    def _memory(self) -> Any:
        """The engine's own memory; while it answers, what it sees of it."""
        if "_memory" not in vars(self):
            msg = f"{type(self).__name__} has no attribute '_memory'"
            raise AttributeError(msg)
        turn = turn_of(self)
        return vars(self)["_memory"] if turn is None or turn.view is None else turn.view

    @_memory.setter
    def _memory(self, memory: Any) -> None:
        vars(self)["_memory"] = memory

    @property
    def _query_engine(self) -> Any:
        """The query engine inside, if any. LlamaIndex switches it to streaming and back: each turn has its own."""
        if "_query_engine" not in vars(self):
            msg = f"{type(self).__name__} has no attribute '_query_engine'"
            raise AttributeError(msg)
        own, turn = vars(self)["_query_engine"], turn_of(self)
        if turn is None:
            return own
        if turn.query_engine is None:
            turn.query_engine = copy.copy(own)
            if (synthesizer := vars(own).get("_response_synthesizer")) is not None:
                turn.query_engine._response_synthesizer = copy.copy(synthesizer)
        return turn.query_engine

    @_query_engine.setter
    def _query_engine(self, engine: Any) -> None:
        vars(self)["_query_engine"] = engine


def _guarded(
    engine: Any,
    runner: Callable[[Steps[Any]], Any],
    ask: Callable[..., Any],
    options: dict[str, Any],
    *,
    streamed: bool = False,
) -> Callable[[str, History], Any]:
    ask = partial(_called, ask, options)
    if inside_scorer.get():  # a scorer's own chat is not judged in turn
        return ask
    for guard in guards_of(engine):
        if not reentered(engine, guard):
            ask = partial(_behind, runner, guard, engine, ask, streamed)
    return ask


def _called(ask: Callable[..., Any], options: dict[str, Any], message: str, history: History) -> Any:
    return ask(message, history, **options)


def _behind(
    runner: Callable[[Steps[Any]], Any],
    guard: Guard,
    engine: Any,
    ask: Callable[[str, History], Any],
    streamed: bool,
    message: str,
    history: History,
) -> Any:
    return runner(_chatted(guard, engine, ask, message, history, is_async=runner is arun, streamed=streamed))


def _chatted(
    guard: Guard,
    engine: Any,
    ask: Callable[[str, History], Any],
    message: str,
    history: History,
    *,
    is_async: bool,
    streamed: bool,
) -> Steps[Any]:
    try:
        return (yield from _asked(guard, engine, ask, message, history, is_async=is_async, streamed=streamed))
    except GuardrailViolation:
        if guard.refusal is None:
            raise
        if not streamed:
            return AgentChatResponse(guard.refusal)
        return GuardedChatStream.saying(guard.refusal)


def _asked(
    guard: Guard,
    engine: Any,
    ask: Callable[[str, History], Any],
    message: Any,
    history: History,
    *,
    is_async: bool,
    streamed: bool,
) -> Steps[Any]:
    message = message if isinstance(message, str) else str(message)  # as LlamaIndex does
    call = Call("invoke_workflow", type(engine).__name__, inputs=asked(message), streamed=streamed)
    flow = Flow(guard, call, owner=engine)
    root, raw = Root(flow), keeps_raw(engine, guard)
    with flow:
        sent = [*(history or ()), ChatMessage(role=MessageRole.USER, content=message)]
        *before, told = yield Judge(guard, CHAT.admitted(flow, sent))
        text = text_of(told)
        flow.call = flow.call.but(inputs=asked(text))
        root.admitted.add(text)
        if history is not None and not raw:
            history = before
        memory = getattr(engine, "_memory", None)
        turn = Turn(root, engine, memory, text, message if raw else text, streamed=streamed)
        if history is not None:
            yield from turn.noted(is_async=is_async)
        try:
            response = yield Ask(turn.active, partial(ask, text, history))
            yield Judge(guard, flow.settle_races())
            flow.call = flow.call.but(context=_context(root, response))
            if isinstance(response, StreamingAgentChatResponse):  # what stops it by now is raised to its reader
                return (yield from _streamed(turn, response, is_async=is_async))
            turn.check()
            response, output = yield from released(root, (yield from with_metadata(root, response)))
        except Exception:
            yield from turn.undone(is_async=is_async)
            raise
        if memory is not None:
            yield from turn.write(output, memory.aput if is_async else memory.put)
        flow.answered(output=output)
    return response


def _context(root: Root, response: Any) -> tuple[str, ...]:
    return texts_of(getattr(response, "source_nodes", None) or ()) or root.context


def _streamed(turn: Turn, response: StreamingAgentChatResponse, *, is_async: bool) -> Steps[Any]:
    # What is said where it is asked for holds for the stream as well, wherever that is read.
    if is_async:
        pieces = yield Ask(nullcontext, partial(aopened, answered(turn, _read(response), is_async=True)))
        return GuardedChatStream.around(response, turn, apieces=held(pieces, captured()))
    gen = opened(answered(turn, response.response_gen, is_async=False))
    return GuardedChatStream.around(response, turn, pieces=held(gen, captured()))


async def _read(response: StreamingAgentChatResponse) -> AsyncGenerator[str, None]:
    """LlamaIndex's pieces. Its task that writes the history goes on if the reader leaves, not if it is cancelled."""
    task, response.awrite_response_to_history_task = response.awrite_response_to_history_task, None
    try:
        async for piece in response.async_response_gen():
            yield piece
    except asyncio.CancelledError:
        if task is not None:
            task.cancel()
        raise
    if task is not None:
        await task
