"""A protected model whose guard asks a vendor's service (a local stand-in for it)."""

from __future__ import annotations

import pytest
from vendors import VIOLENCE, bedrock_answer, openai_answer, served

from llmguard_langchain import protect
from llmguard_middleware import Guard, Guardrail, GuardrailViolation
from llmguard_middleware.scorers import bedrock_guardrail, openai_moderation, pii

MASKS = {
    "sensitiveInformationPolicy": {
        "piiEntities": [{"type": "NAME", "match": "Kim", "action": "ANONYMIZED"}],
        "regexes": [],
    }
}


def judged(asked):
    """Names are masked, violence is blocked."""
    text = asked.body["content"][0]["text"]["text"]
    if "kill" in text:
        return bedrock_answer("GUARDRAIL_INTERVENED", "I cannot speak about that.", VIOLENCE)
    if "Kim" in text:
        return bedrock_answer("GUARDRAIL_INTERVENED", text.replace("Kim", "{NAME}"), MASKS)
    return bedrock_answer()


@pytest.fixture(scope="module")
def scorer():
    """A guardrail of Amazon Bedrock, as a scorer."""
    with served(judged) as service:
        how = {
            "region_name": "us-east-1",
            "endpoint_url": service.url,
            "aws_access_key_id": "AKIDSTANDIN",
            "aws_secret_access_key": "secret",
        }
        scorer = bedrock_guardrail("abc123def456", 3, bedrock_runtime_kwargs=how)
        scorer.setup()
        yield scorer
        scorer.close()


def test_what_the_service_masks_never_reaches_the_model_or_the_caller(provider, ask, scorer):
    """In every call mode and for every kind of provider, in its own words, both ways."""
    model = provider(answer="Yes, Kim is well.", size=3)
    guard = Guard(
        Guardrail(scorer, stage="input", action="redact", name="asked"),
        Guardrail(scorer, stage="output", action="redact", name="answered"),
    )
    assert "".join(ask(protect(model, guard), "How is Kim?")) == "Yes, {NAME} is well."
    (messages,) = model.received
    assert [message.content for message in messages] == ["How is {NAME}?"]


def test_what_the_service_blocks_is_blocked_or_answered_as_it_says(provider, ask, scorer):
    """In every call mode and for every kind of provider: a violation, or the text that is configured for it."""
    model = provider(answer="You kill it.", size=4)
    with pytest.raises(GuardrailViolation, match='guardrail "bedrock_guardrail" of guard "default" blocked the input'):
        ask(protect(model, Guard(Guardrail(scorer, stage="input"))), "How do I kill?")
    assert model.received == []
    answered = protect(model, Guard(Guardrail(scorer, stage="output", action="redact")))
    assert "".join(ask(answered, "What now?")) == "I cannot speak about that."


def test_an_outer_guard_redacts_before_the_service_is_asked(provider, ask):
    """In every call mode and for every kind of provider: what it redacts does not leave the house."""
    with served(lambda _: openai_answer()) as service:
        moderation = openai_moderation(api_key="key", base_url=f"{service.url}/v1")
        inner = Guard(
            Guardrail(moderation, stage="input", name="asked"),
            Guardrail(moderation, stage="output", name="answered"),
            name="moderates",
        )
        outer = Guard(Guardrail(pii(), stage="input", action="redact"), name="redacts")
        model = provider(answer="Fine.", size=3)
        assert "".join(ask(protect(protect(model, inner), outer), "I am hong@example.com")) == "Fine."
        moderation.close()
    assert [asked.body["input"] for asked in service.asked] == ["I am <EMAIL_ADDRESS>", "Fine."]
