"""bedrock_guardrail(): what Amazon Bedrock Guardrails is asked, and what becomes of its answers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from vendors import VIOLENCE, Reply, StandIn, bedrock_answer, served

from llmguard_middleware import ConfigurationError, Guard, Guardrail, Score, ScorerError, TextSpan
from llmguard_middleware._breaker import is_outage
from llmguard_middleware.scorers import bedrock_guardrail, pii

HOW = {"region_name": "us-east-1", "aws_access_key_id": "AKIDSTANDIN", "aws_secret_access_key": "secret"}
USAGE = {
    "topicPolicyUnits": 1,
    "contentPolicyUnits": 1,
    "wordPolicyUnits": 1,
    "sensitiveInformationPolicyUnits": 1,
    "sensitiveInformationPolicyFreeUnits": 0,
    "contextualGroundingPolicyUnits": 0,
}
MAIL = "Kim's mail is kim@example.com."
MASKED = "{NAME}'s mail is {EMAIL}."
PERSONAL = {
    "sensitiveInformationPolicy": {
        "piiEntities": [
            {"type": "NAME", "match": "Kim", "action": "ANONYMIZED", "detected": True},
            {"type": "EMAIL", "match": "kim@example.com", "action": "ANONYMIZED", "detected": True},
        ],
        "regexes": [],
    }
}


@pytest.fixture(scope="module")
def service() -> Iterator[StandIn]:
    """A stand-in that all tests of this module ask."""
    with served() as server:
        yield server


@cache
def made(service: StandIn, guardrail: str = "abc123def456", version: Any = 3, **options: Any) -> Any:
    """The scorer, which asks the stand-in."""
    how = {**HOW, "endpoint_url": service.url}
    return bedrock_guardrail(guardrail, version, bedrock_runtime_kwargs=how, **options)


def test_the_request_is_the_documented_one(service: StandIn) -> None:
    """ApplyGuardrail of this guardrail and version, signed for this region; an ARN is part of the path."""
    service.begin(lambda _: bedrock_answer())
    arn = "arn:aws:bedrock:us-east-1:123456789012:guardrail/abc123def456"
    made(service).score("Hello")
    made(service, arn, "DRAFT").score("Hello")
    assert [(asked.path, asked.body) for asked in service.asked] == [
        (path, {"source": "INPUT", "content": [{"text": {"text": "Hello"}}]})
        for path in (
            "/guardrail/abc123def456/version/3/apply",
            "/guardrail/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aguardrail%2Fabc123def456/version/DRAFT/apply",
        )
    ]
    signed = service.asked[0].headers["Authorization"]
    assert signed.startswith("AWS4-HMAC-SHA256 Credential=AKIDSTANDIN/")
    assert "/us-east-1/bedrock/aws4_request, " in signed


def test_a_text_that_passes(service: StandIn) -> None:
    """Value 0; what the guardrail only detects is told in the metadata."""
    seen = {"topicPolicy": {"topics": [{"name": "Pay", "type": "DENY", "action": "NONE", "detected": True}]}}
    service.begin(lambda _: bedrock_answer(assessment=seen))
    assert made(service).score("Hello") == Score(
        value=0.0,
        metadata={
            "action": "NONE",
            "source": "INPUT",
            "findings": ({"policy": "topicPolicy", "kind": "DENIED_TOPIC", "action": "NONE", "name": "Pay"},),
            "usage": USAGE,
            "requests": 1,
        },
    )


def test_what_is_masked_becomes_a_redaction(service: StandIn) -> None:
    """The guardrail's own text, character for character; no word of the user's is in what is told of it."""
    service.begin(lambda _: bedrock_answer("GUARDRAIL_INTERVENED", MASKED, PERSONAL))
    assert made(service).score(MAIL) == Score(
        value=1.0,
        flagged=True,
        label="EMAIL,NAME",
        explanation="Amazon Bedrock Guardrails: NAME masked, EMAIL masked",
        metadata={
            "action": "ANONYMIZED",
            "source": "INPUT",
            "findings": (
                {"policy": "sensitiveInformationPolicy", "kind": "NAME", "action": "ANONYMIZED"},
                {"policy": "sensitiveInformationPolicy", "kind": "EMAIL", "action": "ANONYMIZED"},
            ),
            "usage": USAGE,
            "requests": 1,
        },
        modified=MASKED,
    )
    verdict = Guard(Guardrail(made(service), stage="output", action="redact")).check(MAIL, stage="output")
    assert (verdict.outcome, verdict.guarded) == ("redacted", MASKED)


def test_what_is_blocked_may_be_answered_with_the_configured_text(service: StandIn) -> None:
    """Redact puts it in the place of the text; block stops the call."""
    answer = "Sorry, I cannot speak about that."
    service.begin(lambda _: bedrock_answer("GUARDRAIL_INTERVENED", answer, {**VIOLENCE, **PERSONAL}))
    score = made(service).score(MAIL)
    assert (score.label, score.modified, score.metadata["action"]) == ("EMAIL,NAME,VIOLENCE", answer, "BLOCKED")
    assert score.explanation == (
        "Amazon Bedrock Guardrails: VIOLENCE blocked (confidence HIGH), NAME masked, EMAIL masked"
    )
    guard = Guard(Guardrail(made(service), stage="output", action="redact"))
    assert guard.check(MAIL, stage="output").guarded == answer
    assert Guard(Guardrail(made(service), stage="output")).check(MAIL, stage="output").outcome == "blocked"


def test_a_rule_may_block_only_what_the_guardrail_blocks(service: StandIn) -> None:
    """By `when` on the score's metadata."""

    def blocks(score: Score) -> bool:
        return bool(score.metadata["action"] == "BLOCKED")

    guard = Guard(Guardrail(made(service), stage="input", when=blocks))
    outcomes = []
    for text, assessment in ((MASKED, PERSONAL), ("No.", VIOLENCE)):
        service.begin(lambda _, given=(text, assessment): bedrock_answer("GUARDRAIL_INTERVENED", *given))
        outcomes.append(guard.check(MAIL, stage="input").outcome)
    assert outcomes == ["passed", "blocked"]


