"""Protected embedding models, and nodes that are cleaned before they are kept."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.schema import BaseNode, NodeRelationship, RelatedNodeInfo, TextNode
from pydantic import Field

from llmguard_llamaindex import GuardTransformer, protect
from llmguard_middleware import Guard, Guardrail, GuardrailViolation, Monitor, UnenforceableError, scorer
from llmguard_middleware.scorers import pii
from llmguard_middleware.testing import Flags

CLEANS = Guardrail(pii(), stage="embedding", action="redact")
BLOCKS = Guardrail(Flags(when="bad"), stage="embedding")


class Letters(BaseEmbedding):
    """How many letters and spaces a text has; notes what reaches it."""

    received: list[str] = Field(default_factory=list)

    def _get_text_embedding(self, text: str) -> list[float]:
        self.received.append(text)
        return [float(len(text)), float(text.count(" "))]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def embedded(model: BaseEmbedding, texts: list[str], way: str) -> list[Any]:
    """The vectors of texts, in one of LlamaIndex's ways."""
    if way.startswith("a"):
        return asyncio.run(_aembedded(model, texts, way))
    if way == "batch":
        return model.get_text_embedding_batch(texts)
    if way == "nodes":
        return [node.embedding for node in model([TextNode(text=text) for text in texts])]
    if way == "several":
        return [model.get_agg_embedding_from_queries([text]) for text in texts]
    return [getattr(model, f"get_{way}_embedding")(text) for text in texts]


async def _aembedded(model: BaseEmbedding, texts: list[str], way: str) -> list[Any]:
    if way == "abatch":
        return await model.aget_text_embedding_batch(texts)
    if way == "anodes":
        return [node.embedding for node in await model.acall([TextNode(text=text) for text in texts])]
    return [await getattr(model, f"aget_{way[1:]}_embedding")(text) for text in texts]


WAYS = ["text", "query", "batch", "nodes", "several", "atext", "aquery", "abatch", "anodes"]


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
        embedded(protect(model, Guard(BLOCKS, refusal="No.")), ["bad"], way)
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
    assert seen == [["<EMAIL_ADDRESS>"] if way in ("batch", "abatch", "nodes", "anodes") else "<EMAIL_ADDRESS>"]


class Arrays(Letters):
    """The same as arrays."""

    def _get_text_embedding(self, text: str) -> Any:
        return np.array(super()._get_text_embedding(text))


@pytest.mark.parametrize("way", ["text", "query", "batch", "abatch"])
def test_vectors_may_be_arrays(telemetry: Any, way: str) -> None:
    """They come back as the model made them, and the span tells their dimensions."""
    (vector,) = embedded(protect(Arrays(), telemetry.guard(CLEANS)), ["b c"], way)
    assert isinstance(vector, np.ndarray)
    assert vector.tolist() == [3.0, 1.0]
    assert telemetry.spans[0].attributes["gen_ai.embeddings.dimension.count"] == 2


def test_each_call_is_one_span(telemetry: Any) -> None:
    """With how many texts and dimensions there were."""
    protect(Letters(), telemetry.guard(CLEANS)).get_text_embedding_batch(["a", "b", "c"])
    (span,) = telemetry.spans
    assert span.attributes["gen_ai.operation.name"] == "embeddings"
    assert span.attributes["llmguard.embeddings.input.count"] == 3
    assert span.attributes["gen_ai.embeddings.dimension.count"] == 2


def test_an_index_is_built_and_asked_by_what_is_clean() -> None:
    """What an index embeds goes through the guard: nodes when it is built, questions when it is asked."""
    model = Letters()
    index = VectorStoreIndex([TextNode(text="call 010-1234-5678")], embed_model=protect(model, Guard(CLEANS)))
    index.as_retriever().retrieve("who is a@b.co?")
    assert model.received == ["call <PHONE_NUMBER>", "who is <EMAIL_ADDRESS>?"]


def test_a_copy_of_a_guarded_model_is_guarded() -> None:
    """Shallow, deep, and once more by the same guard."""
    guard = Guard(CLEANS)
    guarded = protect(Letters(), guard)
    assert protect(guarded, guard) is guarded
    for twin in (copy.copy(guarded), copy.deepcopy(guarded)):
        twin.get_text_embedding("a@b.co")
        assert twin.received[-1] == "<EMAIL_ADDRESS>"


