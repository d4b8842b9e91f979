"""Phone numbers: Korean and American by their form, with a + by their country's plan, others by the words before."""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec

from . import _context as context
from ._dates import is_date
from ._sight import Sight

__all__ = ["LEAST", "phone", "plus_phone", "spelled", "told_phone"]

_HAS_PLANS = find_spec("phonenumbers") is not None

_MOBILE = re.compile(r"01[016789][ .\-)]{0,2}[0-9]{3,4}[ .\-]{0,2}[0-9]{4}(?![0-9]|-[0-9a-f])")
_LANDLINE = re.compile(
    r"0(?:2|3[1-3]|4[1-4]|5[1-5]|6[1-4]|70|80|50[2-8]?)(?:[ .\-]|\) ?)[1-9][0-9]{2,3}[ .\-][0-9]{4}(?![0-9])"
)
_AMERICAN = re.compile(r"[2-9][0-9]{2}(?:\) ?|[ .\-])[2-9][0-9]{2}[ .\-][0-9]{4}(?![\-.]?[0-9])")
_PLUS = re.compile(r"[0-9](?:[ .\-/]{0,2}\(?[0-9]\)?){6,14}(?![0-9])")
_SOME = re.compile(r"(?:[0-9]{1,3}[ \-]?\()?[0-9]{1,6}\)?(?:[ .\-/]{0,2}[0-9]){3,13}(?![0-9])")
_PLUSES = ("+", "(")  # or one right after it
_EXTENSION = re.compile(r" ?(?:[xX]|[eE]xt\.?) ?[0-9]{1,6}(?![0-9])")


LEAST, _MOST = 7, 15  # digits of a number that is told by the words before it


def phone(sight: Sight, start: int) -> int | None:
    """Where a phone number ends that starts here and is known by its form."""
    text = sight.text
    if text[start] == "0":
        match = _MOBILE.match(text, start) or _LANDLINE.match(text, start)
    else:
        match = None if text[start] == "1" or _with_plus(text, start) else _AMERICAN.match(text, start)
    return None if match is None else _extended(text, match.end())


def plus_phone(sight: Sight, start: int) -> int | None:
    """Where one ends that has a + before it."""
    text = sight.text
    if text[start - 1 : start] not in _PLUSES or text[start] == "0" or not _with_plus(text, start):
        return None
    end = _international(text, start)
    return None if end is None else _extended(text, end)


def told_phone(sight: Sight, start: int) -> int | None:
    """Where one ends that is told by the words before it."""
    if sight.words is not None and not context.tells_phone(sight, start):
        return None  # as for accounts
    text = sight.text
    match = _SOME.match(text, start)
    if match is None or not context.tells_phone(sight, start):
        return None
    if not LEAST <= sum(map(str.isdecimal, match[0])) <= _MOST or is_date(text, start):
        return None
    end = _extended(text, match.end())
    if _letter(text[start - 1 : start]) or _GOES_ON.match(text, end) or not _written(match[0], text[start - 1 : start]):
        return None  # a part of something longer, or something else
    broken = match[0][0] == "0" or not match[0].isdecimal()
    return end if broken or context.tells_phone(sight, start, surely=True) else None


_GOES_ON = re.compile(r"[A-Za-z]|-[0-9A-Za-z]")
_GROUP = re.compile("[0-9]+")
_NO_PHONE = re.compile(r"[0-9]{1,4}\.[0-9]{5,}|(?:19|20)[0-9]{2} ?- ?(?:19|20)[0-9]{2}|[0-9]0+")
_GROUPS, _UNBROKEN = 5, 12  # at most, if there is no + or 0 before


def _written(number: str, before: str) -> bool:
    """Whether digits stand together as those of phones do, and not as those of a list, a fraction or a time."""
    sizes = [len(group) for group in _GROUP.findall(number)]
    if {*sizes} == {1}:
        return number[0] == "0"  # one by one
    if sizes.count(1) > 1 or _NO_PHONE.fullmatch(number):
        return False
    return before == "+" or number[0] == "0" or (len(sizes) <= _GROUPS and max(sizes) <= _UNBROKEN)


def _letter(character: str) -> bool:
    return character.isascii() and character.isalpha()


def _extended(text: str, end: int) -> int:
    """Where a number ends with its extension, if it has one."""
    match = _EXTENSION.match(text, end)
    return end if match is None else match.end()


def _with_plus(text: str, start: int) -> bool:
    before = text[max(0, start - 2) : start]
    return before[-1:] == "+" or before == "+("


def _international(text: str, start: int) -> int | None:
    """The longest stretch, up to the end of a group, that is a number by the plan of its country."""
    match = _PLUS.match(text, start)
    if match is None:
        return None
    found = match[0]
    for end in range(len(found), 7, -1):
        if not found[end - 1].isdecimal() or found[end : end + 1].isdecimal():
            continue
        # +44 (0)20 ...: the 0 is for callers within the country.
        digits = "".join(filter(str.isdecimal, found[:end].replace("(0)", "")))
        if _planned(digits):
            open_ = found[:end].count("(") > found[:end].count(")")
            return start + end + (open_ and found[end : end + 1] == ")")
    return None


def _planned(digits: str) -> bool:
    if digits.startswith("82"):
        return re.fullmatch(r"820?(?:1[016789]\d{7,8}|2\d{7,8}|[3-6]\d{8,9}|70\d{8}|50\d{8,9})", digits) is not None
    return _HAS_PLANS and any(
        plan is not None and plan.fullmatch(digits, size) for size in (1, 2, 3) for plan in (_plan(digits[:size]),)
    )


@cache  # some 1,100 prefixes at most
def _plan(code: str) -> re.Pattern[str] | None:
    """What numbers of a country code look like, by Google's libphonenumber, whose own parser takes 50 us a try."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata  # noqa: PLC0415 - an extra, when there is a +

    patterns = []
    for region in COUNTRY_CODE_TO_REGION_CODE.get(int(code), ()) if code else ():
        metadata = PhoneMetadata.metadata_for_region_or_calling_code(int(code), region)
        described = metadata.general_desc if metadata is not None else None
        if described is not None and described.national_number_pattern:
            patterns.append(described.national_number_pattern)
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns)) if patterns else None


_READ = "공영일이삼사오육륙칠팔구"
_SPELLED = re.compile(rf"공일(?=([공일육칠팔구](?:[ \-.,]{{0,2}}[{_READ}]){{7,8}}))")


def spelled(text: str) -> list[tuple[int, int]]:
    """Korean mobile numbers read out: 공일공 일이삼사 오육칠팔."""
    return [(match.start(), match.end(1)) for match in _SPELLED.finditer(text)] if "공일" in text else []
