"""What a user writes by mistake ends in one sentence that says what to write, and never in a call without a guard."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document, MockEmbedding, VectorStoreIndex
from llama_index.core.agent.workflow import ReActAgent
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.tools import FunctionTool

from llmguard_llamaindex import GuardPostprocessor, attach, detach, instrument, protect, uninstrument
from llmguard_middleware import ConfigurationError, Guard, Guardrail, UnenforceableError
from llmguard_middleware.testing import Flags

pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")

README = (Path(__file__).parents[1] / "README.md").read_text().partition("## Mistakes")[2].partition("\n## ")[0]
BAD = Flags(when="bad", name="bad")


def _guard(*stages: Any) -> Guard:
    return Guard(*(Guardrail(BAD, stage=stage, name=f"bad-{stage}") for stage in stages or ("input",)))


GUARD = _guard()


def look(place: str) -> str:
    """Look there."""
    return place


@pytest.fixture
def things() -> dict[str, Any]:
    """One of each kind that LlamaIndex has, over one document."""
    llm = MockLLM()
    index = VectorStoreIndex.from_documents([Document(text="Hello.")], embed_model=MockEmbedding(embed_dim=2))
    tool = FunctionTool.from_defaults(look)
    engine = index.as_query_engine(llm=llm)
    return {
        "llm": llm,
        "index": index,
        "embedding": MockEmbedding(embed_dim=2),
        "engine": engine,
        "synthesizer": engine._response_synthesizer,
        "chat": index.as_chat_engine(chat_mode="context", llm=llm, memory=ChatMemoryBuffer.from_defaults()),
        "simple": SimpleChatEngine.from_defaults(llm=llm, memory=ChatMemoryBuffer.from_defaults()),
        "retriever": index.as_retriever(),
        "tool": tool,
        "tools": [tool],
        "agent": ReActAgent(name="helper", tools=[tool], llm=llm),
        "function": look,
        "text": "gpt-5",
        "None": None,
        "guard": GUARD,
        "class": BaseQueryEngine,
        "class of an LLM": MockLLM,
    }


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("guard", "not Guard: write attach(engine, guard), in this order"),
        ("class", "not the class BaseQueryEngine: write attach(BaseQueryEngine(...), guard)"),
        ("llm", "not MockLLM: write protect(llm, guard), which gives a guarded copy to build engines and agents with"),
        ("tool", "not FunctionTool: write protect(llm, guard), which gives a guarded copy"),
        ("index", "not VectorStoreIndex: attach what you make of it, attach(index.as_query_engine(), guard)"),
        ("embedding", "not MockEmbedding: write protect(embedding, guard), which gives a guarded copy"),
        ("synthesizer", "not CompactAndRefine: build it with llm=protect(llm, guard)"),
        ("None", "not NoneType: give the object itself"),
        ("function", "not function: of a function write @guard.op, or protect(FunctionTool.from_defaults(function)"),
    ],
)
def test_what_attach_does_not_take_is_named(things: dict[str, Any], given: str, sentence: str) -> None:
    """attach() names what it was given, and what to write for that."""
    with pytest.raises(ConfigurationError, match=re.escape(sentence)):
        attach(things[given], GUARD)


def test_the_first_of_two_swapped_arguments_is_the_one_that_is_named(things: dict[str, Any]) -> None:
    """attach(guard, engine) is told of the order, not of the engine."""
    with pytest.raises(ConfigurationError, match="not Guard: write attach"):
        attach(GUARD, things["engine"])


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("guard", "not Guard: write protect(llm, guard), in this order"),
        ("class of an LLM", "not the class MockLLM: write protect(MockLLM(...), guard)"),
        ("engine", "not RetrieverQueryEngine: write attach(engine, guard)"),
        ("chat", "not ContextChatEngine: write attach(engine, guard)"),
        ("retriever", "not VectorIndexRetriever: write attach(engine, guard)"),
        ("agent", "not ReActAgent: write attach(engine, guard)"),
        ("index", "not VectorStoreIndex: attach what you make of it, attach(index.as_query_engine(), guard)"),
        ("function", "not function: of a function write @guard.op, or protect(FunctionTool.from_defaults(function)"),
        ("tools", "not list: give them one by one"),
        ("text", "not str: give the object itself, say protect(OpenAI(...), guard)"),
        ("None", "not NoneType: give the object itself, say protect(OpenAI(...), guard)"),
    ],
)
def test_what_protect_does_not_take_is_named(things: dict[str, Any], given: str, sentence: str) -> None:
    """protect() names what it was given, and what to write for that."""
    with pytest.raises(ConfigurationError, match=re.escape(sentence)):
        protect(things[given], GUARD)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("llm", "not MockLLM: protect() gave a copy, so use the original in its place"),
        ("guard", "not Guard: write detach(engine)"),
        ("class", "not the class BaseQueryEngine: write detach(BaseQueryEngine(...))"),
        ("index", "not VectorStoreIndex: it has no guard of its own"),
        ("None", "not NoneType: it has no guard of its own"),
    ],
)
def test_what_detach_does_not_take_is_named(things: dict[str, Any], given: str, sentence: str) -> None:
    """detach() names what it was given; a protected copy does not lose its guard so."""
    with pytest.raises(ConfigurationError, match=re.escape(sentence)):
        detach(things[given])


def test_a_protected_copy_is_not_detached() -> None:
    """detach(protect(llm, guard)) raises, and the copy goes on judging."""
    copy = protect(MockLLM(), GUARD)
    with pytest.raises(ConfigurationError, match="use the original"):
        detach(copy)
    with pytest.raises(Exception, match="blocked the input"):
        copy.complete("bad")


@pytest.mark.parametrize("kind", ["engine", "chat", "retriever", "agent"])
def test_what_was_never_attached_is_detached_already(things: dict[str, Any], kind: str) -> None:
    """detach() of an engine without a guard gives it back as it is."""
    thing = things[kind]
    before = (type(thing), dict(vars(thing)))
    assert detach(thing) is thing
    assert (type(thing), dict(vars(thing))) == before


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (Guard, "was given the class Guard; build one of your rules: Guard(rule, ...)"),
        (None, "was given NoneType; build one of your rules: Guard(rule, ...)"),
        (Guardrail(BAD, stage="input"), "was given Guardrail; build one of your rules: Guard(rule, ...)"),
        ([GUARD], "was given list; one guard holds all rules"),
        ("guard.yaml", "was given str; read a file of rules with Guard.from_config(...)"),
        (Path("guard.yaml"), "Path; read a file of rules with Guard.from_config(...)"),
    ],
)
def test_what_is_no_guard_is_named(things: dict[str, Any], given: Any, sentence: str) -> None:
    """Wherever a guard is due, what was given in its place is named, and what to write."""
    for due in (
        lambda: attach(things["engine"], given),
        lambda: attach(things["agent"], given),
        lambda: protect(things["llm"], given),
        lambda: protect(things["tool"], given),
        lambda: GuardPostprocessor(given),
        lambda: instrument(given) if given is not None else attach(things["chat"], given),
        lambda: uninstrument(given) if given is not None else attach(things["chat"], given),
    ):
        with pytest.raises(ConfigurationError, match=re.escape(sentence)):
            due()


@pytest.mark.parametrize(
    ("kind", "stage", "sentence"),
    [
        ("engine", "tool_call", "attach(agent, guard), protect(llm, guard) or protect(tool, guard) reaches it"),
        ("engine", "embedding", "protect(embedding, guard) or GuardTransformer(guard) reaches it: do that first"),
        ("chat", "tool_result", "attach(agent, guard) or protect(tool, guard) reaches it: do that first"),
        ("retriever", "output", 'a retriever has no answer; its documents are stage="retrieval"'),
        ("simple", "retrieval", "SimpleChatEngine, which shows no retriever, cannot enforce"),
        ("agent", "retrieval", "attach(retriever, guard) or GuardPostprocessor(guard) reaches it: do that first"),
        ("llm", "retrieval", "attach(retriever, guard) or GuardPostprocessor(guard) reaches it: do that first"),
        ("tool", "input", "attach(engine, guard) or protect(llm, guard) reaches it: do that first"),
        ("tool", "output", "attach(engine, guard) or protect(llm, guard) reaches it: do that first"),
    ],
)
def test_a_rule_of_a_stage_that_is_not_reached_says_what_reaches_it(
    things: dict[str, Any], kind: str, stage: str, sentence: str
) -> None:
    """A rule at the wrong place is refused with the place where its stage is."""
    put = protect if kind in {"llm", "tool"} else attach
    with pytest.raises(UnenforceableError, match=re.escape(sentence)):
        put(things[kind], _guard(stage))


def test_what_the_sentence_says_first_is_enough(things: dict[str, Any]) -> None:
    """One guard for a model, a retriever, a tool and an agent: once something reaches a stage, no other refuses it."""
    guard = _guard("input", "retrieval", "tool_call")
    with pytest.raises(UnenforceableError, match="bad-retrieval"):
        attach(things["agent"], guard)
    GuardPostprocessor(guard)
    assert attach(things["agent"], guard) is things["agent"]
    assert attach(things["retriever"], guard) is things["retriever"]
    assert protect(things["tool"], guard) is not things["tool"]


def test_a_postprocessor_without_a_rule_for_documents_is_refused() -> None:
    """GuardPostprocessor(guard) of a guard whose rules it cannot enforce says so, unless another enforces them."""
    with pytest.raises(UnenforceableError, match='it judges documents only, by rules with stage="retrieval"'):
        GuardPostprocessor(_guard("input"))
    guard = _guard("input")
    protect(MockLLM(), guard)
    GuardPostprocessor(guard)
    GuardPostprocessor(Guard())


@pytest.mark.parametrize("kind", ["engine", "retriever"])
def test_what_has_no_memory_has_no_state(things: dict[str, Any], kind: str) -> None:
    """state="raw" for what keeps no messages is a mistake."""
    with pytest.raises(ConfigurationError, match="has none: leave it out"):
        attach(things[kind], GUARD, state="raw")


@pytest.mark.parametrize("kind", ["engine", "chat", "retriever", "agent"])
def test_a_word_for_state_that_nobody_knows(things: dict[str, Any], kind: str) -> None:
    """state= takes two words, and the nearest is named."""
    with pytest.raises(ConfigurationError, match='did you mean "redacted"'):
        attach(things[kind], GUARD, state="redact")  # type: ignore[arg-type]  # a mistake


@pytest.mark.parametrize("kind", ["chat", "agent"])
def test_another_state_than_before_is_refused(things: dict[str, Any], kind: str) -> None:
    """Attached again with another state=, what a memory keeps would not be what was just asked for."""
    thing = attach(things[kind], GUARD, state="raw")
    with pytest.raises(ConfigurationError, match="state="):
        attach(thing, GUARD)
    assert attach(thing, GUARD, state="raw") is thing
    assert attach(detach(thing), GUARD) is thing


def test_two_guards_of_one_agent_keep_one_state(things: dict[str, Any]) -> None:
    """A second guard cannot turn a memory that keeps raw messages into one that stores the first one's placeholders."""
    agent = attach(things["agent"], Guard(Guardrail(BAD, stage="input", action="pseudonymize")), state="raw")
    with pytest.raises(ConfigurationError, match='attached with state="raw"'):
        attach(agent, GUARD)


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        (lambda guard: [guard], AttributeError, "'Guard' object has no attribute 'postprocess_nodes'"),
        (lambda guard: [GuardPostprocessor], TypeError, "missing 1 required positional argument: 'nodes'"),
        (GuardPostprocessor, AttributeError, "'tuple' object has no attribute 'callback_manager'"),
    ],
    ids=["a guard", "the class", "no list"],
)
def test_what_is_no_list_of_postprocessors_lets_no_query_through(
    things: dict[str, Any], given: Any, error: type[Exception], match: str
) -> None:
    """LlamaIndex itself raises for node_postprocessors=[guard] and the like, and the README says what to write."""
    with pytest.raises(error, match=match):
        things["index"].as_query_engine(llm=things["llm"], node_postprocessors=given(_guard("retrieval"))).query("bad")
    assert match in README


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_a_forgotten_await_is_pythons_own_sentence(things: dict[str, Any]) -> None:
    """What was not awaited has no answer in it, and the README says so."""

    async def forgets() -> None:
        engine = attach(things["engine"], GUARD)
        with pytest.raises(AttributeError, match="'coroutine' object has no attribute 'response'"):
            _ = engine.aquery("bad").response  # type: ignore[attr-defined]  # a mistake
        with pytest.raises(AttributeError, match="'WorkflowHandler' object has no attribute 'response'"):
            _ = attach(things["agent"], GUARD).run("fine").response

    asyncio.run(forgets())
    assert "'coroutine' object has no attribute 'response'" in README
    assert "'WorkflowHandler' object has no attribute 'response'" in README


def test_sync_calls_inside_a_running_loop_are_guarded(things: dict[str, Any]) -> None:
    """A sync query, turn or call in a coroutine is judged as anywhere else."""

    async def syncly() -> None:
        for ask in (
            attach(things["engine"], GUARD).query,
            attach(things["chat"], GUARD).chat,
            protect(things["llm"], GUARD).complete,
        ):
            with pytest.raises(Exception, match=r'guardrail "bad-input".*blocked the input'):
                ask("bad")

    asyncio.run(syncly())
