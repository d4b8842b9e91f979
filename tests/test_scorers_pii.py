"""pii(): what it finds, what it leaves alone, and that looking stays cheap."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard_middleware import ConfigurationError, Score, TextSpan
from llmguard_middleware.scorers import pii

FOUND = [
    ("hong@example.com", "EMAIL_ADDRESS", "hong@example.com"),
    ("메일은 hong@example.com입니다", "EMAIL_ADDRESS", "hong@example.com"),
    ("<a.b+c@mail.example.co.kr>.", "EMAIL_ADDRESS", "a.b+c@mail.example.co.kr"),
    ("주민번호 900101-1234567입니다", "KR_RRN", "900101-1234567"),
    ("9001011234567", "KR_RRN", "9001011234567"),
    ("900101 2234567", "KR_RRN", "900101 2234567"),
    ("카드 4111-1111-1111-1111로", "CREDIT_CARD", "4111-1111-1111-1111"),
    ("4111 1111 1111 1111 12", "CREDIT_CARD", "4111 1111 1111 1111"),
    ("378282246310005", "CREDIT_CARD", "378282246310005"),
    ("전화010-1234-5678번", "PHONE_NUMBER", "010-1234-5678"),
    ("01012345678", "PHONE_NUMBER", "01012345678"),
    ("+82 10-1234-5678", "PHONE_NUMBER", "+82 10-1234-5678"),
    ("SSN 123-45-6789.", "US_SSN", "123-45-6789"),
]


@pytest.mark.parametrize(("text", "kind", "what"), FOUND)
def test_it_is_found_where_it_is(text: str, kind: str, what: str) -> None:
    """Personal data is found with its kind and its place, next to Korean particles too."""
    start = text.index(what)
    span = TextSpan(start, start + len(what), kind)
    assert pii().score(text) == Score(value=1.0, flagged=True, label=kind, spans=(span,))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no data here, not even 12345",
        "a@b",
        "@example.com",
        "user @example.com",
        "4111 1111 1111 1112",
        "991301-1234567",
        "900132-1234567",
        "900101-9234567",
        "1900101-1234567",
        "000-12-3456",
        "666-12-3456",
        "900-12-3456",
        "123-00-4567",
        "123-45-0000",
        "1010-1234-5678-9",
        "2026-10-04 12:00:00",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    """Wrong check digits, impossible dates and ordinary numbers are not personal data."""
    assert pii().score(text) == Score(value=0.0)


def test_several_kinds_are_counted_and_named() -> None:
    """Value is how many were found, label all kinds, spans in order."""
    score = pii().score("010-1234-5678, a@b.co and c@d.co")
    assert (score.value, score.label) == (3.0, "EMAIL_ADDRESS,PHONE_NUMBER")
    assert [span.kind for span in score.spans] == ["PHONE_NUMBER", "EMAIL_ADDRESS", "EMAIL_ADDRESS"]


def test_only_the_kinds_that_are_named() -> None:
    """pii("KR_RRN") leaves mail addresses alone."""
    assert not pii("KR_RRN").score("a@b.co").flagged
    assert pii("KR_RRN", "EMAIL_ADDRESS").score("a@b.co").flagged


def test_an_unknown_kind_is_refused() -> None:
    """A kind that does not exist is a ConfigurationError with the closest one."""
    with pytest.raises(ConfigurationError) as caught:
        pii("EMAIL")
    assert str(caught.value).startswith('pii() knows no kind "EMAIL": ')
    assert "Known: EMAIL_ADDRESS, KR_RRN, KR_FRN, CREDIT_CARD, " in str(caught.value)


def test_digits_of_other_scripts_do_no_harm() -> None:
    """Arabic-Indic digits are digits, superscripts are none; neither breaks the scorer."""
    assert not pii().score("²" * 40 + "٣" * 40).flagged
    assert pii().score("٩٠٠١٠١-1234567").flagged


@settings(deadline=None)
@given(st.text("0123456789 -\u2013.@+aZ가", max_size=200))
def test_spans_are_in_order_and_within_the_text(text: str) -> None:
    """For any text spans are inside it, in order, and do not overlap; value counts them."""
    score = pii().score(text)
    ends = [0, *(place for span in score.spans for place in (span.start, span.end))]
    assert ends == sorted(ends)
    assert ends[-1] <= len(text)
    assert score.value == len(score.spans)
    assert score.flagged is bool(score.spans)


@settings(deadline=None)
@given(st.text("0123456789 -\u2013.@+aZ가", max_size=800))
def test_no_match_is_longer_than_the_open_tail_may_be(text: str) -> None:
    """open_tail() is between nothing and `reach`, and never more than the text."""
    scorer = pii()
    assert scorer.reach is not None
    assert 0 <= scorer.open_tail(text) <= min(len(text), scorer.reach)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("call +1 650-253-0000 now", ["+1 650-253-0000"]),
        ("전화는 +44 20 7946 0958입니다", ["+44 20 7946 0958"]),
        ("+82 2-3211-6000, +82 10-1234-5678", ["+82 2-3211-6000", "+82 10-1234-5678"]),
        ("+1 650-253-0000 42", ["+1 650-253-0000"]),
        ("a sum of +12 345 678", []),
    ],
)
def test_numbers_of_all_countries_are_found_with_the_extra(text: str, found: list[str]) -> None:
    """With phonenumbers installed, valid numbers written with + are found; other sums with + are not."""
    assert [text[span.start : span.end] for span in pii("PHONE_NUMBER").score(text).spans] == found
