"""Numbers with a form of their own: cards, resident and business registration numbers, SSN, licences, accounts.

Each function says where a number that starts at a place ends, or None. What it looks at: at most 40 characters from
there, and the words before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from functools import cache
from itertools import accumulate
from typing import NamedTuple

from . import _context as context
from ._begins import FORMS, PLAIN
from ._dates import is_date
from ._sight import Sight

__all__ = ["ANY", "NUMBERS", "Ends", "Number"]

Ends = Callable[[Sight, int], "int | None"]


_GROUP = re.compile("[0-9]+")


def _digits(text: str) -> str:
    return text if text.isdecimal() else "".join(_GROUP.findall(text))


_ZERO = ord("0")
_DOUBLED = bytes.maketrans(b"0123456789", bytes(_ZERO + sum(divmod(2 * digit, 10)) for digit in range(10)))


def _luhn(digits: str) -> bool:
    """ISO/IEC 7812-1's check digit."""
    codes = digits.encode()
    return (sum(codes[-1::-2]) + sum(codes.translate(_DOUBLED)[-2::-2]) - _ZERO * len(codes)) % 10 == 0


class _FourDigits(dict[str, int]):
    """What four digits add to the sum of a check digit, wherever they stand between others; ten thousand at most."""

    def __missing__(self, digits: str) -> int:
        codes = digits.encode()
        self[digits] = total = sum(codes[1::2]) + sum(codes.translate(_DOUBLED)[::2]) - 4 * _ZERO
        return total


_OF_FOUR = _FourDigits()


# Issuer ranges and how many digits they have:
# https://en.wikipedia.org/wiki/Payment_card_number#Issuer_identification_number_(IIN)
_ISSUERS: tuple[tuple[str, tuple[int, ...]], ...] = (
    (r"4", (19, 16, 13)),
    (r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720", (16,)),
    (r"3[47]", (15,)),
    (r"30[0-5]|3095|3[689]", (19, 18, 17, 16, 15, 14)),
    (r"35", (19, 18, 17, 16)),
    (r"1800|2131", (15,)),
    (r"6|5[0678]|220[0-4]", (19, 18, 17, 16)),
    (r"9", (16,)),  # for use within Korea only
    (r"0604", ()),
)
_ISSUER = re.compile("|".join(f"({prefix})" for prefix, _ in _ISSUERS))
_MAESTRO = re.compile(r"5[0678]|6|0604")
_SHORT = (15, 14, 13, 12)  # of Maestro cards, where a word says that it is a card
_CARD = re.compile(r"[0-9](?:[ .\-]?[0-9]){11,18}")


@cache  # ten thousand at most
def _issued(prefix: str) -> tuple[tuple[int, ...], bool]:
    """How many digits cards with these first four may have, and whether they are Maestro's."""
    issuer = _ISSUER.match(prefix)
    lengths = () if issuer is None or issuer.lastindex is None else _ISSUERS[issuer.lastindex - 1][1]
    return lengths, issuer is not None and _MAESTRO.match(prefix) is not None


def _lengths(digits: str, sight: Sight, start: int) -> tuple[int, ...]:
    lengths, maestro = _issued(digits[:4])
    return lengths + _SHORT if maestro and context.CARD(sight, start) else lengths


_FOURS = re.compile(r"([0-9]{4})[ .\-]([0-9]{4})[ .\-]([0-9]{4})[ .\-]([0-9]{4})(?![0-9])(?![ .\-][0-9]{1,3}(?![0-9]))")


def _card(sight: Sight, start: int) -> int | None:
    """The longest stretch that an issuer may have given out and whose check digit is right."""
    if fours := _FOURS.match(sight.text, start):
        return _card_of_fours(fours, sight, start)
    match = _CARD.match(sight.text, start)
    if match is None or (match[0].isdecimal() and _is_fraction(sight.text, start)):
        return None
    groups = match[0].replace("-", " ").replace(".", " ").split(" ")
    digits = "".join(groups)
    if len(digits) == _BARCODE and context.OTHER(sight, start) and not context.CARD(sight, start):
        return None
    lengths = _lengths(digits, sight, start)
    if lengths and min(lengths) <= len(digits):
        return _longest(match, list(map(len, groups)), digits, lengths, sight)
    return None


def _card_of_fours(fours: re.Match[str], sight: Sight, start: int) -> int | None:
    """The same of four groups of four, as nearly all are written, with less ado."""
    first, second, third, fourth = fours.groups()
    lengths, maestro = _issued(first)
    three = _OF_FOUR[first] + _OF_FOUR[second] + _OF_FOUR[third]
    if _FOUR_FOURS in lengths and (three + _OF_FOUR[fourth]) % 10 == 0:
        return fours.end()
    return fours.end(3) if maestro and three % 10 == 0 and context.CARD(sight, start) else None


def _is_fraction(text: str, start: int) -> bool:
    """0.4111111111111111 is a number and no card."""
    return start > 1 and text[start - 1] == "." and text[start - 2].isdecimal()


def _longest(match: re.Match[str], sizes: list[int], digits: str, lengths: tuple[int, ...], sight: Sight) -> int | None:
    """Where the longest of these lengths ends whose groups and check digit are those of a card."""
    text, start = sight.text, match.start()
    whole = list(accumulate(sizes))  # digits up to the end of each group
    if text[match.end() : match.end() + 1].isdecimal():
        whole.pop()
    for length in lengths:
        if length in whole and _luhn(digits[:length]):
            signs = whole.index(length)
            parts, end = sizes[: signs + 1], start + length + signs
            if max(parts) == 1:  # one by one: not if it goes on, as a table does
                return None if _ON.match(text, end) else end
            if _grouped(parts) or (_alike(parts) and context.CARD(sight, start)):
                return end
    return None


_FOUR_FOURS = 16  # digits
_BARCODE = 13  # digits, as parcels have them too
_ON = re.compile(" [0-9]")


def _grouped(sizes: list[int]) -> bool:
    """Whether digits stand together as those of cards do: in fours or eights, 4-6-5, or six and the rest."""
    first = sizes[:-1]
    return all(size % 4 == 0 for size in first) or sizes[:2] == [4, 6] or first == [6]


def _alike(sizes: list[int]) -> bool:
    """Whether they stand together in groups of one size, as they may where a word says that it is a card."""
    return len({*sizes[:-1]}) == 1 and sizes[-1] <= sizes[0]


_RRN = re.compile(r"[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])( ?- ?| )?([1-8])[0-9]{6}(?![0-9])")
_RRN_WEIGHTS = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)


