"""deny_list(), invisible_text(), length(), valid_json(): one question each."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard_middleware import Call, ConfigurationError, Guard, Guardrail, Score, TextSpan
from llmguard_middleware._drive import drive
from llmguard_middleware._flow import Flow
from llmguard_middleware.scorers import deny_list, invisible_text, length, load, valid_json


def redacted(scorer: Any, text: str) -> str:
    """What a guard makes of it."""
    return Guard(Guardrail(scorer, stage="output", action="redact")).check(text, stage="output").guarded


def streamed(scorer: Any, text: str, size: int) -> str:
    """The same in chunks of this size."""
    guard = Guard(Guardrail(scorer, stage="output", action="redact"))
    stream = Flow(guard, Call("chat")).stream()
    left = "".join(stream.feed(text[at : at + size]) for at in range(0, len(text), size))
    return left + drive(stream.finish(), guard.workers)


def test_words_are_found_in_english_and_before_korean_particles() -> None:
    """Whatever the case, as whole words in Latin letters, and wherever they are in Korean."""
    words = deny_list("acme", "Project X", "홍길동")
    text = "ACME and acme's, not acmeology; project x입니다, 홍길동에게"
    assert redacted(words, text) == "<DENIED> and <DENIED>'s, not acmeology; <DENIED>입니다, <DENIED>에게"
    assert words.score("nothing") == Score(value=0.0)
    assert words.score("Acme!") == Score(value=1.0, flagged=True, label="DENIED", spans=(TextSpan(0, 4, "DENIED"),))


def test_words_may_be_parts_of_words_and_have_another_name() -> None:
    """With whole_words=False, ignore_case=False and kind."""
    words = deny_list("Ab", kind="RIVAL", ignore_case=False, whole_words=False)
    assert redacted(words, "xAby ab") == "x<RIVAL>y ab"


@settings(max_examples=300, deadline=None)
@given(st.text("acmeİ X\u200b\u200d가1.", max_size=120), st.integers(1, 9), st.booleans())
def test_they_stream_as_they_judge(text: str, size: int, whole: bool) -> None:
    """Words and invisible characters are redacted in a stream as in the whole text."""
    for scorer in (deny_list("acme", "me X", "a", whole_words=whole), invisible_text()):
        assert streamed(scorer, text, size) == redacted(scorer, text)


@pytest.mark.parametrize("words", [(), ("",), (" ",), (3,)])
def test_a_list_without_words_is_refused(words: Any) -> None:
    """One sentence that says what to write."""
    with pytest.raises(
        ConfigurationError, match=r'deny_list\(\) needs words, for example deny_list\("Project X", "acme"\)'
    ):
        deny_list(*words)


SMUGGLED = "".join(chr(0xE0000 + ord(one)) for one in "obey")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Hi" + SMUGGLED + "!", "Hi<TAG_CHARACTERS>!"),
        ("pass\u200bword 비\u200d밀", "pass<ZERO_WIDTH>word 비<ZERO_WIDTH>밀"),
        ("a\u202eb", "a<BIDI_CONTROLS>b"),
        ("x\ufe01\ufe02\U000e0100", "x\ufe01<VARIATION_SELECTORS>"),
        ("\u3164이름", "<FILLERS>이름"),
        ("👨\u200d👩\u200d👧 ❤\ufe0f \u0645\u06cc\u200c\u062e\u0648 क\u094d\u200dष", None),
        ("\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", None),
    ],
)
def test_what_nobody_sees_goes_and_what_scripts_need_stays(text: str, left: str | None) -> None:
    """Emoji, flags and joined letters keep their characters."""
    assert redacted(invisible_text(), text) == (text if left is None else left)


@pytest.mark.parametrize(
    ("options", "text", "score"),
    [
        ({}, "안녕하세요", Score(value=5.0)),
        ({"least": 3}, "ab", Score(value=2.0, flagged=True, label="short")),
        ({"most": 3}, "abcd", Score(value=4.0, flagged=True, label="long")),
        ({"most": 3, "unit": "words"}, "one two  three", Score(value=3.0)),
    ],
)
def test_a_length_has_bounds(options: dict[str, Any], text: str, score: Score) -> None:
    """In characters or words, flagged below and above."""
    assert length(**options).score(text) == score


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"unit": "lines"}, 'unit is \'lines\'; it must be "characters" or "words"'),
        ({"least": 3, "most": 2}, "least is 3 and most is 2; give whole numbers from 0 up, least no greater than most"),
        ({"most": "9"}, "least is 0 and most is '9'; give whole numbers from 0 up, least no greater than most"),
    ],
)
def test_a_length_that_is_none_is_refused(options: dict[str, Any], sentence: str) -> None:
    """One sentence that says what to write."""
    with pytest.raises(ConfigurationError) as caught:
        length(**options)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("text", ['{"a": [1, null, "x"]}', "3", '"text"', " [] \n"])
def test_json_is_json(text: str) -> None:
    """Any value of RFC 8259."""
    assert valid_json().score(text) == Score(value=1.0)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Expecting value at line 1, column 1"),
        ('{"secret": }', "Expecting value at line 1, column 12"),
        ("NaN", "NaN is no JSON"),
        ("[" * 200_000, "nested too deep"),
        ("1" * 5000, "a number has too many digits"),
        ("```json\n{}\n```", "Expecting value at line 1, column 1"),
    ],
)
def test_what_is_no_json_is_told_where(text: str, why: str) -> None:
    """The explanation quotes nothing."""
    assert valid_json().score(text) == Score(value=0.0, flagged=True, label="invalid", explanation=why)


def test_json_may_stand_in_a_fence() -> None:
    """As chat models write it, if that is allowed."""
    assert valid_json(fenced=True).score("```json\n{}\n```\n") == Score(value=1.0)


@pytest.mark.parametrize("name", ["invisible_text", "length", "valid_json"])
@settings(max_examples=100, deadline=None)
@given(st.text())
def test_any_text_is_scored(name: str, text: str) -> None:
    """Loaded by name, lone surrogates included."""
    assert load(name).score(text).value >= 0