def test_every_policy_is_told_by_its_own_words(service: StandIn) -> None:
    """The names of topics and expressions, never what matched."""
    every = {
        "topicPolicy": {"topics": [{"name": "Pay", "type": "DENY", "action": "BLOCKED"}]},
        "contentPolicy": {
            "filters": [
                {"type": "PROMPT_ATTACK", "confidence": "MEDIUM", "filterStrength": "HIGH", "action": "BLOCKED"},
                {"type": "HATE", "confidence": "LOW", "action": "NONE", "detected": False},
            ]
        },
        "wordPolicy": {
            "customWords": [{"match": "acme", "action": "BLOCKED"}, {"match": "kim", "action": "BLOCKED"}],
            "managedWordLists": [{"match": "damn", "type": "PROFANITY", "action": "BLOCKED"}],
        },
        "sensitiveInformationPolicy": {
            "piiEntities": [{"type": "PIN", "match": "1234", "action": "BLOCKED"}],
            "regexes": [{"name": "ticket", "match": "T-1", "regex": "T-[0-9]", "action": "ANONYMIZED"}],
        },
        "contextualGroundingPolicy": {
            "filters": [{"type": "GROUNDING", "threshold": 0.7, "score": 0.2, "action": "BLOCKED"}]
        },
        "invocationMetrics": {"guardrailProcessingLatency": 12},
    }
    service.begin(lambda _: bedrock_answer("GUARDRAIL_INTERVENED", "No.", every))
    score = made(service).score("acme damn 1234 kim T-1")
    assert score.label == "CUSTOM_REGEX,CUSTOM_WORD,DENIED_TOPIC,GROUNDING,PIN,PROFANITY,PROMPT_ATTACK"
    assert score.explanation == (
        'Amazon Bedrock Guardrails: DENIED_TOPIC "Pay" blocked, PROMPT_ATTACK blocked (confidence MEDIUM), '
        'CUSTOM_WORD blocked, PROFANITY blocked, PIN blocked, CUSTOM_REGEX "ticket" masked, GROUNDING blocked'
    )
    assert not [word for word in ("acme", "damn", "1234", "T-1") if word in repr((score.metadata, score.explanation))]


@pytest.mark.parametrize("text", ["", "No."])
def test_an_intervention_without_a_reason_blocks(service: StandIn, text: str) -> None:
    """Of a policy that is newer than this: flagged, and redact leaves nothing of the text."""
    service.begin(lambda _: bedrock_answer("GUARDRAIL_INTERVENED", text, {"newPolicy": {}}))
    score = made(service).score("Hello")
    assert (score.flagged, score.label, score.modified) == (True, "GUARDRAIL_INTERVENED", text or None)
    verdict = Guard(Guardrail(made(service), stage="input", action="redact")).check("Hello", stage="input")
    assert verdict.guarded == (text or "<BEDROCK_GUARDRAIL>")


