"""VerdictCache: scores kept by what was scored."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from llmguard_middleware import ConfigurationError, Guard, Guardrail, Mask, Score, TextSpan, VerdictCache, scorer
from llmguard_middleware.testing import Flags, Raises, Returns


def cached(fake: Any, *, size: int = 10, ttl: float = 60.0, clock: Any = lambda: 0.0, **options: Any) -> Guard:
    """A guard of one rule with a cache."""
    return Guard(Guardrail(fake, stage="input", cache=VerdictCache(size=size, ttl=ttl, clock=clock), **options))


def test_a_text_is_scored_once_and_the_verdict_is_the_same() -> None:
    """The second check takes the score of the first, with its spans."""
    fake = Flags(when="bad")
    guard = cached(fake, action="redact")
    first, second = (guard.check("a bad word", stage="input") for _ in range(2))
    assert fake.seen == ["a bad word"]
    assert first.guarded == second.guarded == "a <FAKE> word"
    assert first.findings[0].score == second.findings[0].score


async def test_sync_and_async_callers_share_it() -> None:
    """What check() found acheck() need not find again."""
    fake = Flags(when="bad")
    guard = cached(fake)
    guard.check("bad", stage="input")
    assert (await guard.acheck("bad", stage="input")).outcome == "blocked"
    assert len(fake.seen) == 1


def test_another_text_is_another_score() -> None:
    """No text gets the score of another."""
    guard = cached(Flags(when="bad"))
    assert [guard.check(text, stage="input").outcome for text in ("bad", "good", "bad", "good ")] == [
        "blocked",
        "passed",
        "blocked",
        "passed",
    ]


class Quiet(str):
    """A text that does not show itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"


def test_a_text_that_hides_itself_is_not_taken_for_another() -> None:
    """Of a subclass of str its characters count, not how it is shown."""
    guard = cached(Flags(when="bad"))
    assert guard.check(Quiet("good"), stage="input").outcome == "passed"
    assert guard.check(Quiet("bad"), stage="input").outcome == "blocked"


def test_other_inputs_are_another_score() -> None:
    """All that the scorer is given counts, not the text alone; a missing input is not the same as None."""

    @scorer
    def tone(text: str, style: str | None = "kind") -> bool:
        """Whether it is not kind."""
        return style != "kind"

    guard = cached(tone)
    outcomes = [
        guard.check("x", stage="input", inputs=inputs).outcome
        for inputs in ({}, {"style": None}, {"style": "kind"}, {"style": "rude"}, {"style": "kind"})
    ]
    assert outcomes == ["passed", "blocked", "passed", "blocked", "passed"]


@pytest.mark.parametrize("pair", [(1, "1"), (1, True), (0, False), (None, "None"), (1, 1.0)])
def test_values_that_look_alike_are_told_apart(pair: tuple[Any, Any]) -> None:
    """1, "1", 1.0 and True are four inputs."""
    seen: list[Any] = []

    @scorer
    def notes(text: str, given: Any) -> bool:
        """Takes a note."""
        seen.append(given)
        return False

    guard = cached(notes)
    for value in (*pair, *pair):
        guard.check("x", stage="input", inputs={"given": value})
    assert [type(value) for value in seen] == [type(value) for value in pair]


def test_a_scorer_that_is_given_more_than_texts_and_numbers_is_not_cached() -> None:
    """What cannot be told apart by its characters is scored every time."""
    calls: list[int] = []

    @scorer
    def looks(text: str, given: Any) -> bool:
        """Counts."""
        calls.append(1)
        return False

    @scorer
    def everything(**given: Any) -> bool:
        """Takes all there is."""
        calls.append(1)
        return False

    for fake in (looks, everything):
        guard = cached(fake)
        for _ in range(2):
            guard.check("x", stage="input", inputs={"given": ["a", "b"]})
    assert len(calls) == 4


def test_the_least_recently_used_goes_first() -> None:
    """Beyond `size` that score goes which nobody asked for longest."""
    fake = Flags(when="bad")
    guard = cached(fake, size=2)
    for text in ("a", "b", "a", "c", "a", "b"):
        guard.check(text, stage="input")
    assert fake.seen == ["a", "b", "c", "b"]


def test_a_score_that_was_renewed_is_used_recently() -> None:
    """A score that was too old and was made again is the youngest, not the oldest."""
    now = [0.0]
    fake = Flags(when="bad")
    guard = cached(fake, size=2, ttl=10.0, clock=lambda: now[0])
    guard.check("a", stage="input")
    now[0] = 5.0
    guard.check("b", stage="input")
    now[0] = 11.0
    guard.check("a", stage="input")
    guard.check("c", stage="input")
    guard.check("a", stage="input")
    assert fake.seen == ["a", "b", "a", "c"]


def test_a_score_is_kept_for_its_time() -> None:
    """After `ttl` seconds a text is scored again."""
    now = [0.0]
    fake = Flags(when="bad")
    guard = cached(fake, ttl=10.0, clock=lambda: now[0])
    for at in (0.0, 10.0, 10.1, 20.0):
        now[0] = at
        guard.check("x", stage="input")
    assert len(fake.seen) == 2


@pytest.mark.parametrize("fake", [Raises(ValueError("x")), Returns(None), Returns(float("nan"))])
def test_a_failure_is_not_kept(fake: Any) -> None:
    """What could not be scored is tried again."""
    fake.seen.clear()
    guard = cached(fake, breaker=None)
    for _ in range(3):
        assert guard.check("x", stage="input").outcome == "error"
    assert len(fake.seen) == 3


def test_each_rule_keeps_its_own_and_decides_by_itself() -> None:
    """The score is kept, not the verdict: thresholds and allowed texts are the rule's own, each time."""
    fake = Returns(Score(value=0.5, spans=(TextSpan(0, 1, "K"),)))
    cache = VerdictCache()
    guard = Guard(
        Guardrail(fake, stage="input", name="low", above=0.4, action=Mask(), cache=cache),
        Guardrail(fake, stage="input", name="high", above=0.6, cache=cache),
    )
    for _ in range(2):
        assert guard.check("xy", stage="input").guarded == "*y"
    assert len(fake.seen) == 2


def test_threads_do_not_get_each_others_scores() -> None:
    """Under many threads and a cache that is too small every text has its own verdict."""
    guard = cached(Flags(when="bad", cheap=True), size=3, action="redact")

    def ask(number: int) -> bool:
        text = f"{number % 7} bad {number % 11}"
        return guard.check(text, stage="input").guarded == text.replace("bad", "<FAKE>")

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(4000)))


async def test_tasks_that_ask_at_once_all_get_the_verdict() -> None:
    """A score under way is not waited for, and nobody gets another's."""
    guard = cached(Flags(when="bad", use_async=True))
    verdicts = await asyncio.gather(*(guard.acheck("bad" * (n % 2), stage="input") for n in range(20)))
    assert [verdict.stops for verdict in verdicts] == [n % 2 == 1 for n in range(20)]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"size": 0}, "size of VerdictCache is 0; give a whole number, 1 or more"),
        ({"ttl": -1}, "ttl of VerdictCache is -1; give seconds greater than 0"),
    ],
)
def test_mistakes_are_told_when_it_is_made(options: dict[str, Any], sentence: str) -> None:
    """Each mistake is a ConfigurationError of one sentence."""
    with pytest.raises(ConfigurationError) as raised:
        VerdictCache(**options)
    assert str(raised.value) == sentence
