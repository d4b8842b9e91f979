"""`attach` keeps every promise of a guard: query engines, chat engines and retrievers, in each way to call them."""

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
from llama_index.core.chat_engine import (
    CondensePlusContextChatEngine,
    CondenseQuestionChatEngine,
    ContextChatEngine,
    SimpleChatEngine,
)
from llama_index.core.chat_engine import context as context_engine
from llama_index.core.llms.llm import LLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.prompts import PromptTemplate
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from pydantic import Field

from llmguard_llamaindex import attach
from llmguard_middleware import Guard
from llmguard_middleware.testing.conformance import Adapter, Mode, Scenario, Script, check_matrix, matrix, scenarios

_SEPARATOR = "\n---\n"


class Reading(LLM):
    """A model that does what its script says; in its prompts documents come first or follow the question."""

    script: Any = Field(exclude=True)

    @property
    def metadata(self) -> LLMMetadata:
        """What LlamaIndex asks about the model."""
        return LLMMetadata(model_name="scripted", is_chat_model=True)

    def _question(self, messages: Sequence[ChatMessage]) -> str:
        asked = messages[-1].content or ""
        documents = messages[0].content if messages[0].role == "system" else None
        if _SEPARATOR in asked:
            asked, documents = asked.split(_SEPARATOR)
            documents = documents.removeprefix("['").removesuffix("']")  # `simple_summarize` gives a list of texts
        if documents is not None:
            self.script.arrive("retrieval", documents)
        return asked

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """As scripted."""
        return _chat(self.script.reply(self._question(messages)))

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """As scripted."""
        return _chat(await self.script.areply(self._question(messages)))

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """As scripted."""

        def pieces() -> ChatResponseGen:
            text = ""
            for piece in self.script.stream(self._question(messages)):
                text += piece
                yield _chat(text, piece)

        return pieces()

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """As scripted."""

        async def pieces() -> ChatResponseAsyncGen:
            text = ""
            async for piece in self.script.astream(self._question(messages)):
                text += piece
                yield _chat(text, piece)

        return pieces()

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Never asked."""
        raise NotImplementedError

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Never asked."""
        raise NotImplementedError

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """Never asked."""
        raise NotImplementedError

    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        """Never asked."""
        raise NotImplementedError


def _chat(text: str, delta: str | None = None) -> ChatResponse:
    return ChatResponse(message=ChatMessage(role="assistant", content=text), delta=delta, raw={"text": text})


class Shelf(BaseRetriever):
    """Retrieves the one document of a script."""

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.script = script

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [NodeWithScore(node=TextNode(text=self.script.material.get("retrieval", "nothing")), score=1.0)]


class QueryEngines(Adapter):
    """A query engine, by the ways to query it."""

    name = "LlamaIndex attach(query engine)"
    modes = (
        Mode("query"),
        Mode("aquery", is_async=True),
        Mode("query streamed", streamed=True),
        Mode("aquery streamed", streamed=True, is_async=True),
    )
    stages = ("input", "output", "retrieval")
    composite = True
    response_mode = "compact"
    gaps: Mapping[str, str] = {
        "output-refusal/*": "the span of the LLM tells that it was blocked, the query's does not",
    }

    def __init__(self, response_mode: str = "compact") -> None:
        self.response_mode = response_mode
        if response_mode == "accumulate":  # LlamaIndex does not stream it
            self.modes = self.modes[:2]

    def build(self, guard: Guard, script: Script) -> Any:
        """One engine that streams, and one that does not."""
        return [
            attach(self._engine(script, streaming=mode.streamed), guard) for mode in (self.modes[0], self.modes[-1])
        ]

    def _engine(self, script: Script, *, streaming: bool) -> RetrieverQueryEngine:
        template = PromptTemplate("{query_str}" + _SEPARATOR + "{context_str}")
        return RetrieverQueryEngine.from_args(
            Shelf(script),
            llm=Reading(script=script),
            streaming=streaming,
            response_mode=self.response_mode,  # type: ignore[arg-type]  # an enum of strings
            text_qa_template=template,
            summary_template=template,
        )

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

    def text(self, reply: Any) -> str:
        """What it says, without what `accumulate` puts before it."""
        return str(reply).removeprefix("Response 1: ")


class Forgetful(ChatMemoryBuffer):
    """A memory of nothing, so that each turn is the first."""

    def get(self, input: str | None = None, initial_token_count: int = 0, **kwargs: Any) -> list[ChatMessage]:
        """Nothing."""
        return []

    async def aget(self, input: str | None = None, initial_token_count: int = 0, **kwargs: Any) -> list[ChatMessage]:
        """Nothing."""
        return []


def _simple(script: Script) -> Any:
    return SimpleChatEngine.from_defaults(llm=Reading(script=script), memory=Forgetful.from_defaults())


def _context(script: Script) -> Any:
    return ContextChatEngine.from_defaults(
        Shelf(script),
        llm=Reading(script=script),
        memory=Forgetful.from_defaults(),
        context_template="{context_str}",
        context_refine_template="{context_msg}{existing_answer}",
    )


def _condense_question(script: Script) -> Any:
    llm = Reading(script=script)
    engine = RetrieverQueryEngine.from_args(
        Shelf(script), llm=llm, text_qa_template=PromptTemplate("{query_str}" + _SEPARATOR + "{context_str}")
    )
    return CondenseQuestionChatEngine.from_defaults(engine, llm=llm, memory=Forgetful.from_defaults())


def _condense_plus_context(script: Script) -> Any:
    return CondensePlusContextChatEngine.from_defaults(
        Shelf(script),
        llm=Reading(script=script),
        memory=Forgetful.from_defaults(),
        context_prompt="{context_str}",
        context_refine_prompt="{context_msg}{existing_answer}",
    )


