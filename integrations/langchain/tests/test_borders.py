"""Secrets across the borders of chunks: wherever an answer is cut, no character leaves, and nothing else changes.

What the built-in scorers find, through LangChain's public streams; test_content_streams.py has the fields of chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations, pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from llmguard_langchain import GuardMiddleware, protect
from llmguard_middleware import Guard, Guardrail
from llmguard_middleware.scorers import pii, secrets

FOUND = {
    "bob@example.com": "<EMAIL_ADDRESS>",
    "900101-1234567": "<KR_RRN>",
    "4111 1111 1111 1111": "<CREDIT_CARD>",
    "AKIA" + "IOSFODNN7EXAMPLE": "<AWS_ACCESS_KEY>",
}
AROUND = 3  # characters before and after a secret where a stream is cut twice
WHOLE = "Write to {}, number {}, card {}; key {}. 끝.".format(*FOUND)
GUARDED = "Write to {}, number {}, card {}; key {}. 끝.".format(*FOUND.values())
GUARD = Guard(Guardrail(pii(), stage="output", action="redact"), Guardrail(secrets(), stage="output", action="redact"))


class Cut(BaseChatModel):
    """Streams one answer, in the pieces that it was told last."""

    told: Any

    @property
    def _llm_type(self) -> str:
        return "cut"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("".join(self.told.pieces)))])

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for piece in self.told.pieces:
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece))


def at(*borders: int) -> list[str]:
    """The answer in pieces."""
    return [WHOLE[a:b] for a, b in pairwise((0, *borders, len(WHOLE)))]


def pairs() -> Iterator[tuple[int, int]]:
    """Every two borders in and around one secret."""
    for secret in FOUND:
        start = WHOLE.index(secret)
        yield from combinations(range(start - AROUND, start + len(secret) + AROUND + 1), 2)


SINGLES = [at(border) for border in range(1, len(WHOLE))]
PAIRS = [at(*borders) for borders in pairs()]
LETTERS = list(WHOLE)


async def taken(stream: Any) -> list[Any]:
    """All of an async stream."""
    return [item async for item in stream]


async def streamed(way: str, subject: Any) -> list[str]:
    """The texts that leave, in order."""
    asked: Any = {"messages": ["Hi"]}
    if way == "astream_events":
        events = await taken(subject.astream_events("Hi", version="v2"))
        return [event["data"]["chunk"].text for event in events if event["event"] == "on_chat_model_stream"]
    if way == "messages":
        return [chunk.text for chunk, _ in subject.stream(asked, stream_mode="messages")]
    if way == "amessages":
        return [chunk.text for chunk, _ in await taken(subject.astream(asked, stream_mode="messages"))]
    if way == "transform":
        return [str(piece) for piece in subject.transform(iter(["Hi"]))]
    items = await taken(subject.astream("Hi")) if way == "astream" else list(subject.stream("Hi"))
    return [item if isinstance(item, str) else item.text for item in items]


SUBJECTS: dict[str, Callable[[Any], Any]] = {
    "model": lambda model: protect(model, GUARD),
    "chain": lambda model: protect(model | StrOutputParser(), GUARD),
    "agent": lambda model: create_agent(model, [], middleware=[GuardMiddleware(GUARD)]),
}
WAYS = {
    "model": ("stream", "astream", "astream_events"),
    "chain": ("stream", "astream", "transform"),
    "agent": ("messages", "amessages"),
}


@pytest.mark.parametrize(("name", "way"), [(name, way) for name, ways in WAYS.items() for way in ways])
async def test_no_character_of_a_secret_leaves_wherever_the_answer_is_cut(name, way):
    """Cut at each place, at each two around a secret, or into characters: what leaves adds up to the whole answer.

    As the whole answer has nothing of a secret, neither has any beginning of it that a reader has seen.
    """
    told = SimpleNamespace(pieces=LETTERS)
    subject = SUBJECTS[name](Cut(told=told))
    for told.pieces in (LETTERS, *SINGLES, *(PAIRS if name != "agent" else ())):
        left = await streamed(way, subject)
        assert "".join(left) == GUARDED, told.pieces


@pytest.mark.parametrize("name", SUBJECTS)
def test_the_whole_answer_is_what_the_streams_add_up_to(name):
    """What is not streamed says the same."""
    answer = SUBJECTS[name](Cut(told=SimpleNamespace(pieces=LETTERS))).invoke(
        {"messages": ["Hi"]} if name == "agent" else "Hi"
    )
    answer = answer["messages"][-1] if name == "agent" else answer
    assert (answer if isinstance(answer, str) else answer.text) == GUARDED


def test_every_border_is_cut():
    """There is a cut at every place of the answer, and each two in and around each secret."""
    assert len(SINGLES) == len(WHOLE) - 1
    assert all("".join(pieces) == WHOLE for pieces in (LETTERS, *SINGLES, *PAIRS))
    assert len(PAIRS) > 900
