"""The streamed answer of a guarded chat engine: what LlamaIndex's own says, as it may leave."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Any

from llama_index.core.chat_engine.types import StreamingAgentChatResponse

from llmguard_middleware import GuardrailViolation
from llmguard_middleware._steps import END, Emit, Judge, Pull, Steps

from ._turn import Relayed, Turn

__all__ = ["GuardedChatStream", "answered"]

_INNER = ("is_done", "exception", "is_function", "is_writing_to_memory", "write_response_to_history_thread")


class GuardedChatStream(StreamingAgentChatResponse):
    """What a guarded chat engine gives for `stream_chat` and `astream_chat`.

    It is read as LlamaIndex's own. What stops the answer is raised to whoever reads it, in whatever way.
    """

    _inner: StreamingAgentChatResponse | None = None
    _turn: Turn | None = None
    _pieces: Generator[str, None, None] | None = None
    _apieces: AsyncGenerator[str, None] | None = None
    _told = ""

    @classmethod
    def around(
        cls,
        response: StreamingAgentChatResponse,
        turn: Turn,
        *,
        pieces: Generator[str, None, None] | None = None,
        apieces: AsyncGenerator[str, None] | None = None,
    ) -> GuardedChatStream:
        """A response whose pieces are these."""
        made = cls(sources=response.sources, source_nodes=response.source_nodes)
        made.awrite_response_to_history_task = response.awrite_response_to_history_task
        made._inner, made._turn, made._pieces, made._apieces = response, turn, pieces, apieces
        return made

    @classmethod
    def saying(cls, text: str) -> GuardedChatStream:
        """A response that says this, in one piece."""
        made = cls()
        made._pieces, made._apieces, made._told = (piece for piece in (text,)), _alone(text), text
        return made

    @property
    def response_gen(self) -> Generator[str, None, None]:
        """The answer, piece by piece.

        Raises:
            GuardrailViolation: if a guardrail stopped it.
        """
        begun = False
        for piece in self._pieces or ():
            begun = True
            self.unformatted_response += piece
            yield piece
        if not begun:  # as LlamaIndex's own, for who asks again
            yield self.response

    async def async_response_gen(self) -> AsyncGenerator[str, None]:
        """`response_gen`, of `astream_chat`."""
        begun = False
        if self._apieces is not None:
            async for piece in self._apieces:
                begun = True
                self.unformatted_response += piece
                yield piece
        if not begun:
            yield self.response

    @property
    def response(self) -> str:
        """The whole answer, as soon as it is there; nothing before.

        Raises:
            GuardrailViolation: if a guardrail stopped it.
        """
        if self._turn is None:
            return self._told
        try:
            self._turn.check()
        except GuardrailViolation:
            if (refusal := self._turn.root.flow.guard.refusal) is None:
                raise
            return refusal
        return self._turn.answer or ""

    @response.setter
    def response(self, text: str) -> None:
        """What the class says when it is made is not the answer."""

    def __str__(self) -> str:
        if self.is_done and self._pieces is not None:
            for _ in self.response_gen:  # it is all there
                pass
        return self.response


def _of_inner(name: str) -> property:
    def read(self: GuardedChatStream) -> Any:
        inner = self._inner
        return (
            vars(self).get(name, getattr(StreamingAgentChatResponse, name, None))
            if inner is None
            else getattr(inner, name, None)  # not all versions have all of it
        )

    def write(self: GuardedChatStream, value: Any) -> None:
        vars(self)[name] = value

    return property(read, write)


for _name in _INNER:
    setattr(GuardedChatStream, _name, _of_inner(_name))


async def _alone(text: str) -> AsyncGenerator[str, None]:
    yield text


def answered(turn: Turn, source: Any, *, is_async: bool) -> Steps[None]:
    """The pieces of a streamed answer: those that something guarded let go as they come, others through a stream."""
    flow = turn.root.flow
    try:
        with flow:
            yield Emit(None)
            output = yield from _pieces(turn, source)
            flow.answered(output=output)
    except GuardrailViolation as violation:
        turn.stopped(violation)
        yield from turn.undone(is_async=is_async)
        if flow.guard.refusal is None:
            raise
        yield Emit(flow.guard.refusal)
    except Exception:
        yield from turn.undone(is_async=is_async)
        raise


def _pieces(turn: Turn, source: Any) -> Steps[str]:
    flow = turn.root.flow
    stream, judging = flow.stream(), False
    output: list[str] = []
    seen = ""
    relays: list[Relayed] | None = None
    pull = Pull(turn.active, source)
    while (piece := (yield pull)) is not END:
        turn.check()
        if not piece:
            continue
        relays = [one for one in (turn.streams if relays is None else relays) if one.said.startswith(piece, len(seen))]
        judging = judging or not relays
        seen += piece
        free = stream.feed(piece) if judging else stream.past(piece)
        output.append(free)
        if free:
            yield Emit(free)
    turn.check()
    rest = (yield Judge(flow.guard, stream.finish())) if judging else stream.past_rest()
    if rest:
        output.append(rest)
        yield Emit(rest)
    return "".join(output)