class ChatEngines(Adapter):
    """A chat engine, by the ways to ask it."""

    modes = (
        Mode("chat"),
        Mode("achat", is_async=True),
        Mode("stream_chat", streamed=True),
        Mode("astream_chat", streamed=True, is_async=True),
    )
    composite = True
    gaps: Mapping[str, str] = {
        "output-refusal/*": "the span of the LLM tells that it was blocked, the turn's does not",
    }

    def __init__(self, make: Any, stages: Sequence[Any] = ("input", "output", "retrieval")) -> None:
        self.name = f"LlamaIndex attach(chat engine{make.__name__})"
        self.stages, self._make = stages, make
        if make is _condense_question:
            self.gaps = {
                **self.gaps,
                "span-nests/*": "the query engine in between has a span, and this test knows of none",
            }
        elif make in (_context, _condense_plus_context) and not hasattr(context_engine, "Thread"):
            late = "in older releases it asks its model when the answer is first read: nothing can race"
            self.gaps = {**self.gaps, "input-race/*stream_chat": late, "input-race-passes/*stream_chat": late}

    def build(self, guard: Guard, script: Script) -> Any:
        """The engine under its guard. It keeps what was said: pseudonyms are not kept in any other way."""
        return attach(self._make(script), guard, state="raw")

    def again(self, subject: Any, guard: Guard) -> Any:
        """The same under another."""
        return attach(subject, guard, state="raw")

    def call(self, subject: Any, mode: Mode, text: str) -> Any:
        """A turn, and of a streamed one its pieces."""
        if mode.is_async:
            return self._later(subject, mode, text)
        response = getattr(subject, mode.name)(text)
        return response.response_gen if mode.streamed else response

    async def _later(self, engine: Any, mode: Mode, text: str) -> Any:
        response = await getattr(engine, mode.name)(text)
        return response.async_response_gen() if mode.streamed else response


class Found(Shelf):
    """A retriever that finds what its script says, by what it is asked."""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        text = self.script.reply(query_bundle.query_str)
        return [NodeWithScore(node=TextNode(text=self.script.material.get("retrieval", text)), score=1.0)]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        text = await self.script.areply(query_bundle.query_str)
        return [NodeWithScore(node=TextNode(text=self.script.material.get("retrieval", text)), score=1.0)]


class Retrievers(Adapter):
    """A retriever alone."""

    name = "LlamaIndex attach(retriever)"
    modes = (Mode("retrieve"), Mode("aretrieve", is_async=True))
    stages = ("input", "retrieval")

    def build(self, guard: Guard, script: Script) -> Any:
        """The retriever under its guard."""
        self.script = script
        return attach(Found(script), guard)

    def again(self, subject: Any, guard: Guard) -> Any:
        """The same under another."""
        return attach(subject, guard)

    def call(self, subject: Any, mode: Mode, text: str) -> Any:
        """What is retrieved."""
        return getattr(subject, mode.name)(text)

    def text(self, reply: Any) -> str:
        """The text of what is found."""
        (found,) = reply
        self.script.arrive("retrieval", found.node.get_content())
        return str(found.node.get_content())


RESPONSE_MODES = ("compact", "refine", "tree_summarize", "simple_summarize", "accumulate")
QUERY = {mode: QueryEngines(mode) for mode in RESPONSE_MODES}
CHAT = {
    "SimpleChatEngine": ChatEngines(_simple, ("input", "output")),
    "ContextChatEngine": ChatEngines(_context),
    "CondenseQuestionChatEngine": ChatEngines(_condense_question),
    "CondensePlusContextChatEngine": ChatEngines(_condense_plus_context),
}
RETRIEVERS = Retrievers()
FULL: dict[str, Adapter] = {"query": QUERY["compact"], **CHAT, "retriever": RETRIEVERS}
CASES = [(name, scenario) for name, adapter in FULL.items() for scenario in scenarios(adapter)]


@pytest.mark.parametrize(("name", "scenario"), CASES, ids=[f"{name}-{scenario}" for name, scenario in CASES])
async def test_what_is_attached_conforms(name: str, scenario: Scenario) -> None:
    """A guarded engine or retriever does what the scenario claims."""
    await scenario.run(FULL[name])


README = Path(__file__).parents[1] / "README.md"


async def _united(adapters: Mapping[str, Adapter]) -> str:
    """One table of several adapters, with a line for each."""
    lines: list[str] = []
    foot = ""
    for name, adapter in adapters.items():
        table, _, rest = (await matrix(adapter)).partition("\n\n")
        head, rule, *rows = table.splitlines()
        lines += [*([] if lines else [head, rule]), *(row.replace("|", f"| {name}:", 1) for row in rows)]
        foot = foot or rest
    return "\n".join(lines) + "\n\n" + foot


TABLES: dict[str, Mapping[str, Adapter]] = {
    "attach(query engine)": QUERY,
    "attach(chat engine)": {name: adapter for name, adapter in CHAT.items() if name != "SimpleChatEngine"},
    "attach(SimpleChatEngine)": {"SimpleChatEngine": CHAT["SimpleChatEngine"]},
    "attach(retriever)": {"retriever": RETRIEVERS},
}


@pytest.mark.parametrize("name", TABLES)
async def test_the_readme_has_the_table_of_what_is_enforced(name: str) -> None:
    """What the README says of each engine, call, stage and action is what was tried just now."""
    told = await _united(TABLES[name])
    check_matrix(README, name, told, "uv run pytest --no-cov -k readme integrations")
