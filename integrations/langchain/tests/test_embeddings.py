"""Protected embedding models, and documents that are cleaned before they are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.vectorstores import InMemoryVectorStore

from llmguard_langchain import GuardTransformer, protect
from llmguard_middleware import (
    ConfigurationError,
    Guard,
    Guardrail,
    GuardrailViolation,
    Monitor,
    UnenforceableError,
    scorer,
)
from llmguard_middleware.scorers import pii
from llmguard_middleware.testing import Flags

CLEANS = Guardrail(pii(), stage="embedding", action="redact")
BLOCKS = Guardrail(Flags(when="bad"), stage="embedding")


class Letters(Embeddings):
    """How many letters and spaces a text has; notes what reaches it."""

    def __init__(self) -> None:
        self.received: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One by one, by its own method."""
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Two dimensions."""
        self.received.append(text)
        return [float(len(text)), float(text.count(" "))]


def embedded(model: Embeddings, texts: Sequence[str], way: str) -> list[Any]:
    """The vectors of texts, in one of four ways."""
    if way == "documents":
        return model.embed_documents(list(texts))
    if way == "query":
        return [model.embed_query(text) for text in texts]
    if way == "adocuments":
        return asyncio.run(model.aembed_documents(list(texts)))

    async def each() -> list[Any]:
        return [await model.aembed_query(text) for text in texts]

    return asyncio.run(each())


WAYS = ["documents", "query", "adocuments", "aquery"]


@pytest.mark.parametrize("way", WAYS)
def test_what_is_embedded_is_edited_before_it_leaves(way: str) -> None:
    """The model gets no personal data, in any method; what comes back is as it was; the original is not guarded."""
    model = Letters()
    guarded = protect(model, Guard(CLEANS))
    assert isinstance(guarded, Letters)
    assert embedded(guarded, ["mail a@b.co", "none"], way) == [[20.0, 1.0], [4.0, 0.0]]
    assert model.received == ["mail <EMAIL_ADDRESS>", "none"]
    assert embedded(model, ["a@b.co"], way) == [[6.0, 0.0]]


@pytest.mark.parametrize("way", WAYS)
def test_what_is_blocked_reaches_no_model(way: str) -> None:
    """A blocked text stops the call; there is no refusal in place of a vector."""
    model = Letters()
    with pytest.raises(GuardrailViolation):
        embedded(protect(model, Guard(BLOCKS, refusal="No.")), ["good", "bad"][way.endswith("query") :], way)
    assert model.received == []


@pytest.mark.parametrize("way", WAYS)
def test_a_monitor_sees_what_was_embedded(way: str) -> None:
    """As the guardrails let it pass, not as it was given."""
    seen: list[Any] = []

    @scorer
    def watches(input: str | list[str]) -> float:
        seen.append(input)
        return 1.0

    guard = Guard(CLEANS, Monitor(watches))
    embedded(protect(Letters(), guard), ["a@b.co"], way)
    assert guard.flush(5) == 0
    assert seen == [["<EMAIL_ADDRESS>"] if way.endswith("documents") else "<EMAIL_ADDRESS>"]


class Shaped(Letters):
    """Its vectors as arrays, or one after another."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.make = make

    def embed_documents(self, texts: list[str]) -> Any:
        """However they are made."""
        return self.make(super().embed_documents(texts))


@pytest.mark.parametrize(
    ("make", "told"), [(np.array, 2), (lambda vectors: [np.array(one) for one in vectors], 2), (iter, None)]
)
def test_vectors_come_back_as_the_model_made_them(captured: Any, make: Any, told: int | None) -> None:
    """Arrays and iterators too: none is lost, and the span tells the dimensions where they are seen."""
    vectors = protect(Shaped(make), Guard(CLEANS, **captured.providers)).embed_documents(["a", "b c"])
    assert [list(one) for one in vectors] == [[1.0, 0.0], [3.0, 1.0]]
    assert captured.spans[0].attributes.get("gen_ai.embeddings.dimension.count") == told


class Pictures(Letters):
    """Embeds in ways of its own, too."""

    embed_size = 2

    def embed_images(self, paths: list[str]) -> list[list[float]]:
        """By their paths."""
        return self.embed_documents(paths)

    async def aembed_batch(self, texts: list[str]) -> list[list[float]]:
        """As the one it is not called."""
        return self.embed_documents(texts)


