"""A callback blocks what is anywhere in a message, a tool call or a document, just as a protected copy does."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from langchain.tools import InjectedState
from langchain_core.documents import Document
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import ToolException, tool
from pydantic import BaseModel

from llmguard_langchain import GuardCallback, protect
from llmguard_langchain._callback._runs import Runs
from llmguard_middleware import Guard, Guardrail, GuardrailViolation, Reask, UnenforceableError, scorer
from llmguard_middleware.testing import Flags

S = "ЖЦЩЮЯ"  # the secret, of letters that are nowhere else


class Person(BaseModel):
    """A parsed answer."""

    name: str


ESCAPED = json.dumps({"to": S})  # each letter as \\u0416 and the like
CALL = {"name": "f", "args": {"to": S}, "id": "1"}
RAW = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": f'{{"to": "{S}"}}'}}
FORMS: dict[str, dict[str, Any]] = {
    "string": {"content": S},
    "parts": {"content": ["a", {"type": "text", "text": S}]},
    "across parts": {"content": [{"type": "text", "text": S[:2]}, {"type": "text", "text": S[2:]}]},
    "citation": {"content": [{"type": "text", "text": "a", "annotations": [{"type": "citation", "cited_text": S}]}]},
    "reasoning": {"content": [{"type": "reasoning", "reasoning": S}]},
    "thinking": {"content": [{"type": "thinking", "thinking": S, "signature": "c2ln"}]},
    "reasoning_content": {"content": "a", "additional_kwargs": {"reasoning_content": S}},
    "tool_use": {"content": [{"type": "tool_use", "id": "t1", "name": "send", "input": {"to": S}}]},
    "tool_calls": {"content": "", "tool_calls": [CALL]},
    "invalid_tool_calls": {"content": "", "invalid_tool_calls": [{**CALL, "args": f'{{"a": "{S}', "error": "no"}]},
    "kwargs_tool_calls": {"content": "", "additional_kwargs": {"tool_calls": [RAW]}},
    "escaped": {"content": "", "additional_kwargs": {"function_call": {"name": "f", "arguments": ESCAPED}}},
    "refusal": {"content": "", "additional_kwargs": {"refusal": S}},
    "parsed": {"content": "a", "additional_kwargs": {"parsed": Person(name=S)}},
    "unheard_of": {"content": [{"type": "brand_new", "whatever": {"it": ["is", S]}}]},
}


def blocks(stage: Any, **options: Any) -> Guardrail:
    """Blocks the secret."""
    return Guardrail(Flags(when=S), stage=stage, **options)


def watching(*rules: Any, **options: Any) -> Any:
    """A config with the callback of these rules."""
    return {"callbacks": [GuardCallback(Guard(*rules, **options))]}


@pytest.fixture
def model(fake_chat):
    """A model that answers with this message, and is not protected."""

    class Answering(fake_chat):
        def _generate(self, messages, *args, **kwargs):
            return ChatResult(generations=[ChatGeneration(message=self._said(messages))])

    return lambda message: Answering(answer=lambda _: message)


@pytest.mark.parametrize("form", FORMS)
def test_an_answer_is_blocked_wherever_the_text_is(model, whole_mode, form, captured):
    """In whatever form a model says it, a text that blocks an answer blocks it, and the span says so."""
    config = watching(blocks("output"), **captured.providers)
    with pytest.raises(GuardrailViolation):
        use(model(AIMessage(**FORMS[form])), "Hi", config, whole_mode)
    (span,) = [span for span in captured.spans if span.kind == "CLIENT"]
    assert (span.name, span.attributes["llmguard.verdict"]) == ("chat fake-1", "blocked")


@pytest.mark.parametrize("form", FORMS)
def test_a_prompt_is_blocked_wherever_the_text_is(fake_chat, ask, form):
    """In every call mode the model is not called, whatever the form of the text in its history."""
    chat = fake_chat()
    with pytest.raises(GuardrailViolation):
        ask(chat, [AIMessage(**FORMS[form]), HumanMessage("And?")], watching(blocks("input", roles=("assistant",))))
    assert chat.received == []


TOLD = {
    "content": ToolMessage(S, tool_call_id="1"),
    "blocks": ToolMessage([{"type": "text", "text": S}], tool_call_id="1"),
    "artifact": ToolMessage("a", tool_call_id="1", artifact={"rows": [Person(name=S)]}),
}


@pytest.mark.parametrize("form", TOLD)
def test_a_prompt_is_blocked_for_what_a_tool_gave(fake_chat, ask, form):
    """A tool's message is judged with its content blocks and its artifact before the model gets it."""
    chat = fake_chat()
    with pytest.raises(GuardrailViolation):
        ask(chat, [HumanMessage("Hi"), TOLD[form]], watching(blocks("input")))
    assert chat.received == []


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stage", ["input", "output"])
def test_the_scorer_sees_what_a_protected_copy_shows_it(model, stage, form):
    """The same texts in the same order, by callback and by protect."""
    seen = []
    message = AIMessage(**FORMS[form])
    history = [HumanMessage("Hi", name="Ann"), message] if stage == "input" else "Hi"
    for way in ("protect", "callback"):
        flags = Flags(when="never")
        rule = Guardrail(flags, stage=stage, **({"roles": ("user", "assistant")} if stage == "input" else {}))
        if way == "protect":
            protect(model(message), Guard(rule)).invoke(history)
        else:
            model(message).invoke(history, watching(rule))
        seen.append(flags.seen)
    assert seen[0] == seen[1]
    assert seen[0]


