"""What of LangChain the adapter imports: what an application uses, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from string import Template

import pytest

from llmguard_langchain._protect._kinds import is_a

# Each is slow to load or to make classes of, and is no part of a model or a prompt.
HEAVY = (
    "langchain",
    "langchain_core.language_models.llms",
    "langchain_core.retrievers",
    "langchain_core.runnables.configurable",
    "langchain_core.runnables.fallbacks",
    "langchain_core.runnables.retry",
    "langchain_core.tools",
    "langgraph",
    "opentelemetry.exporter",
    "opentelemetry.sdk",
    "phonenumbers",
    "presidio_anonymizer",
    "pydantic.v1",
    "tenacity",
    "llmguard_langchain._protect._fallbacks",
    "llmguard_langchain._protect._models._text",
    "llmguard_langchain._protect._retriever",
    "llmguard_langchain._protect._runnables",
    "llmguard_langchain._protect._tool",
    "llmguard_middleware.config",
    "llmguard_middleware.testing",
)
APPLICATION = """
import sys
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.prompts import ChatPromptTemplate
prompt, model = ChatPromptTemplate.from_messages([("user", "hello")]), FakeListChatModel(responses=["a"])
(prompt | model).invoke({})  # LangChain imports more with its first call
theirs = set(sys.modules)
"""
OURS = """
from llmguard_langchain import GuardCallback, instrument, protect
from llmguard_middleware import Guard
guard = Guard()
chain = prompt | protect(model, guard)
assert chain.invoke({}, {"callbacks": [GuardCallback(guard)]}).content == "a"
print(*(set(sys.modules) - theirs))
"""
BLOCKED = """
from llmguard_langchain import protect
from llmguard_middleware import Guard, Guardrail, GuardrailViolation, scorer

@scorer
def leak(text):
    return "secret" in text

guard = Guard(Guardrail(leak, stage="$stage", action="block"))
$made
try:
    thing.invoke($given)
except GuardrailViolation as violation:
    print(violation)
"""
KINDS = {
    "text model": (
        "output",
        "'hello'",
        """
from langchain_core.language_models import FakeListLLM
thing = protect(FakeListLLM(responses=["a secret"]), guard)
""",
    ),
    "fallbacks and retries": (
        "output",
        "'hello'",
        """
from langchain_core.language_models.fake_chat_models import FakeListChatModel
model = protect(FakeListChatModel(responses=["a secret"]), guard)
thing = model.with_retry().with_fallbacks([FakeListChatModel(responses=["b"])])
""",
    ),
    "retriever": (
        "retrieval",
        "'hello'",
        """
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
class Known(BaseRetriever):
    def _get_relevant_documents(self, query, *, run_manager):
        return [Document("a secret")]
thing = protect(Known(), guard)
""",
    ),
    "tool": (
        "tool_result",
        "{'what': 'this'}",
        """
from langchain_core.tools import StructuredTool
def look(what: str) -> str:
    return "a secret"
thing = protect(StructuredTool.from_function(look, description="Looks."), guard)
""",
    ),
    "function": (
        "output",
        "'hello'",
        """
from langchain_core.runnables import RunnableLambda
thing = protect(RunnableLambda(lambda text: "a secret"), guard)
""",
    ),
    "configurable": (
        "output",
        "'hello', {'configurable': {'said': ['a secret']}}",
        """
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.runnables import ConfigurableField
model = FakeListChatModel(responses=["a"])
thing = protect(model.configurable_fields(responses=ConfigurableField(id="said")), guard)
""",
    ),
}


def run(program: str) -> str:
    """What a fresh process says; of what this one has imported it knows nothing."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_a_model_does_not_need_is_not_imported() -> None:
    """An application of a model and a prompt loads none of LangChain's other kinds of things on our account."""
    beyond = run(APPLICATION + OURS).split()
    assert "llmguard_langchain._protect._models._chat" in beyond
    assert [name for name in HEAVY if name in beyond] == []


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_guarded_though_it_is_the_first_thing_protected(kind: str) -> None:
    """What a kind of thing needs is imported with it, in a process that has protected nothing before."""
    stage, given, made = KINDS[kind]
    assert (
        run(Template(BLOCKED).substitute(stage=stage, given=given, made=made))
        == f'guardrail "leak" of guard "default" blocked the {stage}'
    )


def test_nothing_is_of_a_class_that_nobody_has_loaded() -> None:
    """A class is asked for by its names; a module that is not loaded, or lacks the name, is no reason to fail."""
    assert is_a(1, "builtins", "str", "int")
    assert not is_a(1, "builtins", "str")
    assert not is_a(1, "builtins", "Integer")
    assert is_a(1, "builtins", "Integer", "int")
    assert not is_a(1, "no.such.module", "int")
