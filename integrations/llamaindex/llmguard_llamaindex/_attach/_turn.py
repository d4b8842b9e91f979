"""One turn of a chat engine, and what the engine's memory is while it lasts.

A turn is written to memory when it is whole and its answer may leave: a turn that is blocked, or fails, leaves nothing.
The memory itself is its owner's: its class and its settings stay, and only what this engine puts into it is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from functools import partial
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock

from llmguard_middleware._scope import Captured, attributes
from llmguard_middleware._steps import Ask, Judge, Steps, arun, run

from .._root import Root

__all__ = ["Relayed", "Turn", "turn_of", "turns"]

_turns: ContextVar[tuple[Turn, ...]] = ContextVar("llmguard_llamaindex_turns", default=())


def turns() -> tuple[Turn, ...]:
    """The turns that this code runs inside of."""
    return _turns.get()


def turn_of(engine: object) -> Turn | None:
    """The innermost turn of this engine that this code runs inside of."""
    return next((turn for turn in reversed(_turns.get()) if turn.engine is engine), None)


class Relayed:
    """What a guarded LLM or engine below let go in one stream, so far."""

    __slots__ = ("said",)

    def __init__(self) -> None:
        self.said = ""


class Turn:
    """One question to a chat engine under one guard.

    Args:
        root: of the call.
        engine: the chat engine.
        memory: what it keeps its history in; None if it shows none.
        given: the user's message as the engine gets it.
        original: the user's message as it is kept.
        streamed: whether the answer is streamed: then LlamaIndex writes it, elsewhere, whenever it is complete.

    Attributes:
        streams: what was let go below.
        query_engine: the engine that this chat engine asks, of which it has a copy of its own for each turn.
        answer: the whole answer, once it may leave.
        error: what stopped the turn, if anything did.
        before: what was in the memory, if the turn came with a history of its own.
    """

    def __init__(self, root: Root, engine: Any, memory: Any, given: str, original: str, *, streamed: bool) -> None:
        self.root, self.engine, self.memory = root, engine, memory
        self.streams: list[Relayed] = []
        self.query_engine: Any = None
        self.answer: str | None = None
        self.error: Exception | None = None
        self.pending: list[ChatMessage] = []
        self.view = None if memory is None else _View(self)
        self.before: list[ChatMessage] | None = None
        self._given, self._original = given, original
        self._said = attributes()
        self._streamed = streamed

    @contextmanager
    def active(self) -> Iterator[None]:
        """Run the engine inside."""
        token = _turns.set((*_turns.get(), self))
        try:
            with self.root.active():
                yield
        finally:
            with suppress(ValueError):  # as in Flow.active
                _turns.reset(token)

    def said(self) -> AbstractContextManager[Any]:
        """In which holds what was said where the turn began: LlamaIndex may ask its LLM later, in a thread."""
        return nullcontext() if self._said is None else Captured(self._said)

    def stopped(self, error: Exception) -> None:
        """A stream below was stopped, in a thread or task where nobody would see it raised."""
        self.error = self.error or error

    def check(self) -> None:
        """Raise what stopped this turn, if anything did.

        Raises:
            GuardrailViolation: likewise.
        """
        self.root.check()
        if self.error is not None:
            raise self.error

    def told(self, text: str) -> Steps[str]:
        """The whole answer as it may leave."""
        if any(text == one.said or text == one.said.strip() for one in self.streams) or text in self.root.released:
            return self.root.flow.restored(text)
        (told,) = yield Judge(self.root.flow.guard, self.root.flow.release([text]))
        return str(told)

    def put(self, message: ChatMessage, write: Callable[[ChatMessage], Any]) -> Steps[None]:
        """The engine puts a message into its memory; that of an answer that is streamed is the last."""
        self.pending.append(message)
        if not self._streamed or message.role == MessageRole.USER:
            return
        try:
            self.check()
            answer = yield from self.told(message.content or "")
        except Exception as error:  # noqa: BLE001 - raised to the reader
            self.stopped(error)
            self.pending.clear()
            return
        yield from self.write(answer, write)
        self.answer = answer

    def noted(self, *, is_async: bool) -> Steps[None]:
        """Note what is in the memory, which LlamaIndex is going to replace by the history that it is given."""
        if self.memory is not None:
            read = self.memory.aget_all if is_async else self.memory.get_all
            self.before = list((yield Ask(nullcontext, read)))

    def undone(self, *, is_async: bool) -> Steps[None]:
        """The turn was stopped: what was in the memory is there again."""
        before, self.before = self.before, None
        if before is not None:
            write = self.memory.aset if is_async else self.memory.set
            yield Ask(nullcontext, partial(write, before))

    def write(self, answer: str | None, write: Callable[[ChatMessage], Any]) -> Steps[None]:
        """Write what the engine put, with this answer."""
        messages, self.pending = self.pending, []
        last = max((i for i, message in enumerate(messages) if message.role == MessageRole.ASSISTANT), default=None)
        for i, message in enumerate(messages):
            kept = message
            if i == last and answer is not None:
                kept = _said(message, answer)
            elif message.role == MessageRole.USER and message.content == self._given:
                kept = _said(message, self._original)
            yield Ask(nullcontext, partial(write, kept))


def _said(message: ChatMessage, text: str) -> ChatMessage:
    if message.content == text:
        return message
    others = [block for block in message.blocks if not isinstance(block, TextBlock)]
    return message.model_copy(update={"blocks": [*others, TextBlock(text=text)]})


class _View:
    """What an engine sees of its memory during a turn: what is in it, and what this turn is going to put there."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn

    @property  # type: ignore[misc]  # it is taken for what it shows
    def __class__(self) -> type:
        return type(self._turn.memory)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._turn.memory, name)

    def get(self, *args: Any, **kwargs: Any) -> list[ChatMessage]:
        return [*self._turn.memory.get(*args, **self._counted(kwargs)), *self._turn.pending]

    async def aget(self, *args: Any, **kwargs: Any) -> list[ChatMessage]:
        return [*(await self._turn.memory.aget(*args, **self._counted(kwargs))), *self._turn.pending]

    def get_all(self, *args: Any, **kwargs: Any) -> list[ChatMessage]:
        return [*self._turn.memory.get_all(*args, **kwargs), *self._turn.pending]

    async def aget_all(self, *args: Any, **kwargs: Any) -> list[ChatMessage]:
        return [*(await self._turn.memory.aget_all(*args, **kwargs)), *self._turn.pending]

    def put(self, message: ChatMessage) -> None:
        run(self._turn.put(message, self._turn.memory.put))

    async def aput(self, message: ChatMessage) -> None:
        await arun(self._turn.put(message, self._turn.memory.aput))

    def put_messages(self, messages: list[ChatMessage]) -> None:
        for message in messages:
            self.put(message)

    async def aput_messages(self, messages: list[ChatMessage]) -> None:
        for message in messages:
            await self.aput(message)

    def _counted(self, options: dict[str, Any]) -> dict[str, Any]:
        """The options of a look into memory, with the room that the messages of this turn need."""
        count = getattr(self._turn.memory, "tokenizer_fn", None)
        if "initial_token_count" not in options or count is None or not self._turn.pending:
            return options
        more = sum(len(count(message.content or "")) for message in self._turn.pending)
        limit = getattr(self._turn.memory, "token_limit", None)
        tokens = options["initial_token_count"] + more
        return {**options, "initial_token_count": tokens if limit is None else min(tokens, limit)}
