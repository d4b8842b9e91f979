"""GuardPostprocessor: the retrieval guardrails as a node postprocessor, for any query or chat engine."""

from __future__ import annotations

from typing import Any

from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle
from pydantic import PrivateAttr

from llmguard_middleware import Call, Guard
from llmguard_middleware._flow import Flow
from llmguard_middleware._guard import expect_guard
from llmguard_middleware._steps import Steps, arun, run

from ._retrieval import asked, judged, unjudged
from ._root import root_of
from ._seal import Seal

__all__ = ["GuardPostprocessor"]


class GuardPostprocessor(BaseNodePostprocessor):
    """Judges the retrieved documents by the guard's retrieval guardrails.

    A redaction changes a copy of the node, so that index and document store stay as they are.

    Args:
        guard: its guardrails of the stage "retrieval" apply here; its other rules do not.

    Raises:
        UnenforceableError: if the guard has rules, and none of that stage.
        GuardrailViolation: from the query, if a guardrail blocks a document.
    """

    _held: Seal = PrivateAttr()

    def __init__(self, guard: Guard, **kwargs: Any) -> None:
        expect_guard(guard, "GuardPostprocessor(guard)")
        if not guard.has_rules("retrieval"):  # a guard of other rules that nothing enforces yet: put here by mistake
            rest = [rule for policy in guard.policies for rule in policy.guardrails if rule.stage not in guard.covered]
            where, instead = "GuardPostprocessor(guard)", 'it judges documents only, by rules with stage="retrieval"'
            guard.refuse(rest, where, instead)
        guard.covers("retrieval")
        super().__init__(**kwargs)
        self._held = Seal((guard,), type(self), type(self))

    def __reduce_ex__(self, _: Any) -> tuple[type[GuardPostprocessor], tuple[Guard, ...]]:
        return GuardPostprocessor, self._held.guards

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex serialises it."""
        return "GuardPostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return run(self._steps(nodes, query_bundle))

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return await arun(self._steps(nodes, query_bundle))

    def _steps(self, nodes: list[NodeWithScore], query: QueryBundle | None) -> Steps[list[NodeWithScore]]:
        (guard,) = self._held.guards
        root = root_of(guard)
        if not unjudged(guard, nodes):
            if root is not None:
                root.context = tuple(node.get_content() for node in nodes)
            return nodes
        call = Call("retrieval", inputs=asked(query.query_str) if query else {})
        with Flow(guard, call, owner=self, outermost=False) as flow:
            nodes = yield from judged(flow, nodes)
            flow.answered(output=None)
        return nodes