def _resident(sight: Sight, start: int, sexes: str) -> int | None:
    """Korean resident (7th digit 1-4) or foreigner registration (5-8) numbers: a date of birth, then seven digits.

    Numbers given out since October 2020 have no check digit, so it decides nowhere but for what looks, or is said,
    to be something else.
    """
    match = _RRN.match(sight.text, start)
    if match is None or match[2] not in sexes:
        return None
    if match[1] is None and not context.RESIDENT(sight, start):
        said, barcode = context.OTHER(sight, start), _is_barcode(match[0])
        time = "15" <= match[0][:2] <= "19"  # in milliseconds
        if (said and barcode) or ((said or barcode or time) and not _checks(match[0], match[2])):
            return None
    return match.end()


def _checks(digits: str, sex: str) -> bool:
    total = sum(weight * int(digit) for weight, digit in zip(_RRN_WEIGHTS, digits[:12], strict=True))
    return (11 - total % 11 + (2 if sex in "5678" else 0)) % 10 == int(digits[12])


def _is_barcode(digits: str) -> bool:
    """Whether 13 digits are a Korean EAN-13 with its check digit."""
    return digits.startswith("880") and (sum(map(int, digits[::2])) + 3 * sum(map(int, digits[1::2]))) % 10 == 0


_SSN = re.compile(r"(?!000|666|9)[0-9]{3}([ \-]?)(?!00)[0-9]{2}\1(?!0000)[0-9]{4}(?!-?[0-9])")
_ITIN = re.compile(r"9[0-9]{2}([ \-]?)(?:5[0-9]|6[0-5]|7[0-9]|8[0-8]|9[0-24-9])\1[0-9]{4}(?!-?[0-9])")


