"""regex(): patterns of the user's own, which no text can make hang."""

from __future__ import annotations

import json
import pickle
import random
import subprocess
import sys
from pathlib import Path
from time import thread_time
from typing import Any

import pytest
import re2
from growth import growth
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard_middleware import Call, ConfigurationError, Guard, Guardrail, Score, TextSpan
from llmguard_middleware._drive import drive
from llmguard_middleware._flow import Flow
from llmguard_middleware.scorers import load, regex

SHARED = Path(__file__).parents[2] / "shared" / "data"


def redacted(scorer: Any, text: str) -> str:
    """What a guard makes of it."""
    return Guard(Guardrail(scorer, stage="output", action="redact")).check(text, stage="output").guarded


def streamed(scorer: Any, text: str, size: int) -> str:
    """The same in chunks of this size."""
    guard = Guard(Guardrail(scorer, stage="output", action="redact"))
    stream = Flow(guard, Call("chat")).stream()
    left = "".join(stream.feed(text[at : at + size]) for at in range(0, len(text), size))
    return left + drive(stream.finish(), guard.workers)


def test_what_a_pattern_matches_is_found_with_its_kind() -> None:
    """One pattern, several, or several by name; in English and Korean, lone surrogates before it or not."""
    text = "\ud800 주문 ORD-123456입니다, T12 and #7"
    assert redacted(regex(r"ORD-\d{6}"), text) == "\ud800 주문 <MATCH>입니다, T12 and #7"
    assert (
        redacted(regex([r"ord-\d{6}", "#7"], kind="ID", ignore_case=True), text)
        == "\ud800 주문 <ID>입니다, T12 and <ID>"
    )
    named = regex({"ORDER": r"ORD-\d{6}", "TICKET": [r"T\d+", r"#\d+"]})
    assert redacted(named, text) == "\ud800 주문 <ORDER>입니다, <TICKET> and <TICKET>"
    assert named.score("T1") == Score(value=1.0, flagged=True, label="TICKET", spans=(TextSpan(0, 2, "TICKET"),))
    assert named.score("nothing") == Score(value=0.0)


def test_it_is_made_by_name_and_from_a_file() -> None:
    """As guard.yaml gives it, patterns by kind."""
    rule = {
        "scorer": "regex",
        "options": {"patterns": {"ORDER": r"ORD-\d{6}"}, "max_length": 10},
        "stage": "output",
        "action": "redact",
    }
    guard = Guard.from_config({"guardrails": [rule]})
    assert guard.check("ORD-123456입니다", stage="output").guarded == "<ORDER>입니다"
    assert load("regex", ["a", "b"]).score("ab").value == 2.0


def test_a_match_longer_than_max_length_is_none() -> None:
    """What counts is what matches in so many characters from its start; overlapping matches are one span."""
    assert regex("a.*z", max_length=5).score("abcdefz") == Score(value=0.0)
    assert regex("가.*힣", max_length=3).score("가나힣 가나다힣").spans == (TextSpan(0, 3, "MATCH"),)
    assert regex(r"\d{4}", max_length=4).score("123456").spans == (TextSpan(0, 6, "MATCH"),)
    assert regex("a+", max_length=2).score("aaaaa").spans == (TextSpan(0, 5, "MATCH"),)


PATTERNS = [
    "a+b",
    r"\bab\b",
    "^a",
    "b$",
    "(?m)^a.b$",
    "(?:ab|aba)c?",
    "가+a",
    "[^a]b{2}",
    "(?s)a.*?b",
    r"b.\z",
    "(?i)AB",
]


@settings(max_examples=500, deadline=None)
@given(st.text("ab 가\nc\ud800", max_size=60), st.sampled_from(PATTERNS), st.integers(1, 7))
def test_every_place_that_matches_is_found(text: str, pattern: str, longest: int) -> None:
    """What RE2 itself matches at each start, in so many characters, is within a span, and nothing else is."""
    scorer = regex(pattern, max_length=longest)
    plain = text.replace("\ud800", "?")
    compiled = re2.compile(pattern)
    inside = set()
    for start in range(len(plain)):
        match = compiled.match(plain, start, min(len(plain), start + longest))
        inside |= set(range(start, match.end() if match else start))
    assert {at for span in scorer.score(text).spans for at in range(span.start, span.end)} == inside


