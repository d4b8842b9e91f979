"""A judge's prompt: filled in one pass, from what a call has by name."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard_middleware import Call, ConfigurationError, Guard, Guardrail, Message, Monitor
from llmguard_middleware.scorers import judge
from llmguard_middleware.scorers._judge._template import Template

MESSAGES = (Message("system", "Be kind."), Message("user", "Hi {output}"), Message("assistant", "Hello"))


@pytest.mark.parametrize(
    ("prompt", "values", "filled"),
    [
        ("Is {output} right?", {"output": "{output} {{x}} {y}"}, "Is {output} {{x}} {y} right?"),
        ('{{"score": 1}} {a}{b}', {"a": "{b}", "b": "{a}"}, '{"score": 1} {b}{a}'),
        ("{{{a}}}", {"a": "x"}, "{x}"),
        ("a } b {a}", {"a": "x"}, "a } b x"),
        ("{context}", {"context": ("one", "two")}, "one\n\ntwo"),
        ("{messages}", {"messages": MESSAGES}, "system: Be kind.\nuser: Hi {output}\nassistant: Hello"),
        ("{messages.user}|{messages[-1]}", {"messages": MESSAGES}, "Hi {output}|Hello"),
        ("{inputs}", {"inputs": {"foo": "바", "n": 1}}, '{"foo": "바", "n": 1}'),
        ("{inputs.foo.bar[0]}", {"inputs": {"foo": {"bar": ["deep"]}}}, "deep"),
        ("{질문}", {"질문": "왜?"}, "왜?"),
        ("[{output}]", {"output": None}, "[]"),
        ("{output}", {"output": "a\ud800b"}, "a?b"),
        ("{output}", {"output": {"when": object}}, '{"when": "<class \'object\'>"}'),
    ],
)
def test_a_prompt_is_filled(prompt: str, values: dict[str, Any], filled: str) -> None:
    """Texts as they are, documents one below the other, messages with who said them, all else as JSON."""
    assert Template(prompt).fill(values).prompt == filled


@given(
    st.dictionaries(st.sampled_from(["a", "b", "output"]), st.text(), min_size=3, max_size=3), st.text("{}ab output")
)
def test_what_users_say_never_expands(values: dict[str, str], noise: str) -> None:
    """Any text, braces and names of places included, is in the prompt as it was, and nothing else is."""
    values = {name: value + "{a}{b}{output}{{" + noise for name, value in values.items()}
    plain = {name: value.encode("utf-8", "replace").decode() for name, value in values.items()}
    filled = Template("<{a}|{b}|{output}|{{a}}>").fill(values).prompt
    assert filled == f"<{plain['a']}|{plain['b']}|{plain['output']}|{{a}}>"


@given(st.text("{}[].ab0 \n", max_size=30))
def test_any_prompt_is_usable_or_refused_in_one_sentence(prompt: str) -> None:
    """Nothing else is raised, and what is usable can be filled with what it names."""
    try:
        template = Template(prompt)
    except ConfigurationError as error:
        sentence = str(error)
        assert "\n" not in sentence.replace(prompt, "")
        return
    values = {name: [[["x"]]] for name in template.names}
    try:
        template.fill(values)
    except LookupError:
        assert re.search(r"[.\[]", prompt)


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ("", "the prompt of a judge is a text that names what it is about"),
        (7, "the prompt of a judge is a text that names what it is about"),
        ("Is it good?", "the prompt of a judge names nothing of the call"),
        ("Only {{output}}", "the prompt of a judge names nothing of the call"),
        (
            "{output",
            'the prompt of a judge has a brace that is not closed; write {name} for a value of the call and "{{"',
        ),
        ('{"score": 1} {output}', 'the prompt of a judge has "{"score": 1}"; write {name}'),
        ("{output!r}", 'the prompt of a judge has "{output!r}"; write {name}'),
        ("{}", 'the prompt of a judge has "{}"; write {name}'),
        ("{call}", "the prompt of a judge asks for {call}, which is no text; name what it holds"),
        (
            "truthfullness",
            '"truthfullness" is no ready prompt, and names nothing of the call in braces: did you mean "tru',
        ),
    ],
)
def test_a_prompt_that_is_none_is_refused(prompt: Any, sentence: str) -> None:
    """One sentence that says what to write."""
    with pytest.raises(ConfigurationError) as caught:
        judge(prompt, model=good)
    assert str(caught.value).startswith(sentence)


def good(_: str) -> str:
    """A model that likes everything."""
    return '{"reasoning": "yes", "score": 1}'


def test_the_call_is_asked_for_what_the_prompt_names() -> None:
    """Each name is a parameter; what a call lacks is told as for any scorer, and column_map renames."""
    seen: list[str] = []

    def model(prompt: str) -> str:
        seen.append(prompt)
        return good(prompt)

    asked = judge("{output} to {question} by {style}", model=model, column_map={"style": "tone"})
    guard = Guard(Monitor(asked))

    @guard.op
    def answer(question: str, tone: str) -> str:
        return question + tone

    answer("why?", "noir")
    assert guard.flush(timeout=10) == 0
    assert seen[0].endswith("why?noir to why? by noir")
    with pytest.raises(TypeError, match="missing a required argument"):
        asked.score(output="x")


def test_a_prompt_that_names_output_is_refused_at_other_stages() -> None:
    """As any scorer that asks for it: `text` is what is judged at every stage."""
    with pytest.raises(ConfigurationError, match="text"):
        Guardrail(judge("{output}", model=good), stage="input")
    rule = Guardrail(judge("Is {text} rude?", model=good, above=0.5), stage="input")
    assert Guard(rule).check("hi", stage="input").outcome == "blocked"


def test_no_documents_and_no_such_part_are_no_score() -> None:
    """The model is not even asked."""
    asked: list[str] = []
    grounded = judge("{output} by {context}", model=asked.append)
    assert grounded.score(output="x", context=()).metadata["reason"] == "no_context"
    deep = judge("{inputs.foo}", model=asked.append)
    score = deep.score(inputs={"bar": "secret"})
    assert (score.metadata["reason"], score.unscored, asked) == ("no_input", True, [])
    assert "secret" not in score.explanation


def test_a_real_call_offers_what_prompts_name() -> None:
    """A chat call by its messages: the last question, the system text, all of it."""
    call = Call("chat", messages=MESSAGES, answered=True, output="Hello")
    template = Template("{question}|{system}|{output}|{messages.assistant}")
    assert template.fill(call.available()).prompt == "Hi {output}|Be kind.|Hello|Hello"
