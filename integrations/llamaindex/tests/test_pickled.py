"""Pickling what is guarded, where its original can be pickled: what is loaded is guarded, or nothing is loaded."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document, MockEmbedding, VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from pydantic import BaseModel

from llmguard_llamaindex import GuardPostprocessor, attach, protect
from llmguard_middleware import Guard, Guardrail, GuardrailViolation
from llmguard_middleware.scorers import pii

MAIL = "bob@example.com"
LOAD = """
import pickle, sys
from llmguard_middleware import ConfigurationError, Guard, Guardrail, GuardrailViolation
from llmguard_middleware.scorers import pii
kept = Guard(Guardrail(pii(), stage=sys.argv[2]), name=sys.argv[1])
try:
    pickle.load(sys.stdin.buffer).complete("bob@example.com")
except GuardrailViolation:
    print("stopped")
except ConfigurationError as error:
    print(error)
"""


@pytest.fixture
def guard() -> Guard:
    """A guard that blocks personal data."""
    return Guard(Guardrail(pii(), stage="input"), name="shop")


@pytest.fixture
def index() -> VectorStoreIndex:
    """One document."""
    return VectorStoreIndex.from_documents([Document(text="It is blue.")], embed_model=MockEmbedding(embed_dim=4))


def _again(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


def test_an_llm_is_behind_its_guard_again(guard: Guard) -> None:
    """It is of the original's type, answers what it may, and is stopped where it was."""
    loaded = _again(protect(MockLLM(), guard))
    assert isinstance(loaded, MockLLM)
    assert str(loaded.complete("Hi")) == "Hi"
    with pytest.raises(GuardrailViolation):
        loaded.complete(MAIL)


def test_two_guards_come_back_in_their_order(guard: Guard) -> None:
    """The inner one is the inner one."""
    outer = Guard(Guardrail(pii(), stage="input", action="redact"), name="outer")
    loaded = _again(protect(protect(MockLLM(), guard), outer))
    assert str(loaded.complete(MAIL)) == "<EMAIL_ADDRESS>"


def test_a_structured_llm_is_behind_its_guard_again(guard: Guard) -> None:
    """The shell around a guarded LLM is made again around the loaded one."""
    loaded = _again(protect(MockLLM().as_structured_llm(Answer), guard))
    with pytest.raises(GuardrailViolation):
        loaded.complete(MAIL)


class Answer(BaseModel):
    """What a structured answer holds."""

    colour: str


@pytest.mark.parametrize(
    "make",
    [
        lambda index: index.as_query_engine(llm=MockLLM()),
        lambda index: index.as_retriever(),
        lambda index: index.as_chat_engine(chat_mode="simple", llm=MockLLM(), memory=ChatMemoryBuffer.from_defaults()),
        lambda index: index.as_chat_engine(chat_mode="context", llm=MockLLM(), memory=ChatMemoryBuffer.from_defaults()),
        lambda index: index.as_chat_engine(
            chat_mode="condense_question", llm=MockLLM(), memory=ChatMemoryBuffer.from_defaults()
        ),
    ],
    ids=["query engine", "retriever", "simple", "context", "condense_question"],
)
@pytest.mark.filterwarnings("ignore::pydantic.PydanticDeprecatedSince20")
def test_what_is_attached_is_behind_its_guard_again(make: Any, index: VectorStoreIndex, guard: Guard) -> None:
    """The loaded engine or retriever is stopped as the first one is, which stays as it was."""
    engine = attach(make(index), guard)
    for one in (_again(engine), engine):
        call = next(getattr(one, name) for name in ("query", "chat", "retrieve") if hasattr(one, name))
        with pytest.raises(GuardrailViolation):
            call(MAIL)


def test_a_postprocessor_judges_again() -> None:
    """An engine with a GuardPostprocessor is loaded with it."""
    guard = Guard(Guardrail(pii(), stage="retrieval"))
    index = VectorStoreIndex.from_documents([Document(text=MAIL)], embed_model=MockEmbedding(embed_dim=4))
    engine = index.as_query_engine(llm=MockLLM(), node_postprocessors=[GuardPostprocessor(guard)])
    with pytest.raises(GuardrailViolation):
        _again(engine).query("Hi")


def test_an_engine_around_a_protected_llm_keeps_it(index: VectorStoreIndex, guard: Guard) -> None:
    """LlamaIndex leaves out what it cannot pickle, and takes the LLM of `Settings` for it: no guard would be left."""
    loaded = _again(index.as_query_engine(llm=protect(MockLLM(), guard)))
    with pytest.raises(GuardrailViolation):
        loaded.query(MAIL)


@pytest.mark.parametrize(
    ("name", "stage", "said"),
    [
        ("shop", "input", "stopped"),
        ("another", "input", 'this was guarded by guard "shop"'),
        ("shop", "output", 'this was guarded by guard "shop"'),
    ],
)
def test_another_process_needs_the_like_of_the_guard(name: str, stage: str, said: str, guard: Guard) -> None:
    """A guard with the name and the rules takes its place; without one nothing is loaded."""
    given = pickle.dumps(protect(MockLLM(), guard))
    command = [sys.executable, "-c", LOAD, name, stage]
    told = subprocess.run(command, input=given, capture_output=True, check=True, cwd=Path(__file__).parent)
    assert told.stdout.decode().startswith(said)
