"""Models, a retriever and a chain that take no time of their own, and the calls that the rows are made of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import sleep
from typing import Any, NamedTuple

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnablePassthrough

__all__ = ["ROWS", "Fake", "Row", "Streaming", "chain"]

USAGE = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
METADATA = {"model_name": "fake-1-2026", "finish_reason": "stop", "id": "resp-1"}

_POOL = ThreadPoolExecutor(8)


class Fake(BaseChatModel):
    """Answers after `seconds`: by default, at once."""

    seconds: float = 0.0

    @property
    def _llm_type(self) -> str:
        return "fake"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {"ls_provider": "fake", "ls_model_name": "fake-1", "ls_model_type": "chat", "ls_temperature": 0.5}

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        if self.seconds:
            sleep(self.seconds)
        message = AIMessage("Hello.", usage_metadata=USAGE, response_metadata=dict(METADATA))
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return self._generate(messages)


class Streaming(Fake):
    """The same, able to stream 200 tokens."""

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for _ in range(200):
            yield ChatGenerationChunk(message=AIMessageChunk(content="word ", id="resp-1"))
        yield ChatGenerationChunk(
            message=AIMessageChunk(content="", usage_metadata=USAGE, response_metadata=dict(METADATA))
        )


class _Shelf(BaseRetriever):
    """Five documents."""

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return [Document(f"document {number} about the matter at hand") for number in range(5)]


def _together(documents: list[Document]) -> str:
    return "\n".join(document.page_content for document in documents)


def chain(model: Any) -> Any:
    """The RAG chain of LangChain's own tutorials, nine Runnables: five documents, a prompt, the model, its text."""
    prompt = ChatPromptTemplate.from_messages([("system", "Context: {context}"), ("user", "{question}")])
    found = {"context": _Shelf() | _together, "question": RunnablePassthrough()}
    return found | prompt | model | StrOutputParser()


class Row(NamedTuple):
    """One row of the table: its model, what is made of the model once, how many calls a round has, and the round."""

    kind: type[Fake]
    made: Callable[[Any], Any]
    calls: int
    round: Callable[[Any, dict[str, Any]], Any]


def _chat(model: Any, config: dict[str, Any]) -> None:
    for _ in range(100):
        model.invoke("Hi", config)


def _rag(made: Any, config: dict[str, Any]) -> None:
    for _ in range(50):
        made.invoke("Hi", config)


def _stream(model: Any, config: dict[str, Any]) -> None:
    for _ in range(10):
        for _ in model.stream("Hi", config):
            pass


def _tasks(model: Any, config: dict[str, Any]) -> None:
    async def all_of_them() -> None:
        await asyncio.gather(*(model.ainvoke("Hi", config) for _ in range(32)))

    asyncio.run(all_of_them())


def _threads(model: Any, config: dict[str, Any]) -> None:
    list(_POOL.map(lambda _: model.invoke("Hi", config), range(64)))


def _itself(model: Any) -> Any:
    return model


ROWS = {
    "chat": Row(Fake, _itself, 100, _chat),
    "rag": Row(Fake, chain, 50, _rag),
    "stream": Row(Streaming, _itself, 10, _stream),
    "32 async": Row(Fake, _itself, 32, _tasks),
    "8 threads": Row(Fake, _itself, 64, _threads),
}
