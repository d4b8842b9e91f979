"""Every action of a guardrail, in every call mode of a protected model."""

from __future__ import annotations

import pytest

from llmguard_langchain import protect
from llmguard_middleware import Guard, Guardrail, GuardrailViolation, Hash, Mask, Reask, Replace
from llmguard_middleware.scorers import pii
from llmguard_middleware.testing import Flags

EDITS = [
    ("redact", "I am <EMAIL_ADDRESS>."),
    (Mask(keep_last=2), "I am ***********om."),
    (Hash(key="k" * 16), "I am <EMAIL_ADDRESS:3esevkkcwmodysao>."),
    (Replace("(nothing)"), "(nothing)"),
]


@pytest.mark.parametrize(("action", "seen"), EDITS, ids=["redact", "mask", "hash", "replace"])
def test_what_an_edit_makes_of_input_and_output(provider, ask, action, seen):
    """The model gets the edited prompt, and the caller the edited answer."""
    model = provider(answer="I am hong@b.co.com.", size=3)
    for stage in ("input", "output"):
        rule = Guardrail(pii("EMAIL_ADDRESS"), stage=stage, action=action)
        answer = "".join(ask(protect(model, Guard(rule)), "I am hong@b.co.com."))
        told = answer if stage == "output" else model.received[0][0].content
        assert told == seen


def test_pseudonyms_go_to_the_model_and_originals_come_back(provider, ask):
    """The model works with a placeholder; the answer that mentions it has the original, however it was cut."""
    model = provider(answer=lambda messages: f"You are {messages[0].content}, <EMAIL_ADDRESS_1>.", size=3)
    pieces = ask(protect(model, Guard(Guardrail(pii(), stage="input", action="pseudonymize"))), "a@b.co")
    assert "".join(pieces) == "You are a@b.co, <EMAIL_ADDRESS_1>."
    assert model.received[0][0].content.startswith("<EMAIL_ADDRESS_1_")


def test_in_refusal_mode_a_stopped_call_answers(provider, ask):
    """A guard with a refusal answers with it in place of raising, at either end."""
    for stage in ("input", "output"):
        model = provider(answer="bad", size=1)
        guard = Guard(Guardrail(Flags(when="bad"), stage=stage), refusal="I cannot help with that.")
        assert "".join(ask(protect(model, guard), "bad")) == "I cannot help with that."
        assert len(model.received) == (0 if stage == "input" else 1)


def test_the_model_is_asked_again(provider, ask):
    """Reask sends the answer and what was wrong with it back to the model, at most so many times, then blocks."""
    model = provider(answer="bad", size=1)
    rule = Guardrail(Flags(when="bad"), stage="output", action=Reask(feedback="Be nice.", attempts=2))
    with pytest.raises(GuardrailViolation):
        ask(protect(model, Guard(rule)), "Hi")
    told = [[(message.type, message.content) for message in messages] for messages in model.received]
    first, turn = [("human", "Hi")], [("ai", "bad"), ("human", "Be nice.")]
    assert told == [first, first + turn, first + turn + turn]


@pytest.mark.parametrize("when", ["bad", "never"])
def test_a_racing_guardrail_releases_nothing_before_its_verdict(provider, ask, when):
    """The model works meanwhile, and its answer waits for the verdict."""
    model = provider(answer="fine", size=1)
    protected = protect(model, Guard(Guardrail(Flags(when=when), stage="input", race=True)))
    if when == "bad":
        with pytest.raises(GuardrailViolation):
            ask(protected, "bad")
    else:
        assert "".join(ask(protected, "bad")) == "fine"
    assert len(model.received) == 1
