"""GuardTransformer: documents and nodes through the guard before they are split, embedded and kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llama_index.core.schema import BaseNode, MetadataMode, TransformComponent
from pydantic import PrivateAttr

from llmguard_middleware import Guard, GuardrailViolation
from llmguard_middleware._guard import expect_guard
from llmguard_middleware._ingestion import cleaned, reaches_embedding
from llmguard_middleware._steps import Steps, arun, run

from ._documents import keep_hidden
from ._seal import Seal

__all__ = ["GuardTransformer"]


class GuardTransformer(TransformComponent):
    """Cleans nodes at ingestion by the guard's guardrails of the stage "embedding": their texts and metadata.

    A transformation of an `IngestionPipeline`, or of an index. Nodes are changed in copies. Clean before you split:
    what a border cuts in two is not found.

    Args:
        guard: its guardrails of the stage "embedding" apply here.
        drop: leave out a node that a guardrail blocks; otherwise it is raised.

    Raises:
        UnenforceableError: if the guard has rules, and none of that stage.
        GuardrailViolation: from the pipeline, if a guardrail blocks a node.
    """

    _held: Seal = PrivateAttr()
    _drop: bool = PrivateAttr()

    def __init__(self, guard: Guard, *, drop: bool = False) -> None:
        expect_guard(guard, "GuardTransformer(guard)")
        reaches_embedding(guard, "GuardTransformer(guard)")
        super().__init__()
        self._drop = drop
        self._held = Seal((guard,), type(self), type(self))

    def __reduce_ex__(self, _: Any) -> tuple[Callable[..., GuardTransformer], tuple[Guard, bool]]:
        return _again, (self._held.guards[0], self._drop)

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex serialises it."""
        return "GuardTransformer"

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """With the rules, by which a pipeline's cache tells whether what it keeps is still right."""
        return {**super().to_dict(**kwargs), "guard": self._held.guards[0].digest, "drop": self._drop}

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """The nodes as they may be kept."""
        return run(self._kept(nodes, self._held.guards[0].check))

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """The nodes as they may be kept."""
        return await arun(self._kept(nodes, self._held.guards[0].acheck))

    def _kept(self, nodes: Sequence[BaseNode], check: Callable[..., Any]) -> Steps[list[BaseNode]]:
        kept: list[BaseNode] = []
        for node in nodes:
            kept += yield from self._passed(node, check)
        return kept

    def _passed(self, node: BaseNode, check: Callable[..., Any]) -> Steps[list[BaseNode]]:
        try:
            return [(yield from _node(node, check))]
        except GuardrailViolation:
            if not self._drop:
                raise
            return []


def _again(guard: Guard, drop: bool) -> GuardTransformer:
    return GuardTransformer(guard, drop=drop)


def _node(node: Any, check: Callable[..., Any]) -> Steps[Any]:
    """A node with its text, its metadata and those of its neighbours, which it tells of, as they may be kept."""
    around = {
        relation: [one.metadata for one in (infos if isinstance(infos, list) else [infos])]
        for relation, infos in node.relationships.items()
    }
    before = (node.get_content(metadata_mode=MetadataMode.NONE), node.metadata, list(around.values()))
    after = yield from cleaned(before, check)
    if after is before:
        return node
    text, metadata, related = after
    told = node.model_copy(update={"metadata": metadata, "relationships": _related(node.relationships, related)})
    keep_hidden(told, node.metadata)
    if text != before[0]:
        told.set_content(text)
    return told


def _related(relationships: Any, metadata: Sequence[Any]) -> Any:
    told: dict[Any, Any] = {}
    for (relation, infos), each in zip(relationships.items(), metadata, strict=True):
        listed = infos if isinstance(infos, list) else [infos]
        changed = [one.model_copy(update={"metadata": new}) for one, new in zip(listed, each, strict=True)]
        told[relation] = changed if isinstance(infos, list) else changed[0]
    return told
