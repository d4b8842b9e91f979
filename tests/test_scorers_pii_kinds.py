"""pii(): each kind in English and in Korean sentences, in odd characters, and in hundreds of generated sentences."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from growth import growth
from hypothesis import given, settings
from hypothesis import strategies as st
from personal import SENTENCES, iban, korean_phone, resident

from llmguard_middleware.scorers import pii
from llmguard_middleware.scorers._pii._sight import Sight

SHARED = Path(__file__).parents[2] / "shared" / "data"

FOUND = [
    ("EMAIL_ADDRESS", "hong@example.com", "Write to {}.", "메일은 {}입니다."),
    ("EMAIL_ADDRESS", "hong (at) example dot com", "Write to {}!", "주소는 {} 이에요"),
    ("EMAIL_ADDRESS", "hong 골뱅이 example.com", "Mine: {}", "제 메일은 {}이고요"),
    ("PHONE_NUMBER", "010-1234-5678", "Call {}.", "제 번호는 {}이에요."),
    ("PHONE_NUMBER", "010·1234·5678", "Call {}.", "번호는{}로"),
    ("PHONE_NUMBER", "02-345-6789", "Our desk: {}.", "사무실 {}로 오세요"),
    ("PHONE_NUMBER", "031) 345-6789", "Our desk: {}.", "사무실 {}로"),
    ("PHONE_NUMBER", "+44 20 7946 0958", "It is {}.", "영국은 {}입니다"),
    ("PHONE_NUMBER", "(650) 253-0000", "It is {}.", "미국은 {}입니다"),
    ("PHONE_NUMBER", "공일공 일이삼사 오육칠팔", "It is {}.", "{}이요"),
    ("PHONE_NUMBER", "212-555-0123 ext. 45", "It is {}.", "미국은 {}입니다"),
    ("PHONE_NUMBER", "8 (916) 046-62-28", "Call {}.", "전화는 {}입니다"),
    ("PHONE_NUMBER", "(08170) 622469", "Phone: {}.", "전화: {}."),
    ("PHONE_NUMBER", "555.1234", "Phone: {}.", "전화: {}."),
    ("PHONE_NUMBER", "00420 704 044 306", "Phone: {}.", "전화: {}."),
    ("PHONE_NUMBER", "(+358) 992868567", "Phone: {}.", "전화: {}."),
    ("CREDIT_CARD", "4111-1111-1111-1111", "My card is {}.", "카드는 {}인데요"),
    ("CREDIT_CARD", "4111.1111.1111.1111", "It is {}.", "{}로 결제"),
    (
        "CREDIT_CARD",
        "\uff14\uff11\uff11\uff11 \uff11\uff11\uff11\uff11 \uff11\uff11\uff11\uff11 \uff11\uff11\uff11\uff11",
        "It is {}.",
        "{}로 결제",
    ),
    ("CREDIT_CARD", "4111\u200b1111\u200b1111\u200b1111", "It is {}.", "{}로 결제"),
    ("CREDIT_CARD", "378282246310005", "It is {}.", "{}로 결제"),
    ("IBAN_CODE", "GB59 NAWV 7713 6867 0493 56", "Pay to {}.", "{}로 보내세요"),
    ("IBAN_CODE", "DE89370400440532013000", "Pay to {}.", "{}로 보내세요"),
    ("US_SSN", "123-45-6789", "It is {}.", "번호는 {}입니다"),
    ("US_SSN", "123 45 6789", "My SSN: {}.", "제 SSN은 {}입니다"),
    ("US_ITIN", "912-70-1234", "It is {}.", "번호는 {}입니다"),
    ("KR_RRN", "900101-1234567", "It is {}.", "주민번호 {}입니다"),
    ("KR_RRN", "900101\u20111234567", "It is {}.", "주민번호 {}입니다"),
    ("KR_RRN", "900101 — 1234567", "It is {}.", "주민번호 {}입니다"),
    ("KR_FRN", "900101-5234567", "It is {}.", "외국인등록번호 {}입니다"),
    ("KR_BRN", "124-81-00998", "It is {}.", "사업자등록번호는 {}입니다"),
    ("KR_DRIVER_LICENSE", "11-12-345678-90", "It is {}.", "면허는 {}입니다"),
    ("PASSPORT", "M12345678", "My passport is {}.", "여권번호는 {}입니다"),
    ("US_DRIVER_LICENSE", "F1234567", "My driver license is {}.", "제 driver license는 {}입니다"),
    ("PASSPORT", "123456789", "PassPort {}", "PassPort {}입니다"),
    ("US_DRIVER_LICENSE", "D1234567", "Driver LiCeNsE: {}.", "Driver LIcense {}입니다"),
    ("BANK_ACCOUNT", "110-123-456789", "The bank account is {}.", "계좌는 {}입니다"),
    ("DATE_OF_BIRTH", "1990년 1월 5일", "Born {}.", "생년월일은 {}입니다"),
    ("DATE_OF_BIRTH", "January 5, 1990", "She was born on {}.", "생일: {}"),
    ("IP_ADDRESS", "48.90.248.226", "It came from {}.", "주소는 {}입니다"),
    ("IP_ADDRESS", "2001:db8::8a2e:370:7334", "It came from {}.", "주소는 {} 입니다"),
    ("MAC_ADDRESS", "00:1A:2b:3c:4D:5e", "It is {}.", "주소는 {} 입니다"),
    ("MAC_ADDRESS", "001a.2b3c.4d5e", "It is {}.", "주소는 {} 입니다"),
    ("URL_CREDENTIALS", "hong:p4ssw0rd", "postgres://{}@db/x", "주소는 https://{}@db/x 입니다"),
    ("CRYPTO", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "Send to {}.", "지갑은 {}입니다"),
    ("CRYPTO", "0x52908400098527886E0F7030069857D2E4169EE7", "Send to {}.", "지갑은 {}입니다"),
]


@pytest.mark.parametrize("language", [2, 3], ids=["en", "ko"])
@pytest.mark.parametrize("row", FOUND, ids=[f"{row[0]}-{number}" for number, row in enumerate(FOUND)])
def test_each_kind_is_found_in_a_sentence(row: tuple[str, str, str, str], language: int) -> None:
    """Nothing but the datum is found, from its first character to its last, next to a Korean particle too."""
    text = str(row[language]).format(row[1])
    found = [(text[span.start : span.end], span.kind) for span in pii().score(text).spans]
    assert found == [(row[1], row[0])]


@pytest.mark.parametrize(
    "text",
    [
        "look at it. Now we dot com",
        "meet me at home dot",
        "0.4111111111111111 and 12345678901234567890",
        "order 1234-5678-9012",
        "2026-10-04 12:30:45.123456",
        "10.0.0 is a version, 1.2.3.4.5 is another",
        "std::vector<int> a::b",
        "the build 20240506.123 of 2024/05/06",
        "가격은 1,234,567원이고 수량은 100개",
        "born in the 1990s",
        "123-45-67890 has a wrong check digit",
        "GB58NAWV77136867049356",
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb",
        "1712345678901",
        "page 123-456",
        "M12345678 is a screw",
        "deadbeef-dead-beef-dead-beefdeadbeef",
        "call it v1.2.3.4 or version 10.20.30.40",
        "we call it done by 20240114, 9/13/2013 or 2014. 2. 26.",
        "the phone was made in 2016-2020, see arXiv 2108.06130",
        "phone list: 29 24 3 1 22 17 5",
        "account balance 883188643원",
        "바코드 8801021400121",
        "doi:10.9005/s41037-009-81648-3",
        "3 5 3 3 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0",
        "'' @ '.-'@",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    """Times, versions, prices, code and wrong check digits are no personal data."""
    assert pii().score(text).spans == ()


@pytest.mark.parametrize(
    ("kinds", "made"),
    [({"KR_RRN"}, resident), ({"IBAN_CODE"}, iban), ({"PHONE_NUMBER"}, korean_phone)],
    ids=["KR_RRN", "IBAN_CODE", "korean-phones"],
)
def test_generated_data_are_found_and_nothing_else(kinds: set[str], made: Callable[[random.Random], str]) -> None:
    """Of 1,000 sentences in both languages each datum is found, whole, and no other kind."""
    drawn = random.Random(7)
    for _ in range(1000):
        datum = made(drawn)
        text = drawn.choice(SENTENCES).format(datum)
        found = [(text[span.start : span.end], span.kind) for span in pii().score(text).spans]
        assert found == [(datum, *kinds)], text


def test_the_tuning_set_is_found() -> None:
    """E-mail, cards, phones, IBAN, SSN and IP of the tuning set, where that is there; no other text has any of them."""
    if not SHARED.is_dir():
        return
    sought = {"EMAIL_ADDRESS", "CREDIT_CARD", "PHONE_NUMBER", "IBAN_CODE", "US_SSN", "IP_ADDRESS"}
    missed, wrong = [], []
    for line in (SHARED / "pii_en_tune.jsonl").read_text().splitlines():
        row = json.loads(line)
        told = {(span["start"], span["end"], span["type"]) for span in row["spans"]}
        found = {(span.start, span.end, span.kind) for span in pii(*sought).score(row["text"]).spans}
        missed += [span for span in told if span[2] in sought and span not in found]
        wrong += [(row["text"], span) for span in found if span not in told]
    assert (missed, wrong) == ([], [])


def test_korean_comments_hold_no_personal_data() -> None:
    """None of 1,000 Korean comments is flagged, where they are there."""
    if not SHARED.is_dir():
        return
    rows = (SHARED / "comments_ko_tune.jsonl").read_text().splitlines()
    assert [row for row in rows if pii().score(json.loads(row)["text"]).flagged] == []


UNITS = ("1 2 3 4 ", "+1 2345678 ", "12-34-5678 ", "a@", "a.", "://", "GB59 ", "(at)", "1.1.1.", "aa:bb:", "at dot ")


@pytest.mark.parametrize("unit", UNITS)
def test_what_is_made_to_be_slow_is_linear(unit: str) -> None:
    """Eight times as much of a text that begins like personal data everywhere takes eight times as long, not 64."""
    assert growth(pii().score, unit) < 32


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_scored(text: str) -> None:
    """Whatever the characters, lone surrogates included: spans lie inside, in order, and say what they found."""
    spans = pii().score(text).spans
    places = [place for span in spans for place in (span.start, span.end)]
    assert places == sorted(places)
    assert all(0 <= span.start < span.end <= len(text) and span.kind for span in spans)


def test_invisible_characters_hide_nothing_and_move_nothing() -> None:
    """However many of them are in between, as far as a stream is held; the span is that of the given text."""
    text = "카드 " + ("\u2060" * 40).join("4111111111111111") + " 끝"
    (span,) = pii().score(text).spans
    assert (span.kind, text[span.start], text[span.end - 1 : span.end + 1]) == ("CREDIT_CARD", "4", "1 ")


def test_a_scan_takes_no_lock() -> None:
    """A child that is forked while another thread scans would wait for it for ever."""
    assert not [kind for kind in vars(Sight).values() if hasattr(kind, "lock")]