def test_an_answer_that_passes_is_the_providers_own(model):
    """What is judged and found good reaches the caller untouched."""
    message = AIMessage(content=[{"type": "text", "text": "a"}], tool_calls=[{**CALL, "args": {"to": "b"}}])
    said = model(message).invoke("Hi", watching(blocks("output"), blocks("input", name="in")))
    assert said.model_dump(exclude={"id"}) == message.model_dump(exclude={"id"})


def test_a_callback_never_asks_again(model):
    """A rule that would ask the model again blocks, also for what is in a tool call."""
    chat = model(AIMessage(**FORMS["tool_calls"]))
    with pytest.raises(GuardrailViolation):
        chat.invoke("Hi", watching(blocks("output", action=Reask("No."))))
    assert len(chat.received) == 1


def test_a_log_rule_records_what_is_in_a_stream(fake_chat, ask_streamed, captured):
    """On a stream a rule that only logs sees the whole message at its end."""
    ask_streamed(
        fake_chat(answer=f"a {S}", size=2), "Hi", watching(blocks("output", action="log"), **captured.providers)
    )
    (span,) = [span for span in captured.spans if span.kind == "CLIENT"]
    assert span.attributes["llmguard.verdict"] == "flagged"


def test_text_models_are_judged_at_both_ends(whole_mode):
    """A text model's prompt and its answer are blocked."""
    for stage, prompt in (("input", S), ("output", "Hi")):
        with pytest.raises(GuardrailViolation):
            use(FakeListLLM(responses=[S]), prompt, watching(blocks(stage)), whole_mode)


# Tools and retrievers.


def use(thing: Any, given: Any, config: Any, mode: str) -> Any:
    """Call it."""
    return thing.invoke(given, config) if mode == "invoke" else asyncio.run(thing.ainvoke(given, config))


@dataclass
class Row:
    """What a tool may be given and give."""

    name: str


def looks(result: Any) -> Any:
    """A tool that gives this and keeps what it was given."""
    received: list[Any] = []

    @tool
    def look(who: Any, rows: list[Any]) -> Any:
        """Look somebody up."""
        received.append(who)
        if isinstance(result, Exception):
            raise result
        return result() if callable(result) else result

    look.handle_tool_error = True
    return look, received


ARGUMENTS = {
    "value": {"who": S, "rows": []},
    "deep": {"who": "a", "rows": [{"of": [S]}]},
    "key": {"who": {S: 1}, "rows": []},
}
CALLED = {
    "args": lambda args: args,
    "call": lambda args: {"name": "look", "args": args, "id": "1", "type": "tool_call"},
}


