"""GuardMiddleware: set-up, structured answers, pseudonyms, commands, and what it costs to make."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from langchain.agents import AgentState
from langchain.agents.structured_output import ProviderStrategy, StructuredOutputValidationError, ToolStrategy
from langchain.tools import ToolRuntime
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import BaseTool, tool
from langgraph.types import Command
from pydantic import BaseModel, field_validator

import llmguard_langchain
from llmguard_langchain import GuardMiddleware, protect
from llmguard_middleware import (
    ConfigurationError,
    Guard,
    Guardrail,
    GuardrailViolation,
    Pseudonymize,
    UnenforceableError,
)
from llmguard_middleware.scorers import pii
from llmguard_middleware.testing import Flags, captured_telemetry

USER, RESULT = "amy@example.com", "bob@example.com"


def redacting(*stages, action="redact", **options):
    """A guard that edits addresses at these stages."""
    return Guard(*(Guardrail(pii(), stage=stage, action=action, name=stage) for stage in stages), **options)


def _python(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_langchain_is_imported_when_it_is_needed():
    """Importing the package loads neither langchain nor langgraph; asking for the middleware does."""
    assert _python(
        "import sys, llmguard_langchain\n"
        "print('langchain' in sys.modules, 'langgraph' in sys.modules)\n"
        "llmguard_langchain.GuardMiddleware\n"
        "print('langchain' in sys.modules)"
    ).split() == ["False", "False", "True"]


def test_a_missing_langchain_is_named():
    """Without langchain the middleware says in one sentence what to install, and the rest works."""
    told = _python(
        "import sys; sys.modules['langchain'] = None\nfrom llmguard_langchain import protect\n"
        "from llmguard_langchain import GuardMiddleware"
    )
    assert told.splitlines()[-1] == (
        'ImportError: GuardMiddleware needs the package langchain: pip install "llmguard-langchain[agents]"'
    )


def test_no_other_name_is_made_up():
    """The package has no attribute that it does not list."""
    with pytest.raises(AttributeError, match="no attribute 'GuardMiddelware'"):
        llmguard_langchain.GuardMiddelware  # noqa: B018 - the access is the test


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("guard",), r"GuardMiddleware\(guard\) takes a Guard and was given str"),
        ((Guard(), {"state": "clean"}), "clean.*raw"),
        ((Guard(), {"on_block": "drop"}), "drop.*remove"),
        ((redacting("input", action="pseudonymize"), {"state": "redacted"}), 'rule "input" gives placeholders'),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, sentence):
    """A mistake is told when the middleware is made, in one sentence."""
    guard, *options = arguments
    with pytest.raises(ConfigurationError, match=sentence):
        GuardMiddleware(guard, **dict(*options))


@pytest.mark.parametrize("stage", ["embedding", "retrieval"])
def test_a_stage_that_no_agent_has_is_refused(stage):
    """A rule for documents or embeddings is refused at once, unless something else of the guard reaches them."""
    guard = redacting(stage)
    with pytest.raises(UnenforceableError, match=f'cannot enforce guardrail "{stage}".*guard the retriever'):
        GuardMiddleware(guard)
    guard.covers(stage)
    GuardMiddleware(guard)


def test_a_new_policy_is_checked():
    """Rules that are put in force later are refused as those of the beginning."""
    guard = Guard()
    GuardMiddleware(guard)
    with pytest.raises(UnenforceableError):
        guard.swap(redacting("embedding").policy)


def test_two_guards_both_apply(make_agent, whole_mode):
    """Two middlewares with guards of different names are both enforced."""
    guards = redacting("input"), Guard(Guardrail(Flags(when="wrong"), stage="output"), name="second")
    agent = make_agent("wrong", middleware=[GuardMiddleware(guard) for guard in guards])
    with pytest.raises(GuardrailViolation):
        agent.ask(USER, whole_mode)
    assert USER not in agent.received


def test_a_protected_model_is_guarded_once(make_agent, whole_mode):
    """A model that the same guard protects already is scored once, and has one span."""
    scored = []

    def notes(text: str) -> bool:
        scored.append(text)
        return False

    with captured_telemetry() as captured:
        guard = Guard(Guardrail(notes, stage="output"), **captured.providers)
        protected = protect(make_agent("good").model, guard)
        make_agent(model=protected, middleware=[GuardMiddleware(guard)]).ask("hi", whole_mode)
        assert scored == ["good"]
        assert [span.name for span in captured.spans] == ["chat", "invoke_agent"]


def test_the_class_of_guarded_models_is_made_once(make_agent, whole_mode):
    """A call of the agent makes no new class: two calls reach the model through the same one."""
    kinds = set()

    class Notes(type(make_agent().model)):
        def _next(self, messages):
            kinds.add(type(self))
            return AIMessage("good")

    agent = make_agent(model=Notes(), middleware=[GuardMiddleware(Guard())])
    agent.ask("hi", whole_mode)
    agent.ask("hi", whole_mode)
    assert len(kinds) == 1
    assert Notes not in kinds


class Person(BaseModel):
    """A structured answer."""

    name: str
    mail: str


class Strict(Person):
    """One whose address must be one."""

    @field_validator("mail")
    @classmethod
    def _is_address(cls, mail: str) -> str:
        assert "@" in mail
        return mail


PERSON = {"name": "Amy", "mail": USER}
CALLED = AIMessage("", tool_calls=[{"name": "Person", "args": PERSON, "id": "1"}])
WRITTEN = '{"name": "Amy", "mail": "amy\\u0040example.com"}'


@pytest.mark.parametrize(("strategy", "answer"), [(ToolStrategy, CALLED), (ProviderStrategy, WRITTEN)])
def test_a_structured_answer_holds_what_may_go_out(make_agent, whole_mode, strategy, answer):
    """The texts of a structured answer are edited, and it is of the same type; what repeats it is edited too."""
    agent = make_agent(answer, middleware=[GuardMiddleware(redacting("output"))], response_format=strategy(Person))
    result = agent.ask("hi", whole_mode)
    assert result["structured_response"] == Person(name="Amy", mail="<EMAIL_ADDRESS>")
    assert not [m for m in result["messages"] if not isinstance(m, AIMessage) and USER in m.text]


@pytest.mark.parametrize(("strategy", "answer"), [(ToolStrategy, CALLED), (ProviderStrategy, WRITTEN)])
def test_a_structured_answer_can_be_blocked(make_agent, whole_mode, strategy, answer):
    """A text inside a structured answer stops the run as any other."""
    guard = redacting("output", action="block")
    agent = make_agent(answer, middleware=[GuardMiddleware(guard)], response_format=strategy(Person))
    with pytest.raises(GuardrailViolation):
        agent.ask("hi", whole_mode)


def test_a_structured_answer_is_validated_again(make_agent, whole_mode, installed):
    """An answer that is none any more once it is edited is not given out."""
    agent = make_agent(
        WRITTEN, middleware=[GuardMiddleware(redacting("output"))], response_format=ProviderStrategy(Strict)
    )
    with pytest.raises(StructuredOutputValidationError if installed.own_parse_errors else ValueError) as raised:
        agent.ask("hi", whole_mode)
    assert USER not in str(raised.value)


@pytest.mark.parametrize("mode", ["invoke", "ainvoke", "stream:messages", "astream:messages"])
@pytest.mark.parametrize("restore_tools", [False, True])
def test_pseudonyms_go_to_models_and_originals_to_the_caller(make_agent, tool_calls, mode, restore_tools):
    """The model sees placeholders in every call of the run, the caller the originals however the answer is streamed,
    and a tool the originals if the rule says so.
    """

    class Repeats(type(make_agent().model)):
        def _next(self, messages):
            self.received.append(messages)
            who = messages[0].text.split()[-1]
            return tool_calls({"who": who}, text=f"Seek {who}") if len(messages) == 1 else AIMessage(f"It is {who}")

    action = Pseudonymize(restore_tools=restore_tools)
    agent = make_agent(model=Repeats(), middleware=[GuardMiddleware(redacting("input", action=action))])
    agent.ask(f"I am {USER}", mode)
    assert len(agent.model.received) == 2
    assert USER not in agent.received
    assert f"Seek {USER}" in agent.shown
    assert f"It is {USER}" in agent.shown
    assert (agent.looked_up == [USER]) is restore_tools


@tool
def find(who: str, runtime: ToolRuntime) -> Any:
    """Writes to the state."""
    return Command(
        update={
            "messages": [ToolMessage(f"It is {RESULT}.", tool_call_id=runtime.tool_call_id)],
            "notes": [RESULT, {"page": Document(RESULT)}],
        }
    )


@tool(response_format="content_and_artifact")
def search(who: str) -> Any:
    """Finds documents."""
    return f"It is {RESULT}.", [Document(RESULT, metadata={"of": RESULT})]


@tool
def record(who: str) -> Any:
    """Gives a value."""
    return {"mail": RESULT, "about": Opaque()}


class Opaque:
    """Nobody can look into this."""

    def __repr__(self) -> str:
        return RESULT


class Counts(BaseTool):
    """A tool with a state of its own."""

    name: str = "counts"
    description: str = "Counts."
    calls: int = 0

    def _run(self, who: str) -> str:
        self.calls += 1
        return f"{self.calls} {RESULT}"


class Notes(AgentState):
    """A state with a channel of its own."""

    notes: list[Any]


@pytest.mark.parametrize("mode", ["invoke", "ainvoke", "stream:updates", "stream:debug", "astream_events:v2"])
@pytest.mark.parametrize("kind", [find, search, record])
def test_results_of_any_kind_are_judged(make_agent, kind, mode):
    """A command's messages and values, an artifact, a value: no text of a result goes on as it was."""
    call = AIMessage("", tool_calls=[{"name": kind.name, "args": {"who": "x"}, "id": "1"}])
    agent = make_agent(
        call, "good", tools=[kind], middleware=[GuardMiddleware(redacting("tool_result"))], state_schema=Notes
    )
    agent.ask("hi", mode)
    assert "<EMAIL_ADDRESS>" in agent.received
    assert RESULT not in agent.received
    assert RESULT not in agent.shown


