"""A model and a retriever that take no time of their own, and the calls that the rows are made of."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from llama_index.core import MockEmbedding
from llama_index.core.base.llms.types import ChatMessage, CompletionResponse, CompletionResponseGen, LLMMetadata
from llama_index.core.callbacks import CallbackManager
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

__all__ = ["ROWS", "Fake", "Row", "engine"]

RAW = {
    "id": "resp-1",
    "model": "fake-1-2026",
    "usage": {"prompt_tokens": 3, "completion_tokens": 4},
    "choices": [{"finish_reason": "stop"}],
}
ASKED = [ChatMessage(role="user", content="Hi")]

_POOL = ThreadPoolExecutor(8)


class Fake(CustomLLM):
    """A model of LlamaIndex's simplest kind: `chat` asks `complete`, so that LlamaIndex tells of each call twice."""

    model: str = "fake-1"
    temperature: float = 0.5

    @property
    def metadata(self) -> LLMMetadata:
        """What LlamaIndex asks about the model."""
        return LLMMetadata(model_name=self.model)

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """An answer at once."""
        return CompletionResponse(text="Hello.", raw=RAW)

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """200 tokens at once."""
        return (
            CompletionResponse(text="word ", delta="word ", raw=RAW if number == 199 else None)  # noqa: PLR2004 - the last
            for number in range(200)
        )


class _Shelf(BaseRetriever):
    """Five documents, after the question was embedded."""

    def __init__(self, manager: CallbackManager) -> None:
        super().__init__(callback_manager=manager)
        self._embeddings = MockEmbedding(embed_dim=8, callback_manager=manager)
        nodes = [TextNode(text=f"document {number} about the matter at hand") for number in range(5)]
        self._found = [NodeWithScore(node=node, score=0.5) for node in nodes]

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self._embeddings.get_query_embedding(query_bundle.query_str)
        return self._found


def engine(llm: Any, **options: Any) -> RetrieverQueryEngine:
    """A query engine: the embedding of the question, five documents, one call of the model."""
    # One for all parts: only the outermost manager of a trace forgets its events, others keep each of them for ever.
    manager = llm.callback_manager = CallbackManager()
    return RetrieverQueryEngine.from_args(_Shelf(manager), llm=llm, callback_manager=manager, **options)


class Row(NamedTuple):
    """One row of the table: what is made of the model once, how many calls a round has, and the round."""

    made: Callable[[Any], Any]
    calls: int
    round: Callable[[Any], Any]


def _chat(llm: Any) -> None:
    for _ in range(100):
        llm.chat(ASKED)


def _query(made: Any) -> None:
    for _ in range(25):
        made.query("Hi")


def _stream(llm: Any) -> None:
    for _ in range(5):
        for _ in llm.stream_chat(ASKED):
            pass


def _threads(llm: Any) -> None:
    list(_POOL.map(lambda _: llm.chat(ASKED), range(64)))


def _itself(llm: Any) -> Any:
    return llm


ROWS = {
    "chat": Row(_itself, 100, _chat),
    "query": Row(engine, 25, _query),
    "stream_chat": Row(_itself, 5, _stream),
    "8 threads": Row(_itself, 64, _threads),
}
