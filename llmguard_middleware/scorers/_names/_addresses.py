"""Street addresses by how they are written: no model of spaCy's finds them, and Presidio has no recogniser of them.

Every repetition is bounded, so that the time is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Final

__all__ = ["addresses"]

_NUMBER: Final = r"\d{1,6}[A-Za-z]?(?:[-/]\d{1,4}[A-Za-z]?)?"
_MORE: Final = r"[\w'\u2019.-]{0,30}"
_NAME: Final = rf"(?:[A-ZÀ-Þ]{_MORE}|\d{{1,3}}(?:st|nd|rd|th))"
_PARTICLES: Final = r"(?:(?:de|du|des|la|le|les|del|della|dei|da|do|dos|das)\s|[dl]['\u2019])"
_STREET: Final = (
    "Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Place|Pl|Square|Sq|Terrace|Ter|Way|Close|"
    "Crescent|Cres|Parkway|Pkwy|Highway|Hwy|Row|Mews|Grove|Gardens|Circle|Cir|Trail|Alley|Walk|Quay|Route|Pike|Plaza"
)
# French, before which the number stands, and others, which it follows. In small letters only what English has not.
_BEFORE: Final = "(?i:rue|avenue|boulevard|allée|chemin|impasse|quai)"
_STREETS_FIRST: Final = (
    "(?:Via|Viale|Vicolo|Piazza|Piazzetta|Piazzale|Corso|Largo|Plaza|Paseo|Travessa|Avenue|Rue|"
    "[Cc]alle|[Aa]venida|[Rr]ua|[Uu]l\\.)"
)
_ENDS: Final = (
    "straße|strasse|str\\.|gasse|platz|allee|gatan|gata|gade|vägen|veien|vegen|vej|katu|kuja|tie|straat|laan|gracht"
)
_UNIT: Final = r"(?i:apt|apartment|suite|ste|unit|flat|room|rm|floor)\b\.?\s?#?\d{1,5}[A-Za-z]?\b"
# What may follow a street: the flat; the town and its code.
_REST: Final = (
    rf"(?:,?\s{{1,3}}{_UNIT}){{0,2}}"
    rf"(?:,\s{{1,3}}[A-Z]{_MORE}(?:\s[A-Z]{_MORE}){{0,2}}){{0,2}}"
    r"(?:,?\s{1,3}[A-Z]{2})?(?:,?\s{1,3}\d{5}(?:-\d{4})?\b)?"
)
_CITY: Final = "서울|부산|대구|인천|광주|대전|울산|세종|경기|강원|충북|충남|전북|전남|경북|경남|제주"
_REGION: Final = rf"(?:{_CITY})(?:특별자치시|특별자치도|특별시|광역시|시|도)?|[충경전][청상라][남북]도"
_TOWN: Final = r"[가-힣]{1,5}(?:시|군|구)(?=\s)"
# "버스로 10분" is no road: a region or town stands before it, and no unit of something else after the number.
_WHERE: Final = (
    rf"(?<![가-힣])(?:(?:{_REGION})\s{{0,2}}(?:{_TOWN}\s{{1,2}}){{0,2}}|(?:{_TOWN}\s{{1,2}}){{1,2}})"
    r"(?:[가-힣]{1,6}[읍면]\s{1,2})?"
)
_ROAD: Final = r"[가-힣][가-힣0-9·]{0,11}(?:대로|로|길)\s?(?:[가-힣]?\d{1,4}번?[가-힣]?길\s?)?(?:지하\s?)?"
_LOT: Final = r"[가-힣][가-힣0-9]{0,7}[동리가]\s?(?:산\s?)?"
# "버스로 10분" is no road: a region or a town stands before one, and no unit of something else after its number.
_NO_ADDRESS: Final = r"[\d%]|\s?(?:분|시간|년|월|일|원|명|개|위|등|도|호선|번째|만|천|억|km|m\b)|가\s?\d"
_DOOR: Final = (
    r"(?:,?\s{0,2}(?:\([가-힣0-9·, ]{2,30}\)|[가-힣A-Za-z0-9]{0,12}\d{1,4}동|\d{1,4}호|(?:지하\s?)?\d{1,3}층)){0,4}"
)
_KOREAN: Final = rf"{_WHERE}(?:{_ROAD}|{_LOT})\d{{1,4}}(?:-\d{{1,4}})?(?:번지)?(?!{_NO_ADDRESS}){_DOOR}"
_PUNCTUATION: Final = ".'\u2019-"  # what a name may hold, and a sentence may end with
_CASELESS: Final = re.IGNORECASE
_BEGINS: Final = rf"{_NUMBER}(?:\s(?:bis|ter))?,?\s{_BEFORE}\s"


_WRITTEN: Final = (
    (rf"\b{_NUMBER},?\s(?:{_NAME}\s){{1,4}}(?:{_STREET})\b\.?(?:\s(?:[NS][EW]?|[EW])\b)?{_REST}", 0),
    (rf"\b{_BEGINS}(?:{_PARTICLES}{{1,3}}\w{_MORE}|{_NAME})(?:\s[A-ZÀ-Þ]{_MORE}){{0,3}}{_REST}", 0),
    (rf"\b{_STREETS_FIRST}\s{_PARTICLES}{{0,3}}{_NAME}(?:\s{_NAME}){{0,2}},?\s{_NUMBER}\b{_REST}", 0),
    (rf"\b(?!Brigade|Renegade|Necktie)[A-ZÀ-Þ][\w-]{{1,30}}(?:{_ENDS})\s\d{{1,4}}[A-Za-z]?\b{_REST}", 0),
    (r"\b(?:apt|apartment|suite)\b\.?\s?#?\d{1,5}[A-Za-z]?\b", _CASELESS),
    (r"\bP\.?\s?O\.?\s?Box\s\d{1,6}\b", _CASELESS),
    (r"\b(?:PSC|Unit)\s\d{1,5},?\sBox\s\d{1,5}\b(?:\s{1,3}[ADF]PO\s[A-Z]{2}\s\d{5}\b)?", 0),
    (_KOREAN, 0),
)


@cache
def _forms() -> tuple[re.Pattern[str], ...]:
    """Made when they are first needed: to compile them takes longer than to import everything else."""
    return tuple(re.compile(pattern, flags) for pattern, flags in _WRITTEN)


def addresses(text: str) -> Iterator[tuple[int, int]]:
    """Where each stretch starts and ends; they may overlap."""
    if not any(map(text.__contains__, "0123456789")):
        return
    for form in _forms():
        for match in form.finditer(text):
            start, end = match.span()
            yield start, start + len(text[start:end].rstrip(_PUNCTUATION))