@pytest.mark.parametrize("called", CALLED)
@pytest.mark.parametrize("form", ARGUMENTS)
def test_a_tool_is_not_called_with_what_is_blocked(whole_mode, form, called, captured):
    """Arguments are judged however deep, before the tool runs; its span has ended as blocked."""
    look, received = looks("found")
    with pytest.raises(GuardrailViolation):
        use(look, CALLED[called](ARGUMENTS[form]), watching(blocks("tool_call"), **captured.providers), whole_mode)
    assert received == []
    (span,) = [span for span in captured.spans if span.name == "execute_tool look"]
    assert span.attributes["llmguard.verdict"] == "blocked"


RESULTS = {
    "text": f"found {S}",
    "dict": {"rows": [{"name": S}]},
    "model": Person(name=S),
    "dataclass": Row(S),
    "message": ToolMessage([{"type": "text", "text": S}], tool_call_id="1", artifact={"n": 1}),
    "artifact": ToolMessage("a", tool_call_id="1", artifact=[Person(name=S)]),
    "handled error": ToolException(S),
}


@pytest.mark.parametrize("called", CALLED)
@pytest.mark.parametrize("form", RESULTS)
def test_what_a_tool_gives_is_blocked_before_the_caller_has_it(whole_mode, form, called, captured):
    """Results, artifacts and handled errors are judged, as a message and as what the tool returned."""
    look, received = looks(RESULTS[form])
    given = CALLED[called]({"who": "a", "rows": []})
    with pytest.raises(GuardrailViolation):
        use(look, given, watching(blocks("tool_result"), **captured.providers), whole_mode)
    assert received == ["a"]
    (span,) = [span for span in captured.spans if span.name == "execute_tool look"]
    assert span.attributes["llmguard.verdict"] == "blocked"


def test_a_result_that_nobody_can_look_into_is_refused():
    """An object without texts that can be found is refused where a guardrail acts, and not where it only logs."""
    look, _ = looks(object())
    given: Any = {"who": "a", "rows": []}
    with pytest.raises(UnenforceableError, match="GuardCallback at look, whose result holds a object that nobody"):
        look.invoke(given, watching(blocks("tool_result")))
    look.invoke(given, watching(blocks("tool_result", action="log")))


class Finds(BaseRetriever):
    """Finds two documents."""

    text: str

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return [Document("a"), Document(self.text)]


def test_a_document_is_blocked_before_the_caller_has_it(whole_mode, captured):
    """One blocked document stops the retrieval; what is found good passes as it is."""
    config = watching(blocks("retrieval"), **captured.providers)
    with pytest.raises(GuardrailViolation):
        use(Finds(text=f"is {S}"), "Hi", config, whole_mode)
    assert captured.span("retrieval Finds").attributes["llmguard.verdict"] == "blocked"
    assert use(Finds(text="b"), "Hi", config, whole_mode) == [Document("a"), Document("b")]


PARTS = {
    "tool_call": lambda: (looks("found")[0], ARGUMENTS["value"]),
    "tool_result": lambda: (looks(S)[0], {"who": "a", "rows": []}),
    "retrieval": lambda: (Finds(text=S), "Hi"),
}


@pytest.mark.parametrize("stage", PARTS)
def test_two_guards_both_judge_a_part(stage, whole_mode):
    """What another guard protects is judged by the callback's as well, and edits that it asks for are refused."""
    thing, given = PARTS[stage]()
    guarded = protect(thing, Guard(Guardrail(Flags(when="never"), stage=stage), name="other"))
    with pytest.raises(GuardrailViolation):
        use(guarded, given, watching(blocks(stage)), whole_mode)
    edits = Guard(blocks(stage, action="redact"))
    protect(thing, edits)  # or the callback would be refused when it is made
    with pytest.raises(UnenforceableError, match=r"GuardCallback at \w+ cannot enforce"):
        use(guarded, given, {"callbacks": [GuardCallback(edits)]}, whole_mode)


@pytest.mark.parametrize("stage", PARTS)
def test_nothing_is_judged_twice(stage, whole_mode):
    """Where a part is protected with the callback's guard, its rules see each text once, under another guard, too."""
    thing, given = PARTS[stage]()
    flags, others = Flags(when="never"), Flags(when="never")
    guard, other = Guard(Guardrail(flags, stage=stage)), Guard(Guardrail(others, stage=stage), name="other")
    use(
        protect(protect(thing, guard), other),
        given,
        {"callbacks": [GuardCallback(guard), GuardCallback(other)]},
        whole_mode,
    )
    assert flags.seen == others.seen
    assert len(set(flags.seen)) == len(flags.seen) > 0


