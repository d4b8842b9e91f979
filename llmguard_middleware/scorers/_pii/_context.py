"""Words that tell what a number is, in English and in Korean, and which of them stand before it."""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import Final

from ._sight import Sight

__all__ = ["BEHIND", "Context", "tells_phone", "told_before"]

BEHIND: Final = 64  # characters of the text as given in which a word may stand, up to where the number starts

# English words count where no letter is before them; those that end in a space, where none is after them either.
_CARD = ("card", "cc ", "visa", "master", "amex", "maestro", "credit", "debit", "카드", "신용", "체크")
_LICENCE = ("면허", "license", "licence", "dl ", "driving", "driver")
_PASSPORT = ("여권", "passport")
_ACCOUNT = (
    *("계좌", "통장", "입금", "송금", "이체", "은행", "뱅크", "농협", "신협", "수협", "새마을금고", "우체국"),
    *("account ", "accounts ", "acct", "a/c ", "bank", "routing", "deposit", "wire"),
)
_SSN = ("ssn", "social security", "itin", "taxpayer")
_PHONE = (
    *("phone", "tel ", "telephone", "mobile", "mob ", "cell", "fax", "desk", "call", "dial", "ring ", "contact"),
    *("answering", "reach me", "reach us", "message", "text me", "text ", "sms", "whatsapp", "hotline"),
    *("전화", "연락처", "휴대폰", "핸드폰", "휴대전화", "팩스", "문자"),
)
_KINDS: dict[str, tuple[str, ...]] = {
    "card": _CARD,
    "licence": _LICENCE,
    "passport": _PASSPORT,
    "account": _ACCOUNT,
    "ssn": _SSN,
    "phone": _PHONE,
    "number": ("number ", "번호"),
    "resident": ("주민", "등록번호", "외국인", "rrn", "resident", "registration"),
    "business": ("사업자", "business", "brn"),
    "driving": ("driver's license", "driver license", "drivers license", "driving licence", "dl "),
    "other": (
        *(*_CARD, *_LICENCE, *_PASSPORT, *_ACCOUNT, *_SSN),
        *("주민", "사업자", "우편", "주문", "송장", "로또", "바코드", "품번", "모델", "예약", "접수", "시리얼", "도서"),
        *(
            "order",
            "invoice",
            "zip",
            "tracking",
            "parcel",
            "isbn",
            "serial",
            "model ",
            "part ",
            "barcode",
            "ean ",
            "upc ",
            "p/n",
        ),
        *("reference", "ticket", "case ", "policy", "booking", "confirmation", "lot ", "lottery", "version", "build"),
    ),
}
_OF_WORD: dict[str, frozenset[str]] = {
    word: frozenset(kind for kind, words in _KINDS.items() if any(word.startswith(part) for part in words))
    for word in {word for words in _KINDS.values() for word in words}
}


def _words(words: list[str]) -> re.Pattern[str]:
    """A pattern that most places fail at once: any first letter, if no word begins before it, then the second one.

    Which word's first letter it was, a look-behind of the whole word asks at its end.
    """
    firsts, seconds = ({word[at] for word in words} for at in (0, 1))
    rest = "|".join(_with_second(second, [word for word in words if word[1] == second]) for second in sorted(seconds))
    return re.compile(f"[{''.join(sorted(firsts))}](?<![a-z][a-z])(?:{rest})")


def _with_second(second: str, words: list[str]) -> str:
    ends = (
        f"{re.escape(word.rstrip()[2:])}(?<={re.escape(word.rstrip())})" + "(?![a-z])" * word.endswith(" ")
        for word in sorted(words, key=len, reverse=True)
    )
    return f"{re.escape(second)}(?:{'|'.join(ends)})"


_ENGLISH = _words([word for word in _OF_WORD if word.isascii()])
_ALL = _words([*_OF_WORD])


def told_before(sight: Sight, start: int) -> dict[str, int]:
    """Where the nearest word of each kind before a place begins; worked out once for all who ask about a place."""
    at, told = sight.told
    if at == start:
        return told
    words = sight.words
    if words is None:
        sight.asked += 1
        if sight.asked * BEHIND < len(sight.text):
            found = _found(sight, sight.behind(start, BEHIND), start)
            told = {kind: place for place, _, kinds in found for kind in kinds} if found else {}
            sight.told = start, told
            return told
        found = _found(sight, 0, len(sight.text))  # who asks of so many places has it looked through once
        words = sight.words = [place for place, _, _ in found], found
        sight.says_anything = bool(found)
    told = {}
    places, all_words = words
    one = bisect_left(places, start) - 1
    if one >= 0 and places[one] >= start - BEHIND:
        begin = sight.behind(start, BEHIND)
        while one >= 0 and places[one] >= begin:
            place, end, kinds = all_words[one]
            if end <= start:
                for kind in kinds:
                    told.setdefault(kind, place)
            one -= 1
    sight.told = start, told
    return told


def _found(sight: Sight, begin: int, end: int) -> list[tuple[int, int, frozenset[str]]]:
    """Each word in a stretch: where it begins and ends and its kinds. What is found depends on nothing but itself."""
    text, search = sight.lower, (_ENGLISH if sight.ascii else _ALL).search
    found = []
    match = search(text, begin, end)
    while match is not None:
        place, word = match.start(), match[0]
        found.append((place, match.end(), _OF_WORD.get(word) or _OF_WORD[f"{word} "]))
        match = search(text, place + 1, end)
    return found


class Context:
    """Words of a kind, of which one stands shortly before a place."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def __call__(self, sight: Sight, start: int) -> bool:
        """Whether one does."""
        return self._kind in told_before(sight, start)


CARD, LICENCE, PASSPORT, ACCOUNT = Context("card"), Context("licence"), Context("passport"), Context("account")
SSN, RESIDENT, BUSINESS, DRIVING = Context("ssn"), Context("resident"), Context("business"), Context("driving")
OTHER = Context("other")


def tells_phone(sight: Sight, start: int, *, surely: bool = False) -> bool:
    """Whether the nearest word is one of telephony, or, if it need not be sure, speaks of a number and none of what."""
    told = told_before(sight, start)
    phone, other = told.get("phone", -1), told.get("other", -1)
    return phone > other or (not surely and phone == other == -1 and "number" in told)
