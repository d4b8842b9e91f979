"""What looks at less finds the same: each short way beside the long one that says what is meant."""

from __future__ import annotations

import re

import pytest
from growth import growth
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmguard_middleware._edits import Found, merge, merge_spans
from llmguard_middleware.scorers import code_injection, deny_list, exact_match, invisible_text, url_allow_list
from llmguard_middleware.scorers._code._signs import _climbs
from llmguard_middleware.scorers._pii import _context as context
from llmguard_middleware.scorers._pii._sight import Sight
from llmguard_middleware.scorers._runs import Run, covered

SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.sampled_from("AB")), max_size=12)


@given(SPANS)
@example([(0, 5, "A"), (0, 9, "B"), (3, 3, "A"), (9, 12, "A")])
def test_spans_are_merged_as_what_guardrails_found_is(spans: list[tuple[int, int, str]]) -> None:
    """Overlapping ones become one of the kind that starts first; touching ones stay apart; empty ones go."""
    wanted = [(one.start, one.end, one.kind) for one in merge(Found(*span) for span in spans) if one.end > one.start]
    assert [tuple(span) for span in merge_spans(spans)] == wanted


@given(st.text("ab.", max_size=60), st.lists(st.integers(0, 60), max_size=20), st.integers(1, 15))
def test_a_run_ends_where_it_does_in_whatever_order_it_is_asked(text: str, starts: list[int], most: int) -> None:
    """At a stop, after so many characters, or with the text."""
    run = Run(text, re.compile(r"\."), most)
    for start in [one for one in starts if one <= len(text)]:
        stop = text.find(".", start, start + most)
        assert run.end(start) == (stop if stop >= 0 else min(len(text), start + most))


@given(
    st.sets(st.integers(0, 60), max_size=20),
    st.sets(st.integers(0, 60)),
    st.sets(st.integers(0, 60)),
    st.integers(1, 20),
)
def test_what_is_covered_is_what_all_bad_starts_cover(
    starts: set[int], bad: set[int], stops: set[int], most: int
) -> None:
    """Whichever of them were asked."""
    asked: list[int] = []

    def end(start: int) -> int:
        return min([stop for stop in stops if stop > start] + [start + most])

    def span(start: int) -> tuple[int, int] | None:
        asked.append(start)
        return (start, end(start)) if start in bad else None

    ordered = sorted(starts)
    every = [(one, end(one), "A") for one in ordered if one in bad]
    assert merge_spans((*one, "A") for one in covered(ordered, span, end)) == merge_spans(every)
    assert len(asked) == len({*asked})  # no start twice


def test_of_a_text_of_urls_few_are_read() -> None:
    """All of them run on to the same end, so that the first and the last tell it."""
    asked: list[int] = []

    def bad(start: int) -> tuple[int, int]:
        asked.append(start)
        return start, min(start + 2048, 60_000)

    found = covered(range(0, 60_000, 4), bad, lambda start: min(start + 2048, 60_000))
    assert [tuple(span) for span in merge_spans((*one, "A") for one in found)] == [(0, 60_000, "A")]
    assert len(asked) < 100


@pytest.mark.parametrize(
    ("word", "whole"), [("aba", False), ("aba", True), ("aa", False), ("-a-", True), ("aabaa", False)]
)
@given(text=st.text("ab-", max_size=30))
def test_words_that_begin_within_themselves_are_found_wherever_they_are(word: str, whole: bool, text: str) -> None:
    """As by looking at each place."""

    def joined(one: str, other: str) -> bool:
        return one.isalnum() and other.isalnum()

    every = [
        (at, at + len(word), "DENIED")
        for at in range(len(text))
        if text.startswith(word, at)
        and not (whole and (joined(text[at - 1 : at], word[0]) or joined(word[-1], text[at + len(word) :][:1])))
    ]
    assert deny_list(word, whole_words=whole).score(text=text).spans == merge_spans(every)


STEP = r"\.\.[/\\]{1,2}"
CLIMBS = (rf"{STEP}(?:{STEP}){{1,23}}(?:etc|root)(?![\w\-])", rf"{STEP}(?:{STEP}){{5,23}}")


@given(st.lists(st.sampled_from(["../", "..\\", "..//", ".", "/", "etc", "root", "x", " "]), max_size=80).map("".join))
@example("../" * 40 + "etc")
def test_steps_up_are_found_as_from_each_step(text: str) -> None:
    """A run of them is looked at once."""
    every = []
    for pattern in CLIMBS:
        match = re.search(pattern, text)
        while match is not None:
            every.append((*match.span(), "A"))
            match = re.compile(pattern).search(text, match.start() + 1)
    assert merge_spans((*span, "A") for span in _climbs(text)) == merge_spans(every)


WORDS = st.sampled_from(
    [*"a1 -", "card ", "phone", "telephone ", "계좌", "휴대전화", "번호 ", "order", "ssn ", "010", "Xcard", "카드"]
)


@settings(max_examples=200)
@given(st.lists(WORDS, max_size=60).map("".join), st.data())
def test_words_are_the_same_whether_looked_for_once_or_near_each_number(text: str, data: st.DataObject) -> None:
    """Whoever asks of many numbers has the whole text looked through."""
    numbers = [match.start() for match in re.finditer("[0-9]+", text)]
    for start in data.draw(st.lists(st.sampled_from(numbers), max_size=8)) if numbers else ():
        near, once = Sight(text), Sight(text)
        near.asked, once.asked = -len(text) - 1, len(text)
        assert context.told_before(near, start) == context.told_before(once, start)
        assert near.words is None
        assert once.words is not None


@given(st.text("a \u0301\u00e9İﷺ.", max_size=40), st.integers(0, 400))
def test_a_long_text_is_still_the_reference(text: str, more: int) -> None:
    """Though its beginning is looked at first."""
    reference = text + " b" * more
    scorer = exact_match(reference=reference, ignore_case=True)
    assert scorer.score(reference).value == scorer.score(f"{reference}  ").value == 1.0
    assert exact_match(reference=reference).score(reference + "x" * 5000).flagged


@pytest.mark.parametrize("scorer", [code_injection(ignore_fenced=True), url_allow_list("a.example"), invisible_text()])
@pytest.mark.parametrize(
    "unit", ["`", "```", "~~~\n", "](//", "=", "http://İ", "a\u200b", "../", "](http", "www.a.bb "]
)
def test_what_was_made_to_be_slow_is_linear(scorer: object, unit: str) -> None:
    """Found by giving each scorer what it looks for again and again."""
    assert growth(scorer.score, unit) < 24  # type: ignore[attr-defined]
