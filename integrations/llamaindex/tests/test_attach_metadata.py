"""attach: what an engine tells beside its answer is judged as the answer is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.base.response.schema import PydanticResponse, Response, StreamingResponse
from llama_index.core.query_engine import CustomQueryEngine
from pydantic import BaseModel, ValidationError

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


def test_numbers_of_a_database_are_judged() -> None:
    """Rows of nothing but numbers may hold what an answer must not."""

    class Numbers(CustomQueryEngine):
        def custom_query(self, query_str: str) -> Any:
            return Response("fine", metadata={"result": [(4111111111111111, 2)]})

    engine = attach(Numbers(), Guard(Guardrail(pii(), stage="output", action="redact")))
    assert engine.query("Who?").metadata == {"result": [["<CREDIT_CARD>", 2]]}


class Person(BaseModel):
    """What an engine was to find."""

    mail: str
    card: int = 0


class Parsing(CustomQueryEngine):
    """An engine whose answers are objects."""

    found: Person

    def custom_query(self, query_str: str) -> Any:
        """As LlamaIndex's synthesizers give with `output_cls`."""
        return PydanticResponse(self.found, source_nodes=[], metadata={"by": "eve@example.com"})


def test_an_answer_that_is_an_object_is_judged() -> None:
    """Its texts are edited in a copy of it; a number that is edited is none, which its class says."""
    found = Person(mail="bob@example.com")
    guard = Guard(Guardrail(pii(), stage="output", action="redact"))
    response = attach(Parsing(found=found), guard).query("Who?")
    assert isinstance(response, PydanticResponse)
    assert response.response == Person(mail="<EMAIL_ADDRESS>")
    assert response.metadata == {"by": "<EMAIL_ADDRESS>"}
    assert found.mail == "bob@example.com"
    with pytest.raises(ValidationError, match="<CREDIT_CARD>"):
        attach(Parsing(found=Person(mail="x", card=4111111111111111)), guard).query("Who?")