@pytest.mark.parametrize("stage", PARTS)
def test_edits_of_parts_are_refused_when_the_callback_is_made(stage):
    """A rule that changes what tools or retrievers get or give is refused, unless something protected enforces it."""
    guard = Guard(blocks(stage, action="redact"))
    with pytest.raises(UnenforceableError, match=r"GuardCallback cannot enforce.*protect the retriever or the tool"):
        GuardCallback(guard)
    protect(PARTS[stage]()[0], guard)
    GuardCallback(guard)


@pytest.mark.parametrize("stage", ["tool_result", "retrieval"])
def test_what_comes_after_its_span_was_given_up_is_judged(stage, captured):
    """What a tool or a retriever gives after nobody heard of it for too long does not get past the guardrails."""
    guard = Guard(blocks(stage), **captured.providers)

    def late() -> str:
        for _ in range(6):
            Runs.of(guard).sweep()  # as if it had taken an hour
        return S

    class Slow(Finds):
        def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
            return [Document(late())]

    slow, given = (Slow(text=""), "Hi") if stage == "retrieval" else (looks(late)[0], {"who": "a", "rows": []})
    with pytest.raises(GuardrailViolation):
        slow.invoke(given, {"callbacks": [GuardCallback(guard)]})
    spans = [span for span in captured.spans if not span.name.startswith("llmguard")]
    assert [span.attributes.get("llmguard.verdict") for span in spans] == [None, "blocked"]
    assert len({span.name for span in spans}) == 1


def test_a_scorer_may_use_a_tool_that_its_own_guard_watches():
    """What a scorer calls is not judged in turn, or there would be no end."""
    look, received = looks("found")

    @scorer
    def asks(text: str) -> bool:
        return "damn" in look.invoke({"who": f"about {text}", "rows": []}, config)

    config = watching(Guardrail(asks, stage="tool_call"), Guardrail(asks, stage="tool_result", name="after"))
    assert look.invoke({"who": "a", "rows": []}, config) == "found"
    assert received == ["about a", "a", "about found"]


# Agents.


def agent_blocked(make_agent: Any, tool_calls: Any, stage: str, mode: str) -> Any:
    """An agent whose tool is called with, or gives, what the callback's guard blocks at this stage."""
    agent = make_agent(tool_calls({"who": S if stage == "tool_call" else "a"}), "Done.", result=S)
    with pytest.raises(GuardrailViolation):
        agent.ask("Hi", mode, **watching(blocks(stage)))
    return agent


def test_an_agents_tool_is_not_called_with_what_is_blocked(make_agent, tool_calls, agent_mode):
    """In every call mode of an agent the callback stops a tool's call before the tool runs."""
    assert agent_blocked(make_agent, tool_calls, "tool_call", agent_mode).looked_up == []


def test_an_agents_model_does_not_get_what_a_tool_gave(make_agent, tool_calls, agent_mode):
    """In every call mode of an agent what a blocked tool gave reaches neither the model nor the caller."""
    agent = agent_blocked(make_agent, tool_calls, "tool_result", agent_mode)
    assert agent.looked_up == ["a"]
    assert S not in agent.received
    assert S not in agent.shown


def test_what_langchain_injects_into_a_tool_is_no_argument(make_agent, tool_calls, installed):
    """The state that a tool is given beside its arguments is not judged with them; the first versions do not tell."""

    @tool
    def notes(who: str, state: Annotated[dict[str, Any], InjectedState]) -> str:
        """Note who was asked for."""
        return f"{who} of {len(state['messages'])}"

    call = AIMessage("", tool_calls=[{"name": "notes", "args": {"who": "a"}, "id": "1"}])
    agent = make_agent(call, "Done.", tools=[notes])
    if installed.injected_apart:
        assert agent.ask(f"about {S}", **watching(blocks("tool_call")))["messages"][-1].content == "Done."
    else:
        with pytest.raises(GuardrailViolation):
            agent.ask(f"about {S}", **watching(blocks("tool_call")))
