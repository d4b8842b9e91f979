"""Numbers with a form of their own: cards, resident and business registration numbers, SSN, licences, accounts.

Each function says where a number that starts at a place ends, or None. What it looks at: at most 40 characters from
there, and the words before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from typing import NamedTuple

from . import _context as context
from ._dates import is_date
from ._sight import Sight

__all__ = ["NUMBERS", "Number"]

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


def _lengths(digits: str, sight: Sight, start: int) -> tuple[int, ...]:
    issuer = _ISSUER.match(digits)
    if issuer is None or issuer.lastindex is None:
        return ()
    lengths = _ISSUERS[issuer.lastindex - 1][1]
    return lengths + _SHORT if _MAESTRO.match(digits) and context.CARD(sight, start) else lengths


def _card(sight: Sight, start: int) -> int | None:
    """The longest stretch that an issuer may have given out and whose check digit is right."""
    text = sight.text
    match = _CARD.match(text, start)
    if match is None:
        return None
    fraction = start > 1 and text[start - 1] == "." and text[start - 2].isdecimal()
    if fraction and match[0].isdecimal():
        return None  # 0.4111111111111111 is a number and no card
    digits = _digits(match[0])
    if len(digits) == _BARCODE and context.OTHER(sight, start) and not context.CARD(sight, start):
        return None
    for length in _lengths(digits, sight, start):
        if length <= len(digits) and _luhn(digits[:length]):
            end = _after(match, length)
            if text[end : end + 1].isdecimal():
                continue
            groups = [len(one) for one in _GROUP.findall(text, start, end)]
            if {*groups} == {1}:  # one by one: not if it goes on, as a table does
                return None if _ON.match(text, end) else end
            if _grouped(groups) or _loosely(groups, sight, start):
                return end
    return None


_BARCODE = 13  # digits, as parcels have them too
_ON = re.compile(" [0-9]")


def _grouped(sizes: list[int]) -> bool:
    """Whether digits stand together as those of cards do: in fours or eights, 4-6-5, or six and the rest."""
    first = sizes[:-1]
    return all(size % 4 == 0 for size in first) or sizes[:2] == [4, 6] or first == [6]


def _loosely(sizes: list[int], sight: Sight, start: int) -> bool:
    """Whether they stand together in groups of one size, and a word says that it is a card."""
    return len({*sizes[:-1]}) == 1 and sizes[-1] <= sizes[0] and context.CARD(sight, start)


def _after(match: re.Match[str], digits: int) -> int:
    """Where so many digits of a match end."""
    end = match.start() + digits
    for group in _GROUP.finditer(match[0]):
        digits -= len(group[0])
        if digits <= 0:
            end = match.start() + group.end() + digits
            break
    return end


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
    if not context.ACCOUNT(sight, start):
        return None
    match = _ACCOUNT.match(sight.text, start)
    if match is None or not _LEAST <= len(_digits(match[0])) <= _MOST or is_date(sight.text, start):
        return None
    return None if sight.text[match.end() : match.end() + 1] in _MONEY else match.end()


class Number(NamedTuple):
    """Where one ends that starts at a place, how many digits its first group can have, and how many it has at least.

    One that is told by the words before it begins `apart` from other digits, so that it is no part of them.
    """

    ends: Ends
    groups: Container[int]
    least: int
    apart: bool = False


# Names are Presidio's, where it has one. In the order in which they win where two fit.
NUMBERS = {
    "KR_RRN": Number(lambda sight, start: _resident(sight, start, "1234"), (6, 13), 13),
    "KR_FRN": Number(lambda sight, start: _resident(sight, start, "5678"), (6, 13), 13),
    "CREDIT_CARD": Number(_card, range(1, 20), 12),
    "US_SSN": Number(lambda sight, start: _dashed_or_named(_SSN, sight, start), (3, 9), 9),
    "US_ITIN": Number(lambda sight, start: _dashed_or_named(_ITIN, sight, start), (3, 9), 9),
    "KR_BRN": Number(_business, (3, 10), 10),
    "KR_DRIVER_LICENSE": Number(_licence, (2, 12), 12),
    "BANK_ACCOUNT": Number(_account, range(2, 17), _LEAST, apart=True),
}
