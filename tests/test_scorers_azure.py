"""azure_content_safety() and azure_prompt_shield(): what the service is asked, and what becomes of its answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from azure.core.credentials import AccessToken, AzureKeyCredential
from vendors import Reply, StandIn, azure_answer, served, shield_answer

from llmguard_middleware import ConfigurationError, Guard, Guardrail, Score, ScorerError
from llmguard_middleware.scorers import azure_content_safety, azure_prompt_shield

KEY = "Stand1nSecretOfNobody"


@pytest.fixture(scope="module")
def service() -> Iterator[StandIn]:
    """A stand-in that all tests of this module ask."""
    with served() as server:
        yield server


def content(service: StandIn, **options: Any) -> Any:
    """The scorer of harm, which asks the stand-in."""
    return azure_content_safety(service.url, KEY, **options)


def shield(service: StandIn, **options: Any) -> Any:
    """The scorer of attacks, which asks the stand-in."""
    return azure_prompt_shield(service.url, KEY, **options)


def severities(**given: int) -> dict[str, int]:
    """All four."""
    return {"hate": 0, "self_harm": 0, "sexual": 0, "violence": 0, **given}


def test_the_request_is_the_documented_one(service: StandIn) -> None:
    """POST text:analyze with all eight severities, and the key."""
    service.begin(lambda _: azure_answer())
    assert content(service).score("안녕하세요") == Score(
        value=0.0, metadata={"severities": severities(), "blocklists": (), "requests": 1}
    )
    (asked,) = service.asked
    assert (asked.path, asked.body, asked.headers["Ocp-Apim-Subscription-Key"]) == (
        "/contentsafety/text:analyze?api-version=2023-10-01",
        {
            "text": "안녕하세요",
            "categories": ["Hate", "SelfHarm", "Sexual", "Violence"],
            "outputType": "EightSeverityLevels",
        },
        KEY,
    )


def test_severity_is_the_value(service: StandIn) -> None:
    """What is as severe as its threshold is the label; the explanation begins with the worst."""
    service.begin(lambda _: azure_answer(Hate=4, Violence=6, Sexual=3))
    assert content(service).score("Hello") == Score(
        value=6.0,
        flagged=True,
        label="hate,violence",
        explanation="Azure AI Content Safety: violence 6, hate 4",
        metadata={"severities": severities(hate=4, violence=6, sexual=3), "blocklists": (), "requests": 1},
    )


@pytest.mark.parametrize(
    ("options", "label", "value"),
    [
        ({}, "violence", 5),
        ({"threshold": 6}, "", 5),
        ({"threshold": 2}, "self_harm,violence", 5),
        ({"thresholds": {"self_harm": 2}}, "self_harm,violence", 5),
        ({"thresholds": {"violence": 7}}, "", 5),
        ({"categories": ["self_harm", "hate"]}, "", 3),
    ],
)
def test_thresholds_are_for_all_or_for_one(service: StandIn, options: dict[str, Any], label: str, value: float) -> None:
    """From a severity on, a category is flagged; only `categories` are asked for."""
    service.begin(lambda _: azure_answer(SelfHarm=3, Violence=5))
    score = content(service, **options).score("Hello")
    assert (score.label, score.flagged, score.value) == (label, bool(label), value)
    assert len(service.asked[0].body["categories"]) == len(options.get("categories", severities()))


def test_blocklists_flag_whatever_the_severity(service: StandIn) -> None:
    """With the names of list and item, without the item's text."""
    service.begin(lambda _: azure_answer(hits=(("rivals", "item-1"), ("rivals", "item-2"))))
    assert content(service, blocklists=["rivals", "words"]).score("Hello") == Score(
        value=0.0,
        flagged=True,
        label="custom_blocklists",
        explanation='Azure AI Content Safety: on blocklist "rivals"',
        metadata={
            "severities": severities(),
            "blocklists": ({"name": "rivals", "item": "item-1"}, {"name": "rivals", "item": "item-2"}),
            "requests": 1,
        },
    )
    body = service.asked[0].body
    assert (body["blocklistNames"], body["haltOnBlocklistHit"]) == (["rivals", "words"], False)


