"""Long texts through inline scorers: in pieces, with the outcome of the whole."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard_middleware import Guard, Guardrail, Score, TextSpan, scorer
from llmguard_middleware._edits import Found, merge
from llmguard_middleware._pieces import PIECE, in_pieces
from llmguard_middleware.scorers import pii
from llmguard_middleware.testing import FakeScorer, Returns

if TYPE_CHECKING:
    from collections.abc import Sequence

KINDS = ("A", "B")


class Words(FakeScorer):
    """A local scorer that finds each of these words everywhere, overlapping, in any order."""

    def __init__(self, words: Sequence[tuple[str, str]], **options: Any) -> None:
        super().__init__(name="words", cheap=True, reach=max(len(word) for word, _ in words), **options)
        self.words = words

    def outcome(self, text: str) -> Score:
        """A span for each occurrence."""
        spans = tuple(
            TextSpan(found.start(), found.start() + len(word), kind)
            for word, kind in self.words
            for found in re.finditer(f"(?={re.escape(word)})", text)
        )
        return Score(value=float(len(spans)), flagged=bool(spans), spans=spans)


def covered(spans: Sequence[TextSpan]) -> list[tuple[int, int, str]]:
    """What is left of spans once overlapping ones are one."""
    return [(one.start, one.end, one.kind) for one in merge(Found(*span) for span in spans)]


def pieced(scorer_: Any, text: str) -> Score:
    """The score in pieces."""
    reach = scorer_.reach
    assert reach is not None
    steps = in_pieces(getattr(scorer_, "score", scorer_), text, reach, scorer_, "words")
    while True:
        try:
            next(steps)
        except StopIteration as stop:  # noqa: PERF203 - how a generator ends
            score: Score = stop.value
            return score


@settings(max_examples=1000, deadline=None)
@given(
    st.lists(st.tuples(st.text("ab", min_size=1, max_size=9), st.sampled_from(KINDS)), min_size=1, max_size=4),
    st.lists(st.text("abc", max_size=40), min_size=3, max_size=3),
)
def test_pieces_find_what_the_whole_text_holds(words: list[tuple[str, str]], around: list[str]) -> None:
    """Matches at the border of two pieces, overlapping ones of several kinds too, are found whole and once."""
    fake = Words(words)
    text = ""
    for border, middle in enumerate(around[:2], 1):
        text += "-" * (border * PIECE - len(middle) // 2 - len(text)) + middle
    text += "-" * 100 + around[2]
    assert covered(pieced(fake, text).spans) == covered(fake.outcome(text).spans)


@pytest.mark.parametrize("shift", range(-8, 9))
def test_a_match_on_a_border_is_edited_whole(shift: int) -> None:
    """No character of personal data at the border of two pieces is left, and it is one placeholder."""
    guard = Guard(Guardrail(pii(), stage="input", action="redact"))
    address = "hong@example.com"
    text = " " * (PIECE + shift - 8) + address + " " * 100
    assert guard.check(text, stage="input").guarded == text.replace(address, "<EMAIL_ADDRESS>")


def test_two_matches_over_one_border_hide_nothing_of_each_other() -> None:
    """Where a long and a short match cross a border, all of the long one is edited."""
    fake = Words([("abbbbbbc", "LONG"), ("bbb", "SHORT")])
    text = " " * (PIECE - 4) + "abbbbbbc" + " " * 100
    guard = Guard(Guardrail(fake, stage="input", action="redact"))
    assert guard.check(text, stage="input").guarded == " " * (PIECE - 4) + "<LONG>" + " " * 100


def test_a_threshold_is_for_the_whole_text() -> None:
    """A rule with a condition on the value sees the value of the text, not the greatest of its pieces."""
    fake = Words([("ab", "A")])
    text = ("ab" + " " * 8000) * 5
    guard = Guard(Guardrail(fake, stage="input", above=4))
    assert guard.check(text, stage="input").outcome == "blocked"
    assert guard.check(text[:-8002], stage="input").outcome == "passed"


def test_a_cheap_scorer_gets_at_most_64_kb_at_a_time() -> None:
    """However long the text, the event loop waits for one piece with its surroundings, and no longer."""
    fake = Words([("ab", "A")])
    text = "x" * 500_000 + "ab"
    guard = Guard(Guardrail(fake, stage="input", action="redact"))
    assert guard.check(text, stage="input").guarded == text[:-2] + "<A>"
    assert max(map(len, fake.seen)) <= 64 * 1024
    assert len(fake.seen) > 1


async def test_others_get_their_turn_between_pieces() -> None:
    """While a long text is scored inline other tasks of the loop run."""
    turns: list[int] = []
    text = "x" * 300_000

    async def other(done: list[bool]) -> None:
        while not done:
            turns.append(1)
            await asyncio.sleep(0)

    import asyncio  # noqa: PLC0415 - for this one

    done: list[bool] = []
    task = asyncio.ensure_future(other(done))
    await Guard(Guardrail(Words([("ab", "A")]), stage="input")).acheck(text, stage="input")
    done.append(True)
    await task
    assert len(turns) >= len(text) // PIECE - 1


def test_a_cheap_scorer_that_must_see_all_is_moved_to_the_pool_for_long_texts() -> None:
    """Without a reach a long text is scored whole, in a thread, and with the rule's time limit."""
    fake = Returns(False, cheap=True)
    text = "x" * (PIECE + 1)
    assert Guard(Guardrail(fake, stage="input")).check(text, stage="input").outcome == "passed"
    assert fake.seen == [text]


def test_a_piece_that_fails_fails_the_whole() -> None:
    """One piece that cannot be scored is a text that could not be."""

    @scorer(cheap=True, reach=2)
    def moody(text: str) -> Score:
        """Raises where it finds "bad"."""
        if "bad" in text:
            raise StopIteration
        return Score()

    guard = Guard(Guardrail(moody, stage="input"))
    assert guard.check("x" * 40_000, stage="input").outcome == "passed"
    assert guard.check("x" * 40_000 + "bad", stage="input").outcome == "error"


def test_pii_in_pieces_equals_pii_at_once() -> None:
    """Long random texts full of personal data come out of pieces as of one scan."""
    dice = random.Random(7)
    parts = ("hong@example.com", "4111 1111 1111 1111", "010-1234-5678", " ", "가", "x", "1", "a@b.cc@", "@d.ee", "-")
    fake = pii()
    for _ in range(10):
        text = "".join(dice.choice(parts) * dice.choice((1, 1, 30)) for _ in range(3000))
        assert pieced(fake, text) == fake.score(text)


@pytest.mark.parametrize("length", [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_a_run_that_ends_where_a_piece_ends_may_go_on(length: int) -> None:
    """With a reach of 0 what lies on both sides of a border is one span, however long."""
    text = " " + "1" * length + " "
    assert covered(pieced(digits, text).spans) == [(1, length + 1, "N")]


@scorer(cheap=True, reach=0)
def digits(text: str) -> Score:
    """Runs of digits: whether a digit belongs to one depends on nothing else."""
    spans = tuple(TextSpan(*match.span(), "N") for match in re.finditer(r"\d+", text))
    return Score(flagged=bool(spans), spans=spans)