def test_a_guard_without_a_rule_for_it_is_a_mistake() -> None:
    """Rules that nothing here enforces are refused, unless one of the stage is there."""
    only_input = Guard(Guardrail(Flags(when="x"), stage="input"))
    for put in (lambda guard: protect(Letters(), guard), GuardTransformer):
        with pytest.raises(UnenforceableError, match='by rules with stage="embedding"'):
            put(only_input)


def transformed(transformer: GuardTransformer, nodes: list[BaseNode], way: str) -> Sequence[BaseNode]:
    """Sync or async."""
    return transformer(nodes) if way == "sync" else asyncio.run(transformer.acall(nodes))


@pytest.mark.parametrize("way", ["sync", "async"])
def test_nodes_are_cleaned_before_they_are_kept(way: str) -> None:
    """Their texts, metadata and what they tell of others, in copies; what holds nothing is the same node."""
    parent = RelatedNodeInfo(node_id="p", metadata={"by": "e@f.kr"})
    dirty = TextNode(
        text="mail a@b.co",
        id_="1",
        metadata={"author": {"mail": "c@d.eu"}, "page": 3},
        relationships={NodeRelationship.PARENT: parent, NodeRelationship.CHILD: [parent]},
    )
    clean = TextNode(text="nothing", metadata={"page": 4})
    first, second = transformed(GuardTransformer(Guard(CLEANS)), [dirty, clean], way)
    assert first.get_content() == "mail <EMAIL_ADDRESS>"
    assert first.metadata == {"author": {"mail": "<EMAIL_ADDRESS>"}, "page": 3}
    assert first.node_id == "1"
    assert first.relationships[NodeRelationship.PARENT].metadata == {"by": "<EMAIL_ADDRESS>"}  # type: ignore[union-attr]  # one
    assert first.relationships[NodeRelationship.CHILD][0].metadata == {"by": "<EMAIL_ADDRESS>"}  # type: ignore[index]  # a list
    assert second is clean
    assert dirty.get_content() == "mail a@b.co"
    assert parent.metadata == {"by": "e@f.kr"}


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_blocked_node_is_raised_or_left_out(way: str) -> None:
    """As it was asked for."""
    nodes: list[BaseNode] = [TextNode(text="good"), TextNode(text="fine", metadata={"note": "bad"})]
    with pytest.raises(GuardrailViolation):
        transformed(GuardTransformer(Guard(BLOCKS)), nodes, way)
    assert transformed(GuardTransformer(Guard(BLOCKS), drop=True), nodes, way) == nodes[:1]


def test_a_pipeline_cleans_and_its_cache_knows_by_which_rules() -> None:
    """Another guard is another transformation: what was kept under the first is not taken for its own."""
    cache = IngestionCache()
    documents = [Document(text="mail a@b.co, name")]

    def run(guard: Guard) -> str:
        transformer = GuardTransformer(guard)
        return IngestionPipeline(transformations=[transformer], cache=cache).run(documents=documents)[0].get_content()

    assert run(Guard(CLEANS)) == run(Guard(CLEANS)) == "mail <EMAIL_ADDRESS>, name"
    names = Guard(Guardrail(Flags(when="name"), stage="embedding", action="redact"))
    assert run(names) == "mail a@b.co, <FAKE>"


def test_a_transformer_can_be_pickled() -> None:
    """As pipelines with several workers need it."""
    twin = pickle.loads(pickle.dumps(GuardTransformer(Guard(CLEANS, BLOCKS), drop=True)))
    assert [node.get_content() for node in twin([TextNode(text="bad"), TextNode(text="a@b.co")])] == ["<EMAIL_ADDRESS>"]


@pytest.mark.parametrize("way", ["sync", "async"])
def test_numbers_and_names_in_metadata_are_cleaned_before_they_are_kept(way: str) -> None:
    """A node is embedded with the numbers in its metadata; what was not to be embedded has its new name there, too."""
    node = TextNode(text="x", metadata={"card": 4111111111111111, "page": 3, "a@b.co": "y"})
    node.excluded_embed_metadata_keys = ["a@b.co"]
    (told,) = transformed(GuardTransformer(Guard(CLEANS)), [node], way)
    assert told.metadata == {"card": "<CREDIT_CARD>", "page": 3, "<EMAIL_ADDRESS>": "y"}
    assert told.excluded_embed_metadata_keys == ["<EMAIL_ADDRESS>"]
    assert node.metadata["card"] == 4111111111111111