def _dashed_or_named(pattern: re.Pattern[str], sight: Sight, start: int) -> int | None:
    """With dashes as it is, otherwise where the words before it say so."""
    match = pattern.match(sight.text, start)
    if match is None or (match[1] != "-" and not context.SSN(sight, start)):
        return None
    return match.end()


_BRN = re.compile(r"[0-9]{3}(-?)[0-9]{2}\1[0-9]{5}(?![0-9])")
_BRN_WEIGHTS = (1, 3, 7, 1, 3, 7, 1, 3, 5)


def _business(sight: Sight, start: int) -> int | None:
    """Korean business registration numbers, whose check digit the National Tax Service defines."""
    match = _BRN.match(sight.text, start)
    if match is None or (not match[1] and not context.BUSINESS(sight, start)):
        return None
    digits = [int(digit) for digit in _digits(match[0])]
    total = sum(weight * digit for weight, digit in zip(_BRN_WEIGHTS, digits, strict=False)) + digits[8] * 5 // 10
    return match.end() if (10 - total % 10) % 10 == digits[9] else None


_LICENCE = re.compile(r"(?:1[1-9]|2[0-8])([ \-]?)[0-9]{2}\1[0-9]{6}\1[0-9]{2}(?![0-9])")


def _licence(sight: Sight, start: int) -> int | None:
    """Korean driver licences: region, year, serial number, check."""
    match = _LICENCE.match(sight.text, start)
    return match.end() if match is not None and (match[1] == "-" or context.LICENCE(sight, start)) else None


_LEAST, _MOST = 8, 16  # digits of a bank account
_ACCOUNT = re.compile(r"[0-9]{2,6}(?:[ \-]?[0-9]{2,7}){1,4}(?![0-9])")


_MONEY = ("원", "$", "€", "₩", "%")


def _account(sight: Sight, start: int) -> int | None:
    """8 to 16 digits after a word of banking."""
    if sight.words is not None and not context.ACCOUNT(sight, start):
        return None  # which is quickly said once the words are known, and not before
    match = _ACCOUNT.match(sight.text, start)
    if match is None or not context.ACCOUNT(sight, start):
        return None
    if not _LEAST <= len(_digits(match[0])) <= _MOST or is_date(sight.text, start):
        return None
    return None if sight.text[match.end() : match.end() + 1] in _MONEY else match.end()


class Number(NamedTuple):
    """Where one ends that starts at a place, how many digits its first group can have, and how many it has at least.

    One that is `told` by the words before it begins apart from other digits, so that it is no part of them. `forms` are
    those of `_begins` that it may have: its own, and those asked for before it that fit what it is, too.
    """

    ends: Ends
    groups: Container[int]
    least: int
    forms: frozenset[str]
    apart: bool = False
    told: bool = False


def _by(*forms: str) -> frozenset[str]:
    return frozenset(forms)


ANY = _by(*FORMS, PLAIN)  # a word tells it, whatever else it may be by its form

# Names are Presidio's, where it has one. In the order in which they win where two fit.
NUMBERS: dict[str, tuple[Number, ...]] = {
    "KR_RRN": (Number(lambda sight, start: _resident(sight, start, "1234"), (6, 13), 13, _by("resident")),),
    "KR_FRN": (Number(lambda sight, start: _resident(sight, start, "5678"), (6, 13), 13, _by("resident")),),
    # Written one by one they have no form.
    "CREDIT_CARD": (
        Number(_card, range(2, 20), 12, _by("resident", "card", "told")),
        Number(_card, (1,), 12, _by(PLAIN)),
    ),
    "US_SSN": (Number(lambda sight, start: _dashed_or_named(_SSN, sight, start), (3, 9), 9, _by("dashed", "told")),),
    "US_ITIN": (Number(lambda sight, start: _dashed_or_named(_ITIN, sight, start), (3, 9), 9, _by("dashed", "told")),),
    "KR_BRN": (
        Number(_business, (3, 10), 10, _by("dashed", "told")),
        Number(_business, (10,), 10, _by("phone")),
    ),
    "KR_DRIVER_LICENSE": (
        Number(_licence, (2, 12), 12, _by("licence", "told")),
        Number(_licence, (12,), 12, _by("card")),
    ),
    "BANK_ACCOUNT": (Number(_account, range(2, 17), _LEAST, ANY, apart=True, told=True),),
}
