"""The demo's application on LlamaIndex: retrieval over the scenario's documents, guarded by `attach`. No network."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from llama_index.core import VectorStoreIndex
from llama_index.core.base.llms.types import ChatMessage, CompletionResponse, CompletionResponseGen, LLMMetadata
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.llms import LLM, CustomLLM
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.schema import TextNode
from pydantic import Field

from llmguard_middleware._demo._scenario import App, Scenario

from ._attach import attach

__all__ = ["build"]

_DIMENSIONS = 256
_PIECE = 3  # characters: no secret of interest arrives in one piece


def build(scenario: Scenario) -> App:
    """A guarded query engine over the scenario's documents."""
    nodes = [TextNode(text=document, id_=str(number)) for number, document in enumerate(scenario.documents)]
    index = VectorStoreIndex(nodes, embed_model=HashedWords())
    llm = _model(scenario)
    return _Engines(
        attach(index.as_query_engine(llm=llm), scenario.guard),
        attach(index.as_query_engine(llm=llm, streaming=True), scenario.guard),
    )


class _Engines:
    def __init__(self, whole: Any, streaming: Any) -> None:
        self._whole, self._streaming = whole, streaming

    def ask(self, question: str) -> str:
        return str(self._whole.query(question).response)

    def stream(self, question: str) -> Iterator[str]:
        yield from self._streaming.query(question).response_gen


def _model(scenario: Scenario) -> LLM:
    if scenario.base_url is None:
        return InProcess(reply=scenario.reply, name=scenario.model)
    from llama_index.llms.openai_like import OpenAILike  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra

    options = {"model": scenario.model, "api_base": scenario.base_url, "api_key": scenario.api_key}
    model: LLM = OpenAILike(**options, is_chat_model=True)
    return model


class InProcess(CustomLLM):
    """A model that is a function; it counts words as tokens and streams a few characters at a time."""

    reply: Callable[[str], str] = Field(exclude=True)
    name: str = "in-process"

    def __init__(self, **fields: Any) -> None:
        super().__init__(messages_to_prompt=_prompt, **fields)

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex serialises it."""
        return "InProcess"

    @property
    def metadata(self) -> LLMMetadata:
        """What LlamaIndex asks about the model."""
        return LLMMetadata(model_name=self.name, is_chat_model=True)

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **_: Any) -> CompletionResponse:
        """The whole answer."""
        text = self.reply(prompt)
        return CompletionResponse(text=text, raw=self._raw(prompt, text))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **_: Any) -> CompletionResponseGen:
        """The answer in pieces."""

        def pieces() -> CompletionResponseGen:
            text = self.reply(prompt)
            for end in range(_PIECE, len(text) + _PIECE, _PIECE):
                done = self._raw(prompt, text) if end >= len(text) else None
                yield CompletionResponse(text=text[:end], delta=text[end - _PIECE : end], raw=done)

        return pieces()

    def _raw(self, prompt: str, text: str) -> dict[str, Any]:
        usage = {"prompt_tokens": len(prompt.split()), "completion_tokens": len(text.split())}
        return {"model": self.name, "usage": usage, "choices": [{"finish_reason": "stop"}]}


def _prompt(messages: Sequence[ChatMessage]) -> str:
    return "\n".join(message.content or "" for message in messages)


class HashedWords(BaseEmbedding):
    """A bag of words, hashed: texts that share words are near each other, and nothing is downloaded."""

    def _vector(self, text: str) -> list[float]:
        vector = [0.0] * _DIMENSIONS
        for word in re.findall(r"\w+", text.lower()):
            vector[zlib.crc32(word.encode()) % _DIMENSIONS] += 1.0
        length = sum(x * x for x in vector) ** 0.5 or 1.0
        return [x / length for x in vector]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._vector(text)

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._vector(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._vector(query)