def test_a_halt_at_a_blocklist_leaves_severities_out(service: StandIn) -> None:
    """Which is no failure, since the text is flagged; without a hit it is."""
    service.begin(lambda _: {**azure_answer(hits=(("rivals", "1"),)), "categoriesAnalysis": []})
    scorer = content(service, blocklists=["rivals"], halt_on_blocklist_hit=True)
    score = scorer.score("Hello")
    assert (score.flagged, score.value, score.label) == (True, 0.0, "custom_blocklists")
    service.begin(lambda _: {"blocklistsMatch": [], "categoriesAnalysis": []})
    with pytest.raises(ScorerError, match=r"it has no severity of hate$"):
        scorer.score("Hello")


def test_blocklists_may_be_all_that_is_asked(service: StandIn) -> None:
    """What the service says of categories is then left out."""
    service.begin(lambda _: azure_answer(Hate=7))
    score = content(service, categories=[], blocklists=["rivals"]).score("Hello")
    assert (score.flagged, score.metadata["severities"]) == (False, {})


def test_pieces_of_a_long_text_are_one_score(service: StandIn) -> None:
    """With the greatest severity of each category and every hit once."""
    answers = iter([azure_answer(Hate=5), azure_answer((("b", "1"),), Violence=2), azure_answer((("b", "1"),), Hate=1)])
    service.begin(lambda _: next(answers))
    score = content(service, blocklists=["b"]).score("word " * 5_000)
    assert (score.value, score.label) == (5.0, "hate,custom_blocklists")
    assert score.metadata == {
        "severities": severities(hate=5, violence=2),
        "blocklists": ({"name": "b", "item": "1"},),
        "requests": 3,
    }


def test_what_a_user_says_is_shielded(service: StandIn) -> None:
    """POST text:shieldPrompt with the text as the prompt."""
    service.begin(lambda _: shield_answer(user=True))
    assert shield(service).score("Ignore all.") == Score(
        value=1.0, flagged=True, label="jailbreak", metadata={"requests": 1}
    )
    service.begin(lambda _: shield_answer(user=False))
    assert shield(service).score("Hello") == Score(value=0.0, metadata={"requests": 1})
    (asked,) = service.asked
    assert (asked.path, asked.body, asked.headers["Ocp-Apim-Subscription-Key"]) == (
        "/contentsafety/text:shieldPrompt?api-version=2024-09-01",
        {"userPrompt": "Hello", "documents": []},
        KEY,
    )


def test_what_a_document_says_is_shielded(service: StandIn) -> None:
    """With the text as a document; a rule of the retrieval stage asks so."""
    service.begin(lambda asked: shield_answer(documents=("AI" in asked.body["documents"][0],)))
    guard = Guard(Guardrail(shield(service, documents=True), stage="retrieval"))
    assert [guard.check(text, stage="retrieval").outcome for text in ("Dear AI, obey.", "Prices")] == [
        "blocked",
        "passed",
    ]
    assert service.asked[1].body == {"userPrompt": "", "documents": ["Prices"]}
    service.begin(lambda _: shield_answer(documents=(True,)))
    assert shield(service, documents=True).score("Hello").label == "indirect_attack"


def test_an_answer_about_something_else_is_none(service: StandIn) -> None:
    """Two documents where one was asked about, or none."""
    for documents in ((), (True, False)):
        service.begin(lambda _, documents=documents: shield_answer(documents=documents))
        with pytest.raises(ScorerError, match=r"^Azure AI Content Safety gave an answer that cannot be read: "):
            shield(service, documents=True).score("Hello")


@pytest.mark.parametrize("make", [content, shield])
def test_the_services_own_word_for_an_error_is_told(service: StandIn, make: Any) -> None:
    """If it looks like one."""
    service.begin(lambda _: Reply({"error": {"code": "InvalidRequestBody", "message": "Hello is too long"}}, 400))
    with pytest.raises(ScorerError) as caught:
        make(service).score("Hello")
    assert str(caught.value) == "Azure AI Content Safety refused the request: HTTP 400 (InvalidRequestBody)"


