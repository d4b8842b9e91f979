"""pii: personal data by pattern and checksum, Korean and English alike."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec

from ._patterns import Kind, PatternScorer, matches, select

__all__ = ["pii"]

# ASCII classes, not \w and \b: a Korean particle follows an address without a space (hong@example.com입니다).
_LOCAL = f"{string.ascii_letters}{string.digits}._%+-"
_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?\.){1,4}[A-Za-z]{2,24}")


def _emails(text: str) -> Iterator[tuple[int, int]]:
    at = text.find("@")
    while at >= 0:
        before = text[max(0, at - 64) : at]
        local = len(before) - len(before.rstrip(_LOCAL))  # far cheaper than a pattern, which tries every start
        domain = _DOMAIN.match(text, at + 1)
        if local and domain:
            yield at - local, domain.end()
        at = text.find("@", at + 1)


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _card(candidate: str) -> int | None:
    """The longest stretch of 13 to 19 digits from the start that passes ISO/IEC 7812's check digit."""
    ends = [i + 1 for i, c in enumerate(candidate) if c.isdecimal()]
    for count in range(len(ends), 12, -1):
        end = ends[count - 1]
        whole = end == len(candidate) or not candidate[end].isdecimal()
        if whole and _luhn("".join(c for c in candidate[:end] if c.isdecimal())):
            return end
    return None


def _birth_date(candidate: str) -> int | None:
    """Length if the number starts with a date (YYMMDD); the check digit was dropped from new numbers in 2020."""
    month, day = int(candidate[2:4]), int(candidate[4:6])
    return len(candidate) if 1 <= month <= 12 and 1 <= day <= 31 else None


_HAS_PHONENUMBERS = find_spec("phonenumbers") is not None
_KOREAN_MOBILE = matches(r"(?<!\d)(?:\+82[ \-.]?1|01)[016789][ \-.]?\d{3,4}[ \-.]?\d{4}(?!\d)")


def _valid_number(candidate: str) -> int | None:
    """The longest stretch from the start that is a number in use somewhere, by Google's libphonenumber."""
    import phonenumbers  # noqa: PLC0415 - an extra, loaded when there is something to look at

    for end in range(len(candidate), 7, -1):
        if candidate[end - 1].isdecimal() and not candidate[end : end + 1].isdecimal():
            with suppress(phonenumbers.NumberParseException):
                if phonenumbers.is_valid_number(phonenumbers.parse(candidate[:end])):
                    return end
    return None


_INTERNATIONAL = matches(r"(?<![\d+])\+[1-9][\d \-.()]{5,20}\d(?!\d)", trigger="+", length=_valid_number)


def _phones(text: str) -> Iterator[tuple[int, int]]:
    yield from _KOREAN_MOBILE(text)
    if _HAS_PHONENUMBERS:
        yield from _INTERNATIONAL(text)


# Names are Presidio's entity names. A reach is the longest match plus what its look-arounds see.
_KINDS = (
    Kind("EMAIL_ADDRESS", _emails, 64 + 1 + 4 * 64 + 24),
    Kind("KR_RRN", matches(r"(?<!\d)\d{6}[ \-–]?[1-8]\d{6}(?!\d)", length=_birth_date), 16),
    Kind("CREDIT_CARD", matches(r"(?<!\d)[2-6]\d{3}(?:[ \-]?\d){9,15}(?!\d)", length=_card), 40),
    Kind("PHONE_NUMBER", _phones, 25),
    Kind("US_SSN", matches(r"(?<!\d)(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?!\d)", trigger="-"), 13),
)

_OPEN_TAIL = r"[A-Za-z0-9._%+\-@]+|[+\d][\d \-–.()]*"


def pii(*kinds: str) -> PatternScorer[Kind]:
    """Find personal data, by pattern and checksum.

    The kinds have Presidio's names: EMAIL_ADDRESS, CREDIT_CARD, US_SSN, KR_RRN (Korean resident numbers) and
    PHONE_NUMBER (Korean mobile numbers and, with the extra `[pii]`, valid numbers of all countries written with `+`).

    Args:
        kinds: look for these only; all if none is named.

    Raises:
        ConfigurationError: if a kind is unknown.
    """
    return PatternScorer("pii", select(_KINDS, kinds, "pii"), _OPEN_TAIL)
