"""What mixes letters and digits, or is told by the words before it: IBAN, passports, licences, dates of birth."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator

from . import _context as context
from ._sight import Sight

__all__ = ["births", "ibans", "licences", "passports", "says_birth"]

Spans = Iterator[tuple[int, int]]

# Characters of an IBAN by country: SWIFT's IBAN registry, release 99.
_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FO FI GL NL SD FK",
        19: "MK SI",
        20: "AT BA EE KZ XK LT LU",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ TL OM SO",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "FR GR IT MC MR SM BI DJ",
        28: "AL AZ BY CY DO GT HU LB PL SV NI",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        33: "RU LC",
    }.items()
    for country in countries.split()
} | {"LC": 32, "MN": 20}
# By shape, at every start: what was found before decides nothing.
_IBAN = re.compile(r"A(?=A0)(?<![Aa0]A)(?=A00((?:[ \-]?[A0]){11,30}))")
_ANY_CASE = re.compile(r"[Aa](?<![Aa0][Aa])(?=[Aa]00((?:[ \-]?[Aa0]){11,30}))")


def ibans(sight: Sight) -> Spans:
    """ISO 13616: as long as the country says, and 1 modulo 97; in small letters where iban is said so, too."""
    pattern = _ANY_CASE if "iban" in sight.text else _IBAN
    known: dict[str, int] = {}
    for match in pattern.finditer(sight.shape):
        start = match.start()
        candidate = sight.text[start : match.end(1)]
        size = known.get(candidate)
        if size is None:
            size = known[candidate] = _size(candidate)
        following = sight.text[start + size : start + size + 1]
        if size and not (following.isascii() and following.isalnum()):
            yield start, start + size


def _size(candidate: str) -> int:
    """How many characters the IBAN has that this begins with; 0 if it is none."""
    wanted = _LENGTHS.get(candidate[:2].upper(), 0)
    characters = candidate.replace(" ", "").replace("-", "").upper()[:wanted]
    if not 0 < wanted <= len(characters):
        return 0
    if int("".join([_VALUES[one] for one in characters[4:] + characters[:4]])) % 97 != 1:
        return 0
    size = 0
    while (signs := _separators(candidate[: wanted + size])) > size:
        size = signs
    return wanted + size


def _separators(text: str) -> int:
    return text.count(" ") + text.count("-")


_VALUES = {sign: str(value) for value, sign in enumerate(string.digits + string.ascii_uppercase)}
_LONGEST = 20  # characters of a number, and of a word before it
_PASSPORT = re.compile(r"(?<![A-Za-z0-9])(?:[MSRODG][0-9]{3}[A-Z][0-9]{4}|[A-Z]{0,2}[0-9]{7,9})(?![A-Za-z0-9])")


def passports(sight: Sight) -> Spans:
    """Korean ones (M12345678, M123A4567) and the common form, after the word."""
    places = (*_places(sight.text, "여권"), *_places(sight.lower, "assport"))
    return _after(places, _PASSPORT, context.PASSPORT, sight)


def _after(places: tuple[int, ...], pattern: re.Pattern[str], said: context.Context, sight: Sight) -> Spans:
    """What a pattern finds near enough to one of these places of words; what is near to several is looked at once."""
    if not places:
        return
    text, near = sight.text, context.BEHIND + _LONGEST
    begin = end = 0
    for at in [*sorted(places), len(text) + near]:
        if at > end:
            for match in pattern.finditer(text, begin, end):
                if said(sight, match.start()):
                    yield match.span()
            begin = at
        end = at + near


def _places(text: str, word: str) -> Iterator[int]:
    at = text.find(word)
    while at >= 0:
        yield at
        at = text.find(word, at + len(word))


_STATE = r"[A-Z]{1,2}[0-9]{5,12}|[A-Z][0-9]{3}(?:-[0-9]{3,4}){2,3}|[0-9]{7,9}"
_LICENCE = re.compile(rf"(?<![A-Za-z0-9])(?:{_STATE})(?![A-Za-z0-9])")


def licences(sight: Sight) -> Spans:
    """American driver licences (letters and digits by state), after the words."""
    places = (*_places(sight.lower, "icen"), *_places(sight.text, "DL"))
    return _after(places, _LICENCE, context.DRIVING, sight)


_MONTH = r"(?:[Jj]an|[Ff]eb|[Mm]ar|[Aa]pr|[Mm]ay|[Jj]un|[Jj]ul|[Aa]ug|[Ss]ep|[Oo]ct|[Nn]ov|[Dd]ec)[a-z]{0,6}\.?"
_DATES = (
    r"(?:[0-9]{4}|[0-9]{2})\s?년\s?[0-9]{1,2}\s?월\s?[0-9]{1,2}\s?일"
    r"|(?:19|20)[0-9]{2}\s?[-./]\s?[0-9]{1,2}\s?[-./]\s?[0-9]{1,2}"
    r"|[0-9]{1,2}[-./][0-9]{1,2}[-./](?:(?:19|20)[0-9]{2}|[0-9]{2})"
    r"|[0-9]{2}[-./][0-9]{1,2}[-./][0-9]{1,2}"
    r"|(?:19|20)?[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
    rf"|{_MONTH} [0-9]{{1,2}}(?:st|nd|rd|th)?,? (?:19|20)[0-9]{{2}}"
    rf"|[0-9]{{1,2}}(?:st|nd|rd|th)?[ \-](?:of )?{_MONTH},?[ \-](?:19|20)[0-9]{{2}}"
)
_BIRTH = re.compile(rf"[^0-9\n]{{0,34}}?({_DATES})(?![0-9])")
_SAYS_BIRTH = {
    "irth": ("of birth", "irthday", "irthdate", "OF BIRTH", "BIRTHDAY"),
    "orn ": ("born ", "Born "),
    "dob": ("DOB",),
    "d.o.b": ("D.O.B",),
    "생": ("생년", "생일", "출생"),
    "태": ("태어난",),
}  # by what is quickly looked for in the text in small letters


def says_birth(text: str) -> bool:
    """Whether a word of birth is in a text."""
    return any(word in text for words in _SAYS_BIRTH.values() for word in words)


def births(sight: Sight) -> Spans:
    """Dates after a word of birth."""
    for word in [word for part, words in _SAYS_BIRTH.items() if part in sight.lower for word in words]:
        at = sight.text.find(word)
        while at >= 0:
            if match := _BIRTH.match(sight.text, at + len(word)):
                yield match.span(1)
            at = sight.text.find(word, at + len(word))
