"""Every action of a guardrail, in each of the eight methods of a protected LLM."""

from __future__ import annotations

from typing import Any

import pytest

from llmguard_llamaindex import protect
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
async def test_what_an_edit_makes_of_input_and_output(
    llm: Any, script: Any, ask: Any, mode: str, action: Any, seen: str
) -> None:
    """The model gets the edited prompt, and the caller the edited answer."""
    script.answer = "I am hong@b.co.com."
    for stage in ("input", "output"):
        rule = Guardrail(pii("EMAIL_ADDRESS"), stage=stage, action=action)
        answer = await ask(protect(llm, Guard(rule)), mode, "I am hong@b.co.com.")
        assert seen in (answer if stage == "output" else script.asked[0])  # a chat may be asked as a prompt


async def test_in_refusal_mode_a_stopped_call_answers(llm: Any, script: Any, ask: Any, mode: str) -> None:
    """A guard with a refusal answers with it in place of raising, at either end."""
    script.answer = "bad"
    for stage in ("input", "output"):
        guard = Guard(Guardrail(Flags(when="bad"), stage=stage), refusal="I cannot help with that.")
        assert await ask(protect(llm, guard), mode, "bad") == "I cannot help with that."
    assert len(script.asked) == 1


async def test_the_model_is_asked_again(llm: Any, script: Any, ask: Any, mode: str) -> None:
    """Reask sends the answer and what was wrong with it back to the model, at most so many times, then blocks."""
    script.answer = "bad"
    rule = Guardrail(Flags(when="bad"), stage="output", action=Reask(feedback="Be nice.", attempts=2))
    with pytest.raises(GuardrailViolation):
        await ask(protect(llm, Guard(rule)), mode, "Hi")
    assert [asked.count("Be nice.") for asked in script.asked] == [0, 1, 2]
    assert [asked.count("bad") for asked in script.asked] == [0, 1, 2]


@pytest.mark.parametrize("when", ["bad", "never"])
async def test_a_racing_guardrail_releases_nothing_before_its_verdict(
    llm: Any, script: Any, ask: Any, mode: str, when: str
) -> None:
    """The model works meanwhile, and its answer waits for the verdict."""
    script.answer = "fine"
    protected = protect(llm, Guard(Guardrail(Flags(when=when), stage="input", race=True)))
    if when == "bad":
        with pytest.raises(GuardrailViolation):
            await ask(protected, mode, "bad")
    else:
        assert await ask(protected, mode, "bad") == "fine"
    assert len(script.asked) == 1
