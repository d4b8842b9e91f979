"""openai_moderation(): what the service is asked, and what becomes of its answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from vendors import DROP, HANG, OPENAI_CATEGORIES, Reply, StandIn, openai_answer, served

from llmguard_middleware import ConfigurationError, Guard, Guardrail, Score, ScorerError, ScorerTimeoutError
from llmguard_middleware.scorers import openai_moderation

KEY = "sk-Stand1nSecretOfNobody"
BOTH = pytest.mark.parametrize("use_async", [False, True])


@pytest.fixture(scope="module")
def service() -> Iterator[StandIn]:
    """A stand-in that all tests of this module ask."""
    with served() as server:
        yield server


def made(service: StandIn, **options: Any) -> Any:
    """The scorer, which asks the stand-in."""
    return openai_moderation(api_key=KEY, base_url=f"{service.url}/v1", **options)


def scored(scorer: Any, text: str) -> Score:
    """Its score, sync or async."""
    raw = scorer.score(text)
    return raw if isinstance(raw, Score) else asyncio.run(finished(scorer, raw))


async def finished(scorer: Any, raw: Any) -> Any:
    """What it awaits, with its client of this loop closed before the loop is."""
    try:
        return await raw
    finally:
        await scorer.aclose()


def scores(**given: float) -> dict[str, float]:
    """As the stand-in answers them."""
    return {**dict.fromkeys(OPENAI_CATEGORIES, 0.01), **given}


@BOTH
def test_the_request_is_the_documented_one(service: StandIn, use_async: bool) -> None:
    """POST /moderations with model and input, and the key."""
    service.begin(lambda _: openai_answer())
    assert scored(made(service, use_async=use_async), "안녕하세요") == Score(
        value=0.01, metadata={"model": "omni-moderation-2024-09-26", "scores": scores(), "requests": 1}
    )
    (asked,) = service.asked
    assert (asked.path, asked.body, asked.headers["Authorization"]) == (
        "/v1/moderations",
        {"model": "omni-moderation-latest", "input": "안녕하세요"},
        f"Bearer {KEY}",
    )


@BOTH
def test_categories_are_the_label_and_scores_the_value(service: StandIn, use_async: bool) -> None:
    """Of what the model flags; the explanation begins with the worst."""
    service.begin(lambda _: openai_answer(harassment=0.61, violence=0.93))
    assert scored(made(service, use_async=use_async), "Hello") == Score(
        value=0.93,
        flagged=True,
        label="harassment,violence",
        explanation="OpenAI's moderation: violence 0.93, harassment 0.61",
        metadata={
            "model": "omni-moderation-2024-09-26",
            "scores": scores(harassment=0.61, violence=0.93),
            "requests": 1,
        },
    )


@pytest.mark.parametrize(
    ("options", "label", "value"),
    [
        ({}, "violence", 0.6),
        ({"threshold": 0.7}, "", 0.6),
        ({"threshold": 0.3}, "self-harm,violence", 0.6),
        ({"thresholds": {"self-harm": 0.3}}, "self-harm,violence", 0.6),
        ({"thresholds": {"violence": 0.9}}, "", 0.6),
        ({"threshold": 0.7, "thresholds": {"self-harm": 0.4}}, "self-harm", 0.6),
        ({"categories": ["self-harm", "hate"]}, "", 0.4),
        ({"categories": ["self-harm"], "threshold": 0.2}, "self-harm", 0.4),
    ],
)
def test_thresholds_are_for_all_or_for_one(service: StandIn, options: dict[str, Any], label: str, value: float) -> None:
    """From a threshold on, a category is flagged; where there is none, the model says. Only `categories` count."""
    service.begin(lambda _: openai_answer(self_harm=0.4, violence=0.6))
    score = made(service, **options).score("Hello")
    assert (score.label, score.flagged, score.value) == (label, bool(label), value)


@pytest.mark.parametrize("options", [{"thresholds": {"violense": 0.5}}, {"categories": ["violense"]}])
def test_a_category_that_nobody_scores_is_a_mistake(service: StandIn, options: dict[str, Any]) -> None:
    """Or it would never be flagged."""
    service.begin(lambda _: openai_answer())
    with pytest.raises(ScorerError, match=r'^the model scores no category "violense": did you mean "violence"\? Known'):
        made(service, **options).score("Hello")


def test_categories_that_a_model_does_not_know_are_left_out(service: StandIn) -> None:
    """An older model answers null for newer ones."""
    answer = openai_answer(violence=0.6)
    for part in ("categories", "category_scores"):
        answer["results"][0][part].update({"illicit": None, "illicit/violent": None})
    service.begin(lambda _: answer)
    score = made(service).score("Hello")
    assert (score.label, "illicit" in score.metadata["scores"]) == ("violence", False)


def test_a_text_that_is_flagged_for_nothing_does_not_pass(service: StandIn) -> None:
    """An answer that says both cannot be read; one that leaves the summary out, as other services do, can."""
    answer = openai_answer()
    answer["results"][0]["flagged"] = True
    service.begin(lambda _: answer)
    with pytest.raises(ScorerError, match=r"cannot be read: it flags the text and no category$"):
        made(service).score("Hello")
    del answer["results"][0]["flagged"]
    assert not made(service).score("Hello").flagged


@BOTH
def test_pieces_of_a_long_text_are_one_score(service: StandIn, use_async: bool) -> None:
    """With the greatest score of each category."""
    answers = iter([openai_answer(hate=0.7), openai_answer(violence=0.2), openai_answer(violence=0.6, hate=0.1)])
    service.begin(lambda _: next(answers))
    score = scored(made(service, use_async=use_async), "word " * 16_000)
    assert score == Score(
        value=0.7,
        flagged=True,
        label="hate,violence",
        explanation="OpenAI's moderation: hate 0.70, violence 0.60",
        metadata={
            "model": "omni-moderation-2024-09-26",
            "scores": scores(hate=0.7, violence=0.6),
            "requests": 3,
        },
    )


@BOTH
def test_a_guard_asks_it_sync_and_async(service: StandIn, use_async: bool) -> None:
    """Either kind of scorer under either kind of caller."""
    service.begin(lambda asked: openai_answer(hate=0.9 if "angry" in asked.body["input"] else 0.1))
    scorer = made(service, use_async=use_async)
    guard = Guard(Guardrail(scorer, stage="input"))
    assert [guard.check(text, stage="input").outcome for text in ("angry", "calm")] == ["blocked", "passed"]

    async def check() -> list[str]:
        verdicts = await asyncio.gather(*(guard.acheck(text, stage="input") for text in ("angry", "calm", "angry")))
        if use_async:
            await scorer.aclose()
        return [verdict.outcome for verdict in verdicts]

    assert asyncio.run(check()) == ["blocked", "passed", "blocked"]
    if use_async:  # the guard's own loop has a client too
        asyncio.run_coroutine_threadsafe(scorer.aclose(), guard.workers._running_loop()).result(10)


def test_each_loop_has_a_client(service: StandIn) -> None:
    """And uses its connection again; a loop that is over leaves nothing that the next one would use."""
    service.begin(lambda _: openai_answer())
    scorer = made(service, use_async=True)
    before = len(service.connections)

    async def several() -> None:
        for _ in range(3):
            await scorer.score("Hello")
        await scorer.aclose()
        await scorer.aclose()

    asyncio.run(several())
    asyncio.run(several())
    scorer.close()
    assert len(service.connections) == before + 2


def test_an_async_score_fails_as_a_sync_one() -> None:
    """Once more after a connection that broke; not after a refusal, or a time-out."""
    with served() as service:
        scorer = made(service, use_async=True, timeout=0.3)
        for replies, times, sentence in (
            ([DROP, openai_answer()], 2, ""),
            ([DROP, DROP], 2, "OpenAI's moderation cannot be reached: "),
            ([Reply({"error": {"code": "rate_limit_exceeded"}}, 429)], 1, "OpenAI's moderation is asked too much"),
            ([HANG], 1, "OpenAI's moderation did not answer in time: "),
            ([Reply(b"<html>")], 1, "OpenAI's moderation gave an answer that cannot be read: "),
        ):
            left = iter(replies)
            service.begin(lambda _, left=left: next(left))
            if not sentence:
                assert not scored(scorer, "Hello").flagged
            else:
                with pytest.raises(ScorerError, match=f"^{sentence}") as caught:
                    scored(scorer, "Hello")
                assert (caught.value.__cause__, caught.value.__suppress_context__) in ((None, False), (None, True))
            assert len(service.asked) == times


async def test_an_async_score_that_nobody_waits_for_ends() -> None:
    """A rule that is out of time cancels the request, which hangs up."""
    with served(lambda _: openai_answer()) as service:
        scorer = made(service, use_async=True, timeout=30)
        guard = Guard(Guardrail(scorer, stage="input", timeout=1))
        assert (await guard.acheck("Hello", stage="input")).outcome in ("passed", "error")  # the first one may be slow
        await scorer.score("Hello")
        service.begin(lambda _: HANG)
        verdict = await guard.acheck("Hello again", stage="input")
        assert isinstance(verdict.cause.error, ScorerTimeoutError)
        assert await asyncio.to_thread(service.connections[-1].recv, 1) == b""
        await scorer.aclose()


def test_an_async_client_may_be_given(service: StandIn) -> None:
    """As it is; the scorer does not close it."""
    service.begin(lambda _: openai_answer(hate=0.9))

    async def score() -> bool:
        async with openai.AsyncOpenAI(api_key=KEY, base_url=f"{service.url}/v1") as client:
            scorer: Any = openai_moderation(client=client, use_async=True)
            scorer.setup()
            await scorer.score("Hello")
            await scorer.aclose()
            return bool((await scorer.score("Hello")).flagged)

    assert asyncio.run(score())


@BOTH
def test_no_key_is_told(monkeypatch: pytest.MonkeyPatch, use_async: bool) -> None:
    """When the client is made."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_ADMIN_KEY", raising=False)
    with pytest.raises(ConfigurationError) as caught:
        openai_moderation(use_async=use_async).setup()
    assert str(caught.value) == (
        'openai_moderation() cannot make a client (OpenAIError); give api_key="${OPENAI_API_KEY}", or set that variable'
    )