@pytest.mark.parametrize(
    ("source", "stage", "told"),
    [
        ("auto", "input", "INPUT"),
        ("auto", "tool_result", "INPUT"),
        ("auto", "output", "OUTPUT"),
        ("OUTPUT", "input", "OUTPUT"),
        ("INPUT", "output", "INPUT"),
    ],
)
def test_the_source_is_the_stage(service: StandIn, source: str, stage: Any, told: str) -> None:
    """Unless the scorer is told which it is; an input that is called "output" is none."""
    service.begin(lambda _: bedrock_answer())
    guard = Guard(Guardrail(made(service, source=source), stage=stage))
    guard.check("Hello", stage=stage, inputs={} if stage == "output" else {"output": "something else"})
    assert service.asked[0].body["source"] == told


def test_a_text_that_was_not_looked_at_is_no_text_that_passed(service: StandIn) -> None:
    """The guardrail says how many characters it judged."""
    for guarded in (5, 3):
        coverage = {"textCharacters": {"guarded": guarded, "total": 5}}
        service.begin(lambda _, coverage=coverage: bedrock_answer(guardrailCoverage=coverage))
        if guarded == 5:
            assert made(service).score("Hello").value == 0.0
        else:
            with pytest.raises(ScorerError, match=r" did not judge the whole text: 3 of 5 characters$") as caught:
                made(service).score("Hello")
            assert not is_outage(caught.value)


def test_a_failure_inside_an_answer_is_a_failure(service: StandIn) -> None:
    """As AWS tells some: HTTP 200, and in it what is no answer."""
    service.begin(lambda _: {"Output": {"__type": "com.amazon.coral.service#UnknownOperationException"}})
    with pytest.raises(ScorerError, match=r'^Amazon Bedrock Guardrails gave an answer .* it has no "action"$'):
        made(service).score("Hello")


@pytest.mark.parametrize("code", ["ThrottlingException", "ServiceQuotaExceededException"])
def test_throttling_is_told_by_its_code(service: StandIn, code: str) -> None:
    """Whatever its status."""
    service.begin(lambda _: Reply({"message": "Too many"}, 400, {"x-amzn-ErrorType": code}))
    with pytest.raises(ScorerError, match=rf"^Amazon Bedrock Guardrails is asked too much .* HTTP 429 \({code}\)$"):
        made(service).score("Hello")


def masking(asked: Any) -> Any:
    """As the guardrail masks names and addresses in what it is given."""
    text = asked.body["content"][0]["text"]["text"]
    found = [("Kim Minsu", "NAME"), ("kim@example.com", "EMAIL")]
    masked = text
    for match, kind in found:
        masked = masked.replace(match, f"{{{kind}}}")
    entities = [{"type": kind, "match": match, "action": "ANONYMIZED"} for match, kind in found if match in text]
    if not entities:
        return bedrock_answer()
    return bedrock_answer(
        "GUARDRAIL_INTERVENED", masked, {"sensitiveInformationPolicy": {"piiEntities": entities, "regexes": []}}
    )


@pytest.mark.parametrize("at", [10, 24_490, 24_500, 24_995, 25_010, 48_990, 59_000])
def test_a_long_text_is_masked_wherever_it_is_cut(service: StandIn, at: int) -> None:
    """The masked pieces become the masked whole, also where two pieces overlap."""
    service.begin(masking)
    filler = "word " * 12_000
    text = filler[:at] + "Kim Minsu, kim@example.com" + filler[at:]
    score = made(service).score(text)
    assert score.modified == text.replace("Kim Minsu", "{NAME}").replace("kim@example.com", "{EMAIL}")
    assert (score.spans, score.label, score.metadata["requests"]) == ((), "EMAIL,NAME", 3)
    assert score.metadata["usage"]["contentPolicyUnits"] == 3


def test_a_long_text_with_a_piece_that_is_blocked_is_blocked(service: StandIn) -> None:
    """With the text that is configured for it, whatever is masked elsewhere."""

    def answer(asked: Any) -> Any:
        blocks = "kill" in asked.body["content"][0]["text"]["text"]
        return bedrock_answer("GUARDRAIL_INTERVENED", "No.", VIOLENCE) if blocks else masking(asked)

    service.begin(answer)
    score = made(service).score("Kim Minsu" + " word" * 6_000 + " kill")
    assert (score.modified, score.label, score.metadata["action"]) == ("No.", "NAME,VIOLENCE", "BLOCKED")


def test_masks_that_cannot_be_found_in_a_long_text_are_a_failure(service: StandIn) -> None:
    """Nothing is guessed; as a text may cause it, it is no outage."""
    service.begin(lambda _: bedrock_answer("GUARDRAIL_INTERVENED", "something else", PERSONAL))
    with pytest.raises(ScorerError, match=r"the whole text: what it masked cannot be found in it$") as caught:
        made(service).score("Kim " * 10_000)
    assert not is_outage(caught.value)


