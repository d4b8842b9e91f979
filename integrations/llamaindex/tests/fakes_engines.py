"""Chat engines over the fakes of conftest.py, asked in each of their four ways."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llama_index.core.chat_engine import (
    CondensePlusContextChatEngine,
    CondenseQuestionChatEngine,
    ContextChatEngine,
    SimpleChatEngine,
)
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.query_engine import RetrieverQueryEngine

CHATS = ["chat", "achat", "stream_chat", "astream_chat"]


def _condense_question(llm: Any, shelf: Any, memory: Any) -> Any:
    return CondenseQuestionChatEngine.from_defaults(
        query_engine=RetrieverQueryEngine.from_args(shelf, llm=llm), llm=llm, memory=memory
    )


ENGINES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "simple": lambda llm, _, memory: SimpleChatEngine.from_defaults(llm=llm, memory=memory),
    "context": lambda llm, shelf, memory: ContextChatEngine.from_defaults(shelf, llm=llm, memory=memory),
    "condense_question": _condense_question,
    "condense_plus_context": lambda llm, shelf, memory: CondensePlusContextChatEngine.from_defaults(
        shelf, llm=llm, memory=memory
    ),
}


def chat_engine(kind: str, llm: Any, shelf: Any, memory: Any = None) -> Any:
    """A chat engine of this kind, with a memory of its own if none is given."""
    return ENGINES[kind](llm, shelf, memory or ChatMemoryBuffer.from_defaults(token_limit=3000))


async def response_of(engine: Any, way: str, text: str, **options: Any) -> Any:
    """What the engine gives."""
    made = getattr(engine, way)(text, **options)
    return await made if way.startswith("a") else made


async def chat(engine: Any, way: str, text: str, **options: Any) -> str:
    """The text of the engine's answer; of a streamed one, of its pieces."""
    response = await response_of(engine, way, text, **options)
    if way == "stream_chat":
        return "".join(response.response_gen)
    if way == "astream_chat":
        return "".join([piece async for piece in response.async_response_gen()])
    return str(response.response)


def kept(memory: Any) -> list[tuple[str, str]]:
    """(role, text) of what a memory keeps."""
    return [(str(message.role.value), message.content) for message in memory.get_all()]


@contextmanager
def no_stray_error() -> Iterator[None]:
    """Fails if a thread dies of an error inside."""
    strays: list[Any] = []
    before, threading.excepthook = threading.excepthook, lambda args: strays.append(args.exc_value)
    try:
        yield
    finally:
        threading.excepthook = before
    assert strays == []


@contextmanager
def threads_joined() -> Iterator[None]:
    """Wait for the threads that were begun inside: a chat engine's writer ends its turn after the reader has it all."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("Thread-"):  # a pool's threads never end
            thread.join(10)