def test_the_client_may_be_configured_further(service: StandIn) -> None:
    """With what `openai.OpenAI` takes, over the scorer's own."""
    service.begin(lambda _: openai_answer())
    how = {"organization": "org-1", "default_headers": {"X-Shop": "7"}, "max_retries": 3}
    scorer = made(service, timeout=2.5, openai_kwargs=how)
    scorer.score("Hello")
    assert (scorer.client.timeout, scorer.client.max_retries) == (2.5, 3)
    headers = service.asked[0].headers
    assert (headers["X-Shop"], headers["OpenAI-Organization"]) == ("7", "org-1")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"model": ""}, 'openai_moderation() needs the name of a model, for example openai_moderation("omni-moder'),
        ({"threshold": 2}, "threshold of openai_moderation() is 2; give a number from 0 to 1"),
        ({"threshold": float("nan")}, "threshold of openai_moderation() is nan; give a number from 0 to 1"),
        ({"thresholds": {"hate": "0.5"}}, "thresholds of openai_moderation() maps 'hate' to '0.5'; give each category"),
        ({"thresholds": [1]}, "thresholds of openai_moderation() is list; give values by name"),
        ({"categories": "hate"}, "categories of openai_moderation() is str; give a list of texts"),
        ({"categories": [1]}, "one of categories of openai_moderation() is int; give a text"),
        ({"use_async": "no"}, "use_async of openai_moderation() is 'no'; give True or False"),
        ({"timeout": -1}, "timeout of openai_moderation() is -1; give seconds greater than 0"),
        ({"openai_kwargs": [KEY]}, "openai_kwargs is list; give the client's arguments by name"),
    ],
)
def test_settings_that_are_wrong_are_refused(options: dict[str, Any], sentence: str) -> None:
    """One sentence that says what to write."""
    with pytest.raises(ConfigurationError) as caught:
        openai_moderation(**options)
    assert str(caught.value).startswith(sentence)
