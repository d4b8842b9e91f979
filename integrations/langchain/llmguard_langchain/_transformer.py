"""GuardTransformer: documents through the guard before they are split, embedded and kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.documents import BaseDocumentTransformer, Document

from llmguard_middleware import Guard, GuardrailViolation
from llmguard_middleware._guard import expect_guard
from llmguard_middleware._ingestion import cleaned, reaches_embedding
from llmguard_middleware._steps import Steps, arun, run

__all__ = ["GuardTransformer"]


class GuardTransformer(BaseDocumentTransformer):
    """Cleans documents at ingestion by the guard's guardrails of the stage "embedding": their texts and metadata.

    Documents are changed in copies. Clean before you split: what a border cuts in two is not found.

    Args:
        guard: its guardrails of the stage "embedding" apply here.
        drop: leave out a document that a guardrail blocks; otherwise it is raised.

    Raises:
        UnenforceableError: if the guard has rules, and none of that stage.
        GuardrailViolation: from the transformation, if a guardrail blocks a document.
    """

    def __init__(self, guard: Guard, *, drop: bool = False) -> None:
        expect_guard(guard, "GuardTransformer(guard)")
        reaches_embedding(guard, "GuardTransformer(guard)")
        self._guard, self._drop = guard, drop

    def transform_documents(self, documents: Sequence[Document], **kwargs: Any) -> Sequence[Document]:
        """The documents as they may be kept."""
        return run(self._kept(documents, self._guard.check))

    async def atransform_documents(self, documents: Sequence[Document], **kwargs: Any) -> Sequence[Document]:
        """The documents as they may be kept."""
        return await arun(self._kept(documents, self._guard.acheck))

    def _kept(self, documents: Sequence[Document], check: Callable[..., Any]) -> Steps[list[Document]]:
        kept: list[Document] = []
        for document in documents:
            before = {"page_content": document.page_content, "metadata": document.metadata}
            try:
                after = yield from cleaned(before, check)
            except GuardrailViolation:
                if not self._drop:
                    raise
            else:
                kept.append(document if after is before else document.model_copy(update=after))
        return kept
