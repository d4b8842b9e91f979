"""attach: what an engine tells beside its answer is judged as the answer is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.base.response.schema import Response, StreamingResponse
from llama_index.core.query_engine import CustomQueryEngine

from llmguard_llamaindex import attach
from llmguard_middleware import Guard, Guardrail, GuardrailViolation
from llmguard_middleware.scorers import pii


class Rows:
    """What nobody can look into."""

    said = "row@example.com"


class Table(CustomQueryEngine):
    """An engine that answers from a database, and shows what it found."""

    streamed: bool = False

    def custom_query(self, query_str: str) -> Any:
        """As LlamaIndex's SQL engines do."""
        metadata = {"sql_query": "SELECT mail", "result": [("row@example.com", 1)], "rows": Rows()}
        if self.streamed:
            return StreamingResponse((piece for piece in ("fine",)), metadata=metadata)
        return Response("fine", metadata=metadata)


@pytest.mark.parametrize("streamed", [True, False])
async def test_metadata_are_redacted(streamed: bool) -> None:
    """Rows that an engine shows beside its answer leave redacted, and what nobody can look into does not leave."""
    engine = attach(Table(streamed=streamed), Guard(Guardrail(pii(), stage="output", action="redact")))
    for response in (engine.query("Who?"), await engine.aquery("Who?")):
        assert response.metadata == {
            "sql_query": "SELECT mail", "result": [["<EMAIL_ADDRESS>", 1]], "rows": "<Rows>"
        }  # fmt: skip


@pytest.mark.parametrize("streamed", [True, False])
def test_metadata_are_blocked(streamed: bool) -> None:
    """Rows that a guardrail stops stop the query."""
    engine = attach(Table(streamed=streamed), Guard(Guardrail(pii(), stage="output")))
    with pytest.raises(GuardrailViolation):
        engine.query("Who?")


def test_metadata_of_documents(engine: Callable[..., Any], chatting: Any, shelf: Any) -> None:
    """Metadata that are those of documents belong to these: a rule for answers leaves them."""
    shelf.nodes[0].metadata = {"author": "bob@example.com"}
    response = attach(engine(chatting), Guard(Guardrail(pii(), stage="output"))).query("Who?")
    assert response.metadata["0"] == {"author": "bob@example.com"}