def test_a_tool_keeps_its_state(make_agent, whole_mode):
    """What a tool writes to itself is there at its next call."""
    counts = Counts()
    call = AIMessage("", tool_calls=[{"name": "counts", "args": {"who": "x"}, "id": "1"}])
    agent = make_agent(call, "good", tools=[counts], middleware=[GuardMiddleware(redacting("tool_result"))])
    agent.ask("hi", whole_mode)
    assert agent.ask("hi", whole_mode)["messages"][2].content == "2 <EMAIL_ADDRESS>"
    assert counts.calls == 2


def test_what_langchain_passes_to_tools_is_not_judged(make_agent, whole_mode):
    """The state and the runtime that a tool asks for are the program's own, and reach it as they are."""
    seen = []

    @tool
    def look(who: str, runtime: ToolRuntime) -> str:
        """Looks at the state."""
        seen.append((who, runtime.state["messages"][0].content))
        return "seen"

    call = AIMessage("", tool_calls=[{"name": "look", "args": {"who": RESULT}, "id": "1"}])
    agent = make_agent(call, "good", tools=[look], middleware=[GuardMiddleware(redacting("tool_call"))])
    agent.ask(USER, whole_mode)
    assert seen == [("<EMAIL_ADDRESS>", USER)]


def test_an_answer_is_asked_for_again(make_agent, whole_mode):
    """The reask action works below an agent as it does for a model."""
    agent = make_agent(
        "wrong",
        "good",
        middleware=[GuardMiddleware(Guard(Guardrail(Flags(when="wrong"), stage="output", action="reask")))],
    )
    assert agent.ask("hi", whole_mode)["messages"][-1].content == "good"


def test_a_bypass_is_one_for_the_whole_run(make_agent, tool_calls, whole_mode):
    """Inside `guard.bypass()` nothing of the agent is judged."""
    guard = redacting("input", "output", "tool_call", "tool_result", action="block")
    agent = make_agent(tool_calls({"who": USER}), USER, result=RESULT, middleware=[GuardMiddleware(guard)])
    with guard.bypass(reason="a test"):
        agent.ask(USER, whole_mode)
    assert agent.looked_up == [USER]
