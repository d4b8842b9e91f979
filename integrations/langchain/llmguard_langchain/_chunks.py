"""Streamed chunks through the output guardrails: texts may leave late or changed, everything else keeps its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import add
from typing import Any

from langchain_core.messages import AIMessageChunk, BaseMessageChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.outputs.chat_generation import merge_chat_generation_chunks

from llmguard_middleware._flow import Flow
from llmguard_middleware._guarded_stream import GuardedStream
from llmguard_middleware._judge import Plan

from . import _convert as convert
from ._difference import missing
from ._judged import released
from ._sieve import HoldError, Sieve

__all__ = ["ChunkGate"]


class ChunkGate:
    """Lets chunks pass as far as their texts may leave; what is missing in the end follows when all was judged.

    At the end the whole answer is judged as one that was not streamed, so that both are the same.
    """

    def __init__(self, stream: GuardedStream) -> None:
        self._stream = stream
        flow: Flow = stream.flow
        self._flow = flow
        self._facts = convert.StreamFacts()
        self._acts = flow.acts
        self._held = stream.holds
        self._released: list[str] = []  # if nothing is judged
        self._raw: list[ChatGenerationChunk] = []  # if something is
        self._waiting: list[ChatGenerationChunk] = []  # for guardrails that race
        self._sent: list[ChatGenerationChunk] = []
        self._ending: list[ChatGenerationChunk] = []
        self._whole: ChatGenerationChunk | None = None
        self._judges = not flow.transparent
        if self._judges:
            stream.instead = self._judged
        if self._acts:
            self._sieve = Sieve(stream.feed, flow.stream().feed)

    def feed(self, chunk: ChatGenerationChunk) -> Sequence[ChatGenerationChunk]:
        """What may leave once this chunk is here."""
        self._facts.note(chunk)
        if not self._judges:
            content = chunk.message.content
            text = content if isinstance(content, str) else convert.text_of(chunk.message)
            self._released.append(self._stream.feed(text) if text else "")
            return (chunk,)
        self._flow.root.check()
        self._raw.append(chunk)
        if self._stream.racing:
            self._waiting.append(chunk)
            return ()
        return self._sifted(chunk) if self._acts else (chunk,)

    def settled(self, released: str) -> Iterator[ChatGenerationChunk]:
        """What was held while guardrails raced with the model."""
        for chunk in self._waiting:
            yield from self._sifted(chunk) if self._acts else (chunk,)
        self._waiting.clear()

    def finish(self, rest: str) -> Iterator[ChatGenerationChunk]:
        """What was held, and the chunks that announce the end."""
        if self._whole is None:
            self._released.append(rest)
            return
        if self._acts:
            sent = _merged(self._sent)
            yield from missing(_joined(self._whole), sent and _joined(sent), _merged(self._ending))
            yield from self._ending
        else:
            yield from self._waiting

    def answer(self) -> dict[str, Any]:
        """What `Flow.answered` takes."""
        output = "".join(self._released) if self._whole is None else convert.text_of(self._whole.message)
        return {**self._facts.answer(), "output": output, "streamed": True}

    def _sifted(self, chunk: ChatGenerationChunk) -> Sequence[ChatGenerationChunk]:
        if self._held:
            return ()
        try:
            if not self._ending and chunk.message.__dict__["content"] and _only_says(chunk):
                return self._said(chunk)
            if _ends(chunk):
                self._sieve.close()
            message = self._sieve.bare(chunk.message)
        except HoldError:
            self._held = True
            return ()
        ending = bool(self._ending) or _ends(chunk)
        if ending and message.content:  # comes before it, with all that waits
            message = message.model_copy(update={"content": "" if isinstance(message.content, str) else []})
        bare = ChatGenerationChunk(message=message, generation_info=self._sieve.info(chunk.generation_info))
        if ending:
            self._ending.append(bare)
            return ()
        if not (bare.text or _carries_more(bare) or not convert.text_of(chunk.message)):
            return ()
        self._sent.append(bare)
        return (bare,)

    def _said(self, chunk: ChatGenerationChunk) -> Sequence[ChatGenerationChunk]:
        """What may leave of a chunk that only says something, as most do."""
        text = chunk.message.__dict__["content"]
        released = self._sieve.said(text)
        if not released:
            return ()
        if released != text:
            chunk = ChatGenerationChunk(message=chunk.message.model_copy(update={"content": released}))
        self._sent.append(chunk)
        return (chunk,)

    def _judged(self) -> Plan[str]:
        whole = _merged(self._raw) or ChatGenerationChunk(message=AIMessageChunk(content=""))
        result = yield from released(self._flow, ChatResult(generations=[_joined(whole)]))
        (self._whole,) = result.generations  # type: ignore[assignment]  # of the type that went in
        return ""


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
        or message.response_metadata
        or chunk.generation_info
        or (not isinstance(message.content, str) and message.content)
    )


def _merged(chunks: Sequence[ChatGenerationChunk]) -> ChatGenerationChunk | None:
    """The sum of the chunks as LangChain makes it; those that only say something are added without its help."""
    rest: list[ChatGenerationChunk] = []
    texts: list[str] = []
    for chunk in chunks:
        if rest and chunk.message.id == rest[0].message.id and _only_says(chunk):
            texts.append(chunk.message.__dict__["content"])
            continue
        if texts:
            rest.append(_saying("".join(texts), rest[0]))
            texts.clear()
        rest.append(chunk)
    if texts:
        rest.append(_saying("".join(texts), rest[0]))
    if rest and isinstance(content := rest[0].message.content, list):
        # LangChain 1.0 adds texts to the first list itself, which may have been sent.
        own = rest[0].message.model_copy(update={"content": content.copy()})
        rest[0] = ChatGenerationChunk(message=own, generation_info=rest[0].generation_info)
    if all(isinstance(chunk.message, AIMessageChunk) for chunk in rest):
        return merge_chat_generation_chunks(rest)
    return reduce(add, rest)  # LangChain loses the role of others when it adds many at once


def _only_says(chunk: ChatGenerationChunk) -> bool:
    fields = chunk.message.__dict__
    return not (
        type(fields["content"]) is not str
        or fields["additional_kwargs"]
        or fields["response_metadata"]
        or chunk.generation_info
        or type(chunk.message) is not AIMessageChunk
        or chunk.message.__pydantic_extra__
        or fields["tool_call_chunks"]
        or fields["usage_metadata"]
        or fields.get("chunk_position")
    )


def _saying(text: str, like: ChatGenerationChunk) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content=text, id=like.message.id))


def _joined(chunk: ChatGenerationChunk) -> ChatGenerationChunk:
    """The same with text blocks that follow each other, and have no index, as one."""
    message: BaseMessageChunk = chunk.message
    if isinstance(message.content, str):
        return chunk
    content: list[Any] = []
    block: Any
    for block in message.content:
        last: Any = content[-1] if content else None
        if _loose(block) and _loose(last):
            content[-1] = {**last, "text": last["text"] + block["text"]}
        else:
            content.append(block)
    if len(content) == len(message.content):
        return chunk
    return type(chunk)(message=message.model_copy(update={"content": content}), generation_info=chunk.generation_info)


def _loose(block: Any) -> bool:
    return isinstance(block, dict) and block.keys() <= {"type", "text"} and isinstance(block.get("text"), str)