@settings(max_examples=500, deadline=None)
@given(st.text("ab 가\nc\ud800", max_size=150), st.sampled_from(PATTERNS), st.integers(1, 7), st.integers(1, 30))
def test_it_streams_as_it_judges(text: str, pattern: str, longest: int, size: int) -> None:
    """A stream is redacted as the whole text is, whatever the pattern and the chunks."""
    scorer = regex(pattern, max_length=longest)
    assert streamed(scorer, text, size) == redacted(scorer, text)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(?=a)", "invalid perl operator: (?=; RE2 has no look-ahead"),
        ("(?<!a)b", "invalid perl operator: (?<!; RE2 has no look-ahead"),
        (r"(a)\1", r"invalid escape sequence: \1; RE2 has no look-ahead"),
        ("a++", "bad repetition operator: ++; RE2 has no look-ahead"),
        ("(", "missing ): ("),
        ("x*", "it matches the empty text, and so every text"),
        (r"\pL{1,300}", "it is too large; repeat less, or write several patterns"),
        (r"(?:a{1000}){1000}", "invalid repetition size"),
        (r"\C", r"\C is a part of a character; write . or (?s:.)"),
        ("\ud800", "it is no text in UTF-8"),
    ],
)
def test_what_re2_cannot_take_is_refused(pattern: str, why: str) -> None:
    """One sentence that says why."""
    with pytest.raises(ConfigurationError) as caught:
        regex(pattern)
    assert str(caught.value).startswith(f"regex() cannot take {json.dumps(pattern)}: {why}")


@pytest.mark.parametrize("patterns", ["", [], {}, [""], 3, {"A": []}, {"A": 3}, {3: "a"}, None])
def test_what_is_no_pattern_is_refused(patterns: Any) -> None:
    """One sentence that says what to write."""
    with pytest.raises(ConfigurationError, match=r"regex\(\) needs patterns, for example regex\(r\"ORD-"):
        regex(patterns)


@pytest.mark.parametrize("most", [0, -1, 10_001, True, "9", None])
def test_a_length_out_of_range_is_refused(most: Any) -> None:
    """One sentence that says what to write."""
    with pytest.raises(ConfigurationError) as caught:
        regex("a", max_length=most)
    assert str(caught.value) == f"max_length is {most!r}; it must be a whole number of characters from 1 to 10000"


def test_without_google_re2_the_sentence_says_what_to_install() -> None:
    """And importing the scorers does not load it."""
    program = """
import sys
from llmguard_middleware import ConfigurationError
from llmguard_middleware.scorers import regex
print("re2" in sys.modules)
sys.modules["re2"] = None
try:
    regex("a")
except ConfigurationError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == 'False\nregex() needs google-re2: pip install "llmguard-middleware[regex]"\n'


EVIL = ["(a+)+$", "(a|a)*b", "(?:a*)*c", "(.*a){20}!", "a.*b|a", "(a|b)*a(a|b){60}c|a", r"(?:[a-z]*a[a-z]{500}){2}!|b"]


@pytest.mark.parametrize("pattern", EVIL)
def test_no_pattern_hangs(pattern: str) -> None:
    """What would take 20,000 characters more than 0.3 s of CPU is unscored, with a reason, and not after minutes."""
    chance = random.Random(pattern)
    for text in ("a" * 20_000, "".join(chance.choice("ab") for _ in range(20_000))):
        begun = thread_time()
        score = regex(f"(?:{pattern})x|{pattern}").score(text) if pattern.endswith("!") else regex(pattern).score(text)
        assert thread_time() - begun < 30  # whatever else the machine does; without a limit, minutes to years
        assert score.unscored == score.explanation.startswith("a pattern matches nearly everywhere in this text")


@pytest.mark.parametrize("unit", ["ORD-", "ORD-123456", "a ", "가"])
def test_time_is_linear(unit: str) -> None:
    """Eight times as much text takes about eight times as long."""
    assert growth(regex({"ORDER": r"ORD-\d{6}", "WORD": r"\b[a-z]+\b"}, max_length=20).score, unit) < 32


def test_a_scorer_goes_to_another_process() -> None:
    """Pickled, it is the same scorer; another has other options."""
    scorer = regex({"A": "a+"}, ignore_case=True, max_length=9)
    copy = pickle.loads(pickle.dumps(scorer))
    assert copy.score("xAA") == scorer.score("xAA")
    assert (copy.options, copy.reach) == (scorer.options, 10)
    assert regex("a").options != regex("b").options


def test_ordinary_patterns_find_nothing_in_comments() -> None:
    """Three patterns over the 1,000 Korean comments, if they are here."""
    file = SHARED / "comments_ko_tune.jsonl"
    rows = [json.loads(line)["text"] for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
    text = "\n".join(rows)
    scorer = regex({"ORDER": r"ORD-\d{6}", "DATE": r"\d{4}-\d{2}-\d{2}", "LINK": r"(?i)link://\S+"}, max_length=40)
    assert not scorer.score(text).flagged
