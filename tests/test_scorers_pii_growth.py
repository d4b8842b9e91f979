"""pii(): no text, however it is made, takes more than time in proportion to its length."""

from __future__ import annotations

from functools import partial

import pytest
from growth import growth
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmguard_middleware.scorers import pii
from llmguard_middleware.scorers._pii._tails import open_tail

# What each kind's finder begins to look at and then gives up, or looks at again from the next place.
BEGUN = {
    "EMAIL_ADDRESS": ("a@", "@a.", "a.b-c@a-", "a at a dot ", "[at]a[dot]", "골뱅이a."),
    "CREDIT_CARD": ("4111 1111 1111 1112 ", "4 1 1 1 ", "4-", "card 501"),
    "PHONE_NUMBER": ("+1 2 3 4 ", "+49 (0) 30 1", "call 5 ", "공일공일", "010-", "(((+1", "phone 12 34 x1 "),
    "IBAN_CODE": ("GB59 ", "GB59NAWV7713686704935", "iban gb59 ", "A1"),
    "US_SSN": ("ssn 123 45 6", "123-45-678"),
    "US_ITIN": ("912-70-123", "itin 912 "),
    "KR_RRN": ("900101-1", "9001011", "900101 - "),
    "KR_FRN": ("900101-5", "8801275091914 "),
    "KR_BRN": ("124-81-0099", "사업자 1"),
    "KR_DRIVER_LICENSE": ("11-12-345678-9", "면허 11"),
    "BANK_ACCOUNT": ("계좌 1-2-3-", "bank 12345678-1", "12-34-5678 "),
    "PASSPORT": ("passport ", "여권M1"),
    "US_DRIVER_LICENSE": ("license A1", "DLicen1"),
    "DATE_OF_BIRTH": ("born 1/", "생일생년", "birthday 1990. 1. ", "DOB 1"),
    "IP_ADDRESS": ("1.1.1.", "::", "1:2:", "a:b::"),
    "MAC_ADDRESS": ("aa:bb:", "aa-bb-", "aaaa.bbbb."),
    "URL_CREDENTIALS": ("://", "://a:b", "://:@"),
    "CRYPTO": ("1BoatSL", "bc1q", "0x52908400"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "unit"), [(kind, unit) for kind, units in BEGUN.items() for unit in units])
def test_a_megabyte_takes_eight_times_as_long_as_an_eighth(kind: str, unit: str) -> None:
    """And not 64 times, of whatever begins like a kind everywhere."""
    assert growth(pii(kind).score, unit, small=125_000) < 32


def test_every_kind_has_been_tried() -> None:
    """A kind that is added needs its own."""
    assert {*BEGUN} == {*pii().options.split(",")}


FRAGMENTS = sorted({*"019 -./()+@:xaA가\u200b\uff11\n", *(unit for units in BEGUN.values() for unit in units)})


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=6).map("".join))
@example("+1 2 3 4 ")
@example("공일" * 3)
def test_whatever_is_repeated_is_scored_in_linear_time(unit: str) -> None:
    """Of any mixture of beginnings; and so is what a stream asks: what of a text is still open."""
    assert growth(pii().score, unit) < 32
    assert growth(partial(open_tail, reach=1_000_000), unit) < 32
