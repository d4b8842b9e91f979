"""The LangChain side of `llmguard demo`: a RAG chain over the scenario's documents."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig, RunnablePassthrough

from llmguard_middleware._demo._scenario import Scenario

from ._callback import GuardCallback
from ._protect import protect

__all__ = ["build"]

_PROMPT = ChatPromptTemplate.from_messages(
    [
        ("system", "Answer from these documents only:\n{context}"),
        ("user", "Question: {question}"),
    ]
)


class InProcessChat(BaseChatModel):
    """A chat model that answers by a function, whole or three characters at a time."""

    reply: Callable[[str], str]

    @property
    def _llm_type(self) -> str:
        return "in-process"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {"ls_provider": "in-process", "ls_model_name": "in-process", "ls_model_type": "chat"}

    def _answer(self, messages: Sequence[BaseMessage]) -> tuple[str, UsageMetadata]:
        prompt = "\n".join(message.text for message in messages)
        text = self.reply(prompt)
        asked, answered = len(prompt.split()), len(text.split())  # words, for want of a tokenizer
        return text, UsageMetadata(input_tokens=asked, output_tokens=answered, total_tokens=asked + answered)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        text, usage = self._answer(messages)
        message = AIMessage(
            text, usage_metadata=usage, response_metadata={"model_name": "in-process", "finish_reason": "stop"}
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        text, usage = self._answer(messages)
        for start in range(0, len(text), 3):
            yield ChatGenerationChunk(message=AIMessageChunk(content=text[start : start + 3]))
        metadata = {"model_name": "in-process", "finish_reason": "stop"}
        yield ChatGenerationChunk(message=AIMessageChunk(content="", usage_metadata=usage, response_metadata=metadata))


class KeywordRetriever(BaseRetriever):
    """The two documents that share most words with the question."""

    texts: tuple[str, ...]

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        def shared(text: str) -> int:
            return len(set(re.findall(r"\w{4,}", query.lower())) & set(re.findall(r"\w{4,}", text.lower())))

        return [Document(text) for text in sorted(self.texts, key=shared, reverse=True)[:2]]


class _Chain:
    """The App: a chain whose model is protected, with a callback for the spans around it."""

    def __init__(self, chain: Runnable[str, str], callback: GuardCallback) -> None:
        self._chain = chain
        self._config = RunnableConfig(callbacks=[callback], run_name="rag")

    def ask(self, question: str) -> str:
        return self._chain.invoke(question, self._config)

    def stream(self, question: str) -> Iterator[str]:
        return self._chain.stream(question, self._config)


def build(scenario: Scenario) -> _Chain:
    """A guarded RAG chain."""
    retriever = KeywordRetriever(texts=tuple(scenario.documents))
    chain = (
        {"context": retriever | _joined, "question": RunnablePassthrough()}
        | _PROMPT
        | protect(_model(scenario), scenario.guard)
        | StrOutputParser()
    )
    return _Chain(chain, GuardCallback(scenario.guard))


def _joined(documents: list[Document]) -> str:
    return "\n".join(document.page_content for document in documents)


def _model(scenario: Scenario) -> BaseChatModel:
    if scenario.base_url is None:
        return InProcessChat(reply=scenario.reply)
    from langchain_openai import ChatOpenAI  # noqa: PLC0415 - only this way of running the demo needs it

    return ChatOpenAI(
        model=scenario.model,
        base_url=scenario.base_url,
        api_key=scenario.api_key,  # type: ignore[arg-type]  # pydantic makes a secret of it
        max_retries=0,
        max_completion_tokens=64,
        stream_usage=True,
    )