def test_methods_that_a_guard_does_not_know_are_refused_where_a_rule_acts() -> None:
    """In one sentence that names the method and those that are guarded; by rules that only log they go on."""
    model = Pictures()
    guarded = protect(model, Guard(CLEANS))
    with pytest.raises(UnenforceableError, match=r"Pictures.embed_images\(\) cannot .* call embed_documents"):
        guarded.embed_images(["a@b.co"])
    with pytest.raises(UnenforceableError, match="aembed_batch"):
        asyncio.run(guarded.aembed_batch(["a@b.co"]))
    assert model.received == []
    assert guarded.embed_size == 2
    logs = Guard(Guardrail(pii(), stage="embedding", action="log"))
    twice = protect(protect(model, logs), Guard(Monitor(pii())))
    assert twice.embed_images(["a"]) == asyncio.run(twice.aembed_batch(["b"])) == [[1.0, 0.0]]


def test_each_call_is_one_span(captured: Any) -> None:
    """With how many texts and dimensions there were, whatever the model calls on itself."""
    protect(Letters(), Guard(CLEANS, **captured.providers)).embed_documents(["a", "b", "c"])
    (span,) = captured.spans
    assert span.name == "embeddings"
    assert span.attributes["llmguard.embeddings.input.count"] == 3
    assert span.attributes["gen_ai.embeddings.dimension.count"] == 2


def test_a_vector_store_indexes_and_asks_by_what_is_clean() -> None:
    """What a store embeds goes through the guard: documents when they are added, questions when it is asked."""
    model = Letters()
    store = InMemoryVectorStore(protect(model, Guard(CLEANS)))
    store.add_documents([Document("call 010-1234-5678")])
    store.similarity_search("who is a@b.co?")
    assert model.received == ["call <PHONE_NUMBER>", "who is <EMAIL_ADDRESS>?"]


def test_two_guards_both_apply_and_one_applies_once() -> None:
    """The same guard again changes nothing."""
    model = Letters()
    guard = Guard(CLEANS)
    guarded = protect(model, guard)
    assert protect(guarded, guard) is guarded
    protect(guarded, Guard(Guardrail(Flags(when="name"), stage="embedding", action="redact"))).embed_query(
        "a@b.co name"
    )
    assert model.received == ["<EMAIL_ADDRESS> <FAKE>"]


def test_a_guard_without_a_rule_for_it_is_a_mistake() -> None:
    """Rules that nothing here enforces are refused, unless something else does or one of the stage is there."""
    only_input = Guard(Guardrail(Flags(when="x"), stage="input"))
    for put in (lambda guard: protect(Letters(), guard), GuardTransformer):
        with pytest.raises(UnenforceableError, match='by rules with stage="embedding"'):
            put(only_input)
    both = Guard(Guardrail(Flags(when="x"), stage="input"), CLEANS)
    with pytest.raises(UnenforceableError):
        protect(FakeListChatModel(responses=[""]), both)
    protect(Letters(), both)
    protect(FakeListChatModel(responses=[""]), both)
    with pytest.raises(ConfigurationError, match="or an embedding model"):
        protect(str, both)  # type: ignore[type-var]  # a mistake


def transformed(transformer: GuardTransformer, documents: list[Document], way: str) -> Sequence[Document]:
    """Sync or async."""
    if way == "sync":
        return transformer.transform_documents(documents)
    return asyncio.run(transformer.atransform_documents(documents))


@pytest.mark.parametrize("way", ["sync", "async"])
def test_documents_are_cleaned_before_they_are_kept(way: str) -> None:
    """Their texts and metadata, in copies; what holds nothing is the same document."""
    dirty = Document("mail a@b.co", id="1", metadata={"author": {"mail": "c@d.eu"}, "page": 3})
    clean = Document("nothing", metadata={"page": 4})
    first, second = transformed(GuardTransformer(Guard(CLEANS)), [dirty, clean], way)
    assert first.page_content == "mail <EMAIL_ADDRESS>"
    assert first.metadata == {"author": {"mail": "<EMAIL_ADDRESS>"}, "page": 3}
    assert first.id == "1"
    assert second is clean
    assert dirty.page_content == "mail a@b.co"


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_blocked_document_is_raised_or_left_out(way: str) -> None:
    """As it was asked for."""
    documents = [Document("good"), Document("fine", metadata={"note": "bad"})]
    with pytest.raises(GuardrailViolation):
        transformed(GuardTransformer(Guard(BLOCKS)), documents, way)
    assert transformed(GuardTransformer(Guard(BLOCKS), drop=True), documents, way) == documents[:1]


@pytest.mark.parametrize("way", ["sync", "async"])
def test_numbers_in_metadata_are_cleaned_before_they_are_kept(way: str) -> None:
    """A number says as much as the text of it."""
    document = Document("x", metadata={"card": 4111111111111111, "page": 3})
    (told,) = transformed(GuardTransformer(Guard(CLEANS)), [document], way)
    assert told.metadata == {"card": "<CREDIT_CARD>", "page": 3}
    assert document.metadata["card"] == 4111111111111111