def test_spans_compose_with_other_rules(service: StandIn) -> None:
    """With spans=True, what another rule redacts stays redacted, and the action says what is put in."""
    service.begin(masking)
    text = "Kim Minsu, kim@example.com, 900101-1234567"
    spans = (TextSpan(0, 9, "NAME"), TextSpan(11, 26, "EMAIL"))
    scorer = made(service, spans=True)
    assert (scorer.score(text).spans, scorer.score(text).modified) == (spans, "{NAME}, {EMAIL}, 900101-1234567")
    guard = Guard(Guardrail(scorer, stage="input", action="redact"), Guardrail(pii(), stage="input", action="mask"))
    assert guard.check(text, stage="input").guarded == "<NAME>, <EMAIL>, **************"
    guard = Guard(Guardrail(scorer, stage="input", action="pseudonymize"))
    assert "Kim" not in guard.check(text, stage="input").guarded


def test_an_answer_is_held_until_it_is_judged(service: StandIn) -> None:
    """A stream is masked as the whole text is."""
    service.begin(masking)
    guard = Guard(Guardrail(made(service), stage="output", action="redact"))

    def tell(question: str) -> Iterator[str]:
        yield from ("It is Kim ", "Minsu, kim@", "example.com.")

    assert "".join(guard.op(tell)("Who?")) == "It is {NAME}, {EMAIL}."


def test_no_region_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one sentence, when the client is made."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(ConfigurationError) as caught:
        bedrock_guardrail("abc", 1).setup()
    assert str(caught.value) == (
        'bedrock_guardrail() knows no region: bedrock_runtime_kwargs={"region_name": "us-east-1"}, or AWS_REGION'
    )


def test_no_credentials_are_told(monkeypatch: pytest.MonkeyPatch, service: StandIn) -> None:
    """As an outage: a rule that blocks on errors blocks."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_CONFIG_FILE": "/nowhere",
        "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    scorer = bedrock_guardrail(
        "abc", 1, bedrock_runtime_kwargs={"region_name": "us-east-1", "endpoint_url": service.url}
    )
    with pytest.raises(ScorerError, match=r"^Amazon Bedrock Guardrails cannot be asked without AWS's credentials: No"):
        scorer.score("Hello")


def test_the_client_may_be_configured_further(service: StandIn) -> None:
    """`config` as plain values, which a file can hold, over the scorer's own."""
    how = {**HOW, "endpoint_url": service.url, "config": {"read_timeout": 9, "user_agent_extra": "shop"}}
    service.begin(lambda _: bedrock_answer())
    scorer = bedrock_guardrail("abc", 1, timeout=2.5, bedrock_runtime_kwargs=how)
    scorer.score("Hello")
    config = scorer.client.meta.config
    assert (config.connect_timeout, config.read_timeout, config.retries["total_max_attempts"]) == (2.5, 9, 1)
    assert "shop" in service.asked[0].headers["User-Agent"]


def test_a_client_that_cannot_be_made_is_told_without_its_settings() -> None:
    """Which may be secret."""
    for wrong in ({"aws_secret": "hush"}, {"endpoint_url": "hush"}, {"config": {"hush": 1}}):
        with pytest.raises(ConfigurationError) as caught:
            bedrock_guardrail("abc", 1, bedrock_runtime_kwargs={"region_name": "us-east-1", **wrong}).setup()
        assert str(caught.value).startswith("bedrock_guardrail() cannot make a client of bedrock_runtime_kwargs (")
        assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"guardrail_id": " "}, 'bedrock_guardrail() needs the id of a guardrail, for example bedrock_guardrail("abc'),
        ({"version": "latest"}, "version is 'latest'; give the number of a version of the guardrail, or \"DRAFT\""),
        ({"version": True}, 'version is True; give the number of a version of the guardrail, or "DRAFT"'),
        ({"source": "BOTH"}, 'source of bedrock_guardrail() is "BOTH": Known: auto, INPUT, OUTPUT'),
        ({"spans": 1}, "spans of bedrock_guardrail() is 1; give True or False"),
        ({"timeout": 0}, "timeout of bedrock_guardrail() is 0; give seconds greater than 0"),
        ({"bedrock_runtime_kwargs": "x"}, "bedrock_runtime_kwargs is str; give the client's arguments by name"),
    ],
)
def test_settings_that_are_wrong_are_refused(options: dict[str, Any], sentence: str) -> None:
    """One sentence that says what to write."""
    with pytest.raises(ConfigurationError) as caught:
        bedrock_guardrail(**{"guardrail_id": "abc", **options})
    assert str(caught.value).startswith(sentence)
