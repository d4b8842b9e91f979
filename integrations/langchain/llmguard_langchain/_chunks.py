"""Streamed chunks through the output guardrails: text may leave late or changed, everything else keeps its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.messages import BaseMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from llmguard_middleware._guarded_stream import GuardedStream

from . import _convert as convert

__all__ = ["ChunkGate"]


class ChunkGate:
    """Feeds chunk texts to a `GuardedStream` and puts what it releases back into chunks."""

    def __init__(self, stream: GuardedStream) -> None:
        self._stream = stream
        self._ending: list[ChatGenerationChunk] = []
        self._released: list[str] = []
        self._like: BaseMessageChunk | None = None
        self._facts = convert.StreamFacts()

    def feed(self, chunk: ChatGenerationChunk) -> Sequence[ChatGenerationChunk]:
        """What may leave once this chunk is here."""
        message = chunk.message
        text = message.content if isinstance(message.content, str) else convert.text_of(message)
        released = self._stream.feed(text) if text else ""
        self._released.append(released)
        self._like = message
        self._facts.note(chunk)
        if not self._stream.acts:
            return (chunk,)
        guarded = _with_text(chunk, released)
        if self._ending or _ends(chunk) or self._stream.holds:
            # Held text comes before the end is announced, so the end waits for it. If nothing may leave before the
            # verdict, that goes for tool calls too.
            self._ending.append(_with_text(guarded, ""))
            return (ChatGenerationChunk(message=_blank(guarded.message, released)),) if released else ()
        return (guarded,) if released or not text or _carries_more(chunk) else ()

    def settled(self, released: str) -> Iterator[ChatGenerationChunk]:
        """What was held while guardrails raced with the model."""
        if released:
            self._released.append(released)
            yield ChatGenerationChunk(message=_blank(self._like, released))

    def finish(self, rest: str) -> Iterator[ChatGenerationChunk]:
        """The held text and the chunks that announce the end."""
        self._released.append(rest)
        if rest:
            yield ChatGenerationChunk(message=_blank(self._like, rest))
        yield from (chunk for chunk in self._ending if _carries_more(chunk) or _ends(chunk))

    def answer(self) -> dict[str, Any]:
        """What `Flow.answered` takes."""
        return {**self._facts.answer(), "output": "".join(self._released), "streamed": True}


def _ends(chunk: ChatGenerationChunk) -> bool:
    message = chunk.message
    return bool(
        getattr(message, "chunk_position", None) == "last"
        or (chunk.generation_info or {}).get("finish_reason")
        or message.response_metadata.get("finish_reason")
        or message.response_metadata.get("stop_reason")
    )


def _carries_more(chunk: ChatGenerationChunk) -> bool:
    """Whether a chunk has anything but text, and so must leave even while its text is held."""
    message = chunk.message
    return bool(
        getattr(message, "tool_call_chunks", None)
        or getattr(message, "usage_metadata", None)
        or message.additional_kwargs
        or chunk.generation_info
        or (
            not isinstance(message.content, str)
            and any(not isinstance(b, str) and b.get("type") != "text" for b in message.content)
        )
    )


def _with_text(chunk: ChatGenerationChunk, text: str) -> ChatGenerationChunk:
    """The chunk with other text, and without what repeats the old one."""
    message = convert.without_tokens(convert.with_text(chunk.message, text))
    return ChatGenerationChunk(message=message, generation_info=convert.without_logprobs(chunk.generation_info))


def _blank(like: BaseMessageChunk | None, text: str) -> BaseMessageChunk:
    """A chunk of the same message with nothing but text."""
    assert like is not None  # text was held, so there was a chunk
    nothing: dict[str, Any] = {
        "response_metadata": {},
        "additional_kwargs": {},
        "usage_metadata": None,
        "chunk_position": None,
    }
    return like.model_copy(update={"content": text, "tool_call_chunks": [], **nothing})
