"""`protect` for LlamaIndex LLMs keeps every promise of a guard, in all eight call modes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.llms.llm import LLM
from llama_index.core.prompts import PromptTemplate
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from pydantic import Field

from llmguard_llamaindex import attach
from llmguard_middleware import Guard
from llmguard_middleware.testing.conformance import Adapter, Mode, Scenario, Script, check_matrix, matrix, scenarios


def _asked(messages: Sequence[ChatMessage]) -> str:
    return "\n".join(message.content or "" for message in messages)


_SEPARATOR = "\n---\n"


def _chat(text: str, delta: str | None = None) -> ChatResponse:
    return ChatResponse(message=ChatMessage(role="assistant", content=text), delta=delta, raw={"text": text})


def _completion(text: str, delta: str | None = None) -> CompletionResponse:
    return CompletionResponse(text=text, delta=delta, raw={"text": text})


class Scripted(LLM):
    """A model with every method of its own, which does what its script says."""

    script: Any = Field(exclude=True)

    @property
    def metadata(self) -> LLMMetadata:
        """What LlamaIndex asks about the model."""
        return LLMMetadata(model_name="scripted", is_chat_model=True)

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """As scripted."""
        return _chat(self.script.reply(_asked(messages)))

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """As scripted."""
        return _completion(self.script.reply(prompt))

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """As scripted."""
        return _chat(await self.script.areply(_asked(messages)))

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """As scripted."""
        return _completion(await self.script.areply(prompt))

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """As scripted."""

        def pieces() -> ChatResponseGen:
            text = ""
            for piece in self.script.stream(_asked(messages)):
                text += piece
                yield _chat(text, piece)

        return pieces()

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """As scripted."""

        def pieces() -> CompletionResponseGen:
            text = ""
            for piece in self.script.stream(prompt):
                text += piece
                yield _completion(text, piece)

        return pieces()

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """As scripted."""

        async def pieces() -> ChatResponseAsyncGen:
            text = ""
            async for piece in self.script.astream(_asked(messages)):
                text += piece
                yield _chat(text, piece)

        return pieces()

    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        """As scripted."""

        async def pieces() -> CompletionResponseAsyncGen:
            text = ""
            async for piece in self.script.astream(prompt):
                text += piece
                yield _completion(text, piece)

        return pieces()


class Reading(Scripted):
    """The same; in its prompts documents follow the question."""

    def _question(self, prompt: str) -> str:
        question, documents = prompt.split(_SEPARATOR)
        self.script.arrive("retrieval", documents)
        return question

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """As scripted."""
        return super().complete(self._question(prompt))

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """As scripted."""
        return await super().acomplete(self._question(prompt))

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """As scripted."""
        return super().stream_complete(self._question(prompt))

    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        """As scripted."""
        return await super().astream_complete(self._question(prompt))

    @property
    def metadata(self) -> LLMMetadata:
        """What LlamaIndex asks about the model."""
        return LLMMetadata(model_name="scripted")


class Shelf(BaseRetriever):
    """Retrieves the one document of a script."""

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.script = script

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [NodeWithScore(node=TextNode(text=self.script.material.get("retrieval", "nothing")), score=1.0)]


class Attached(Adapter):
    """A guarded query engine."""

    name = "LlamaIndex attach(engine)"
    modes = (
        Mode("query"),
        Mode("aquery", is_async=True),
        Mode("query streamed", streamed=True),
        Mode("aquery streamed", streamed=True, is_async=True),
    )
    stages = ("input", "output", "retrieval")
    composite = True
    gaps: Mapping[str, str] = {
        "output-refusal/*": "the span of the LLM tells that it was blocked, the query's does not",
        "output-reask/*": "the feedback follows the documents in the prompt, where this test does not look",
    }

    def build(self, guard: Guard, script: Script) -> Any:
        """One engine that streams, and one that does not."""
        template = PromptTemplate("{query_str}" + _SEPARATOR + "{context_str}")
        return [
            attach(
                RetrieverQueryEngine.from_args(
                    Shelf(script), llm=Reading(script=script), streaming=streaming, text_qa_template=template
                ),
                guard,
            )
            for streaming in (False, True)
        ]

    def again(self, subject: Any, guard: Guard) -> Any:
        """Both once more."""
        return [attach(engine, guard) for engine in subject]

    def call(self, subject: Any, mode: Mode, text: str) -> Any:
        """A query, and of a streamed one its pieces."""
        engine = subject[mode.streamed]
        if not mode.is_async:
            response = engine.query(text)
            return response.response_gen if mode.streamed else response
        return self._later(engine, mode, text)

    async def _later(self, engine: Any, mode: Mode, text: str) -> Any:
        response = await engine.aquery(text)
        return response.response_gen if mode.streamed else response


ATTACHED = Attached()


@pytest.mark.parametrize("scenario", scenarios(ATTACHED), ids=str)
async def test_attached_engines_conform(scenario: Scenario) -> None:
    """A guarded query engine does what the scenario claims."""
    await scenario.run(ATTACHED)


README = Path(__file__).parents[1] / "README.md"
TABLES = {"attach(engine)": ATTACHED}


@pytest.mark.parametrize("name", TABLES)
async def test_the_readme_has_the_table_of_what_is_enforced(name: str) -> None:
    """What the README says of each call mode, stage and action is what was tried just now."""
    check_matrix(README, name, await matrix(TABLES[name]), "uv run pytest --no-cov -k readme integrations")