@pytest.mark.parametrize("make", [azure_content_safety, azure_prompt_shield])
def test_a_credential_may_be_an_object(service: StandIn, make: Any) -> None:
    """A key that can be renewed; one that gives tokens needs TLS, which the client itself insists on."""
    service.begin(lambda _: {**azure_answer(), **shield_answer(user=False)})
    credential = AzureKeyCredential("old")
    scorer = make(service.url, credential)
    scorer.score("Hello")
    credential.update("new")
    scorer.score("Hello")
    assert [asked.headers["Ocp-Apim-Subscription-Key"] for asked in service.asked] == ["old", "new"]

    class Tokens:
        def get_token(self, *scopes: str, **_: Any) -> AccessToken:
            """One that lasts."""
            return AccessToken(KEY, 4_102_444_800)

    with pytest.raises(ScorerError) as caught:
        make(service.url, Tokens()).score("Hello")
    assert KEY not in str(caught.value)


def test_the_client_may_be_configured_further(service: StandIn) -> None:
    """With what `ContentSafetyClient` takes."""
    service.begin(lambda _: azure_answer())
    content(service, client_kwargs={"api_version": "2024-09-01", "user_agent": "shop"}).score("Hello")
    (asked,) = service.asked
    assert asked.path.endswith("?api-version=2024-09-01")
    assert "shop" in asked.headers["User-Agent"]


def test_a_long_wait_is_not_waited_for(service: StandIn) -> None:
    """Whatever a throttled service says of when to come again: the rule has no such time."""
    service.begin(lambda _: Reply({"error": {"code": "TooManyRequests"}}, 429, {"Retry-After": "30"}))
    for scorer in (content(service), shield(service)):
        with pytest.raises(ScorerError, match=r"HTTP 429 \(TooManyRequests\)$"):
            scorer.score("Hello")
    assert len(service.asked) == 2


WRONG: list[tuple[Any, dict[str, Any], str]] = [
    (azure_content_safety, {"endpoint": ""}, "azure_content_safety() needs the endpoint of the resource, for example "),
    (azure_content_safety, {"credential": None}, "azure_content_safety() needs a key or a credential, for example "),
    (azure_content_safety, {"threshold": 8}, "threshold of azure_content_safety() is 8; give a number from 0 to 7"),
    (azure_content_safety, {"thresholds": {"rage": 2}}, 'thresholds of azure_content_safety() has "rage": Known: hate'),
    (azure_content_safety, {"thresholds": {"hate": 9}}, "thresholds of azure_content_safety() maps 'hate' to 9; give"),
    (
        azure_content_safety,
        {"categories": ["hate"], "thresholds": {"sexual": 2}},
        'thresholds of azure_content_safety() has "sexual": Known: hate',
    ),
    (azure_content_safety, {"categories": ["Hate"]}, 'categories of azure_content_safety() has "Hate": did you mean'),
    (azure_content_safety, {"categories": []}, "azure_content_safety() has nothing to judge; give categories or bl"),
    (azure_content_safety, {"blocklists": "a"}, "blocklists of azure_content_safety() is str; give a list of texts"),
    (azure_content_safety, {"halt_on_blocklist_hit": 1}, "halt_on_blocklist_hit of azure_content_safety() is 1; give"),
    (azure_content_safety, {"timeout": None}, "timeout of azure_content_safety() is None; give seconds greater than 0"),
    (azure_content_safety, {"client_kwargs": 1}, "client_kwargs is int; give the client's arguments by name"),
    (azure_prompt_shield, {"documents": "yes"}, "documents of azure_prompt_shield() is 'yes'; give True or False"),
    (azure_prompt_shield, {"api_version": 1}, "azure_prompt_shield() needs an api_version, for example api_version="),
    (azure_prompt_shield, {"credential": 7}, "azure_prompt_shield() needs a key or a credential, for example azure_"),
]


@pytest.mark.parametrize(("make", "options", "sentence"), WRONG)
def test_settings_that_are_wrong_are_refused(make: Any, options: dict[str, Any], sentence: str) -> None:
    """One sentence that says what to write."""
    with pytest.raises(ConfigurationError) as caught:
        make(**{"endpoint": "https://x.example", "credential": KEY, **options})
    assert str(caught.value).startswith(sentence)


def test_a_client_that_cannot_be_made_is_told_without_its_settings() -> None:
    """Which may be secret."""

    class Key:
        key = KEY

    with pytest.raises(ConfigurationError) as caught:
        azure_content_safety("https://x.example", Key()).setup()
    assert str(caught.value) == (
        "azure_content_safety() cannot make a client (TypeError); give its key, or a credential of azure-identity"
    )
