"""Protected retrievers: the query before the store has it, documents before anyone has them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore
from pydantic import Field

from llmguard_langchain import GuardCallback, protect
from llmguard_middleware import Guard, Guardrail, GuardrailViolation, Monitor, UnenforceableError, scorer
from llmguard_middleware.testing import Flags

SECRET = "QXZWKVJY"
QUERY = Guardrail(Flags(when=SECRET, name="query"), stage="input", action="redact")
DOCUMENTS = Guardrail(Flags(when=SECRET, name="documents"), stage="retrieval", action="redact")


class Finds(BaseRetriever):
    """Finds two documents of its own."""

    found: list[Document] = Field(default_factory=lambda: [Document(f"a {SECRET}", metadata={"n": 1}), Document("b")])
    received: list[str] = Field(default_factory=list)

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        self.received.append(query)
        return list(self.found)


class Native(Finds):
    """The same, with an async method of its own."""

    async def _aget_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        await asyncio.sleep(0)
        return self._get_relevant_documents(query, run_manager=run_manager)


class Old(Finds):
    """The same, that takes no run manager."""

    def _get_relevant_documents(self, query: str) -> list[Document]:
        return super()._get_relevant_documents(query, run_manager=None)


class Invokes(Finds):
    """The same, that does it all in invoke, as some ensembles do."""

    def invoke(self, input: str, config: Any = None, **kwargs: Any) -> list[Document]:
        """By itself."""
        return super()._get_relevant_documents(input, run_manager=None)

    async def ainvoke(self, input: str, config: Any = None, **kwargs: Any) -> list[Document]:
        """By itself."""
        return self.invoke(input)


@pytest.fixture(params=[Finds, Native, Old, Invokes])
def retriever(request):
    """Each way in which a retriever may be made."""
    return request.param()


@pytest.fixture(params=["invoke", "ainvoke", "batch", "abatch", "stream", "astream"])
def find(request):
    """Ask a retriever in each call mode."""

    async def afound(subject, query, config):
        if request.param == "ainvoke":
            return await subject.ainvoke(query, config)
        if request.param == "abatch":
            return (await subject.abatch([query], config))[0]
        (item,) = [item async for item in subject.astream(query, config)]
        return item

    def found(subject, query, config=None):
        if request.param.startswith("a"):
            return asyncio.run(afound(subject, query, config))
        if request.param == "batch":
            return subject.batch([query], config)[0]
        return subject.invoke(query, config) if request.param == "invoke" else next(subject.stream(query, config))

    return found


def test_query_and_documents_are_redacted_in_every_mode(retriever, find):
    """The store gets the redacted query; documents are edited in copies, and the store keeps its own."""
    guarded = protect(retriever, Guard(QUERY, DOCUMENTS))
    documents = find(guarded, f"who is {SECRET}?")
    assert documents == [Document("a <FAKE>", metadata={"n": 1}), Document("b")]
    assert retriever.received == ["who is <FAKE>?"]
    assert retriever.found[0].page_content == f"a {SECRET}"


def test_a_block_at_either_end_stops_the_call(retriever, find):
    """A blocked query finds nothing, and one blocked document stops them all."""
    for stage in ("input", "retrieval"):
        with pytest.raises(GuardrailViolation):
            find(protect(retriever, Guard(Guardrail(Flags(when=SECRET), stage=stage))), SECRET)
    assert retriever.received == [SECRET]


@pytest.mark.parametrize("with_callback", ["none", "own", "other"])
def test_a_call_is_one_span_and_scored_once(retriever, find, captured, with_callback):
    """One retrieval span for each call, whatever callback is there; the guard's monitor scores it once."""
    seen = []

    @scorer
    def watch(output: Any, question: str) -> float:
        seen.append((question, output))
        return 1.0

    guard = Guard(QUERY, DOCUMENTS, Monitor(watch), **captured.providers)
    guarded = protect(retriever, guard)
    callbacks = {
        "none": [],
        "own": [GuardCallback(guard)],
        "other": [GuardCallback(Guard(name="o", **captured.providers))],
    }
    find(guarded, SECRET, {"callbacks": callbacks[with_callback]})
    assert guard.flush() == 0
    assert seen == [("<FAKE>", ("a <FAKE>", "b"))]
    names = [span.name for span in captured.spans if not span.name.startswith("llmguard")]
    assert names == [f"retrieval {type(retriever).__name__}"]


async def test_callbacks_and_events_see_what_is_guarded():
    """What other callbacks and event streams are told of a query and its documents is redacted."""
    told = []

    class Listens(BaseCallbackHandler):
        def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
            told.append(query)

        def on_retriever_end(self, documents: Any, **kwargs: Any) -> None:
            told.append(documents)

    guarded = protect(Finds(), Guard(QUERY, DOCUMENTS))
    events = [event async for event in guarded.astream_events(SECRET, {"callbacks": [Listens()]}, version="v2")]
    assert SECRET not in repr(told)
    assert "<FAKE>" in repr(told)
    assert SECRET not in repr([event["data"].get("output") for event in events])


def test_in_refusal_mode_the_refusal_is_the_only_document(find):
    """A stopped retrieval answers with one document that says so."""
    guard = Guard(Guardrail(Flags(when=SECRET), stage="retrieval"), refusal="No.")
    assert find(protect(Finds(), guard), "Hi") == [Document("No.")]


def test_other_stages_are_refused():
    """A retriever reaches its query and its documents."""
    for stage in ("output", "tool_call", "tool_result"):
        with pytest.raises(UnenforceableError, match=r"protect\(retriever\) cannot enforce"):
            protect(Finds(), Guard(Guardrail(Flags(), stage=stage)))


def test_a_scorer_of_a_protected_chain_gets_what_was_retrieved(fake_chat, ask, captured):
    """`context` is there for a monitor of the chain, whether the retriever in it is protected or not."""
    seen = []

    @scorer
    def watch(question: str, output: str, context: tuple) -> float:
        seen.append((question, output, sorted(context)))
        return 1.0

    store = InMemoryVectorStore.from_documents([Document("a"), Document("b")], DeterministicFakeEmbedding(size=8))
    guard = Guard(Monitor(watch), **captured.providers)
    for plain in (True, False):
        retriever = store.as_retriever(search_kwargs={"k": 2})
        found = retriever if plain else protect(retriever, guard)
        prompt = ChatPromptTemplate.from_template("{context} {question}")
        chain = {"context": found, "question": RunnablePassthrough()} | prompt | fake_chat() | StrOutputParser()
        ask(protect(chain, guard), "Hi")
        assert guard.flush() == 0
        assert seen == [("Hi", "Hello.", ["a", "b"])]
        seen.clear()


def test_a_callback_refuses_what_it_meets_unprotected(fake_chat):
    """Where some retrievers are protected, the guard's callback takes its rules, and raises at one that is not."""
    guard = Guard(DOCUMENTS)
    with pytest.raises(UnenforceableError, match="GuardCallback cannot enforce"):
        GuardCallback(guard)
    guarded = protect(Finds(), guard)
    config = {"callbacks": [GuardCallback(guard)]}
    assert guarded.invoke("Hi", config)[0].page_content == "a <FAKE>"
    with pytest.raises(UnenforceableError, match=r"GuardCallback at Finds cannot enforce.*put protect\(..., guard\)"):
        Finds().invoke("Hi", config)
