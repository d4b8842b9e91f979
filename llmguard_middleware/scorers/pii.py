"""pii: personal data by pattern, checksum and context, Korean and English alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from ._patterns import PatternScorer, Span, select
from ._pii import _addresses as addresses
from ._pii import _papers as papers
from ._pii._begins import BY_WORD, begins, form_of
from ._pii._context import BEHIND, told_before
from ._pii._numbers import ANY, NUMBERS, Ends, Number
from ._pii._phones import LEAST, phone, plus_phone, spelled, told_phone
from ._pii._sight import Sight
from ._pii._tails import open_tail

__all__ = ["PII", "pii"]

Find = Callable[[Sight], Iterable[tuple[int, int]]]

# Characters of the given text. The longest match is an address of 350 of them, with room for invisible ones in between:
# what has more of those is for `invisible_text()`.
_REACH: Final = 2000
_LONGEST_GROUP: Final = 19
_MOST_DIGITS: Final = 13  # that any kind has at least
_OPENS: Final = ("+", "(")


class _Kind:
    """One kind of personal data: where it is in a text, or where a number that starts at a place ends.

    `sign` is a character without which none is there ("0" stands for any digit).
    """

    def __init__(
        self,
        name: str,
        find: Find | None = None,
        numbers: Sequence[Number] = (),
        sign: str = "",
    ) -> None:
        self.name, self.find, self.numbers, self.sign = name, find, numbers, sign


def _in_text(find: Callable[[str], Iterable[tuple[int, int]]]) -> Find:
    return lambda sight: find(sight.text)


# Names are Presidio's entity names, where it has one.
_KINDS = (
    _Kind("EMAIL_ADDRESS", lambda sight: addresses.emails(sight.text, sight.lower)),
    *(_Kind(name, numbers=numbers) for name, numbers in NUMBERS.items()),
    _Kind(
        "PHONE_NUMBER",
        _in_text(spelled),
        (
            Number(plus_phone, range(1, 20), LEAST, ANY, apart=True),
            Number(phone, range(2, 12), LEAST, frozenset(("phone",))),
            Number(told_phone, range(1, 20), LEAST, ANY, apart=True, told=True),
        ),
    ),
    _Kind("IBAN_CODE", papers.ibans, sign="0"),
    _Kind("PASSPORT", papers.passports, sign="0"),
    _Kind("US_DRIVER_LICENSE", papers.licences, sign="0"),
    _Kind("DATE_OF_BIRTH", papers.births, sign="0"),
    _Kind("IP_ADDRESS", _in_text(addresses.ips), sign="0"),
    _Kind("MAC_ADDRESS", _in_text(addresses.macs), sign="0"),
    _Kind("URL_CREDENTIALS", _in_text(addresses.url_credentials), sign="@"),
    _Kind("CRYPTO", _in_text(addresses.crypto), sign="0"),
)


class PII(PatternScorer[_Kind]):
    """Flags texts that hold personal data; value is how many spans, label the kinds found."""

    behind = BEHIND + 8  # what tells a kind may stand before it

    def __init__(self, kinds: Sequence[_Kind]) -> None:
        super().__init__("pii", kinds, _REACH)
        self._finders = [(kind.name, kind.find, kind.sign) for kind in kinds if kind.find is not None]
        self._numbers = [(kind.name, number) for kind in kinds for number in kind.numbers]
        self._of: dict[tuple[str, bool, int, int, bool], list[tuple[str, Ends]]] = {}

    def found(self, text: str) -> list[Span]:
        """Each stretch of personal data; where two kinds fit a number, the first in order."""
        sight = Sight(text)
        found: list[Span] = []
        digits = "0" in sight.shape
        for name, find, sign in self._finders:
            if digits if sign == "0" else sign in sight.text:
                for start, end in find(sight):
                    found.append((start, end, name) if sight.kept is None else self._span(sight, start, end, name))
        if digits and self._numbers:
            self._find_numbers(sight, found)
        return found

    def _find_numbers(self, sight: Sight, found: list[Span]) -> None:
        text = sight.text
        for start, stop, size, rest in sight.runs():
            form = form_of(text, start, stop)
            end = self._number(sight, start, (form, True, size, min(rest, _MOST_DIGITS)), found)
            # What begins within one that ends where the run does ends there at the latest, too.
            if end != stop and rest - size >= LEAST:
                for begin, apart, digits, form in begins(text, start, stop, size):
                    self._number(sight, begin, (form, apart, digits, _MOST_DIGITS), found)

    def _number(self, sight: Sight, start: int, looks: tuple[str, bool, int, int], found: list[Span]) -> int | None:
        """Finds what begins at a place, and tells where in the text that is looked at it ends."""
        told = sight.says_anything
        if told and looks[0] in BY_WORD and looks[1]:
            told = bool(told_before(sight, start))  # if nothing is told, accounts and most phones need not be tried
        kinds = self._of.get((*looks, told))
        if kinds is None:
            kinds = self._of_kinds(*looks, told)
        for name, ends in kinds:
            if stop := ends(sight, start):
                found.append(self._span(sight, _before(sight.text, start, stop), stop, name))
                return stop
        return None

    def _of_kinds(self, form: str, apart: bool, size: int, rest: int, told: bool) -> list[tuple[str, Ends]]:
        """The kinds that a number may be by its form, whether others stand before its first group, and its digits.

        And by whether any words before it tell anything.
        """
        found = [
            (name, one.ends)
            for name, one in self._numbers
            if form in one.forms
            and size in one.groups
            and one.least <= rest
            and apart >= one.apart
            and told >= one.told
        ]
        if size <= _LONGEST_GROUP:  # so that no text can make it large
            self._of[form, apart, size, rest, told] = found
        return found

    @staticmethod
    def _span(sight: Sight, start: int, end: int, name: str) -> Span:
        if sight.kept is not None:
            start, end = sight.places(start, end)
        # What is longer than the reach, by invisible characters, would be found or not as a stream is cut.
        return (start, end if end - start < _REACH - PII.behind else start, name)

    def open_tail(self, text: str) -> int:
        """How many characters at the end of `text` may belong to a match that is not complete yet (at most `reach`)."""
        return open_tail(text, _REACH)


def _before(text: str, start: int, end: int) -> int:
    """Where a number starts with its +, and with the bracket that closes inside it: (02), +(82), (+82)."""
    if text[start - 1 : start] not in _OPENS:
        return start
    closing = text.find(")", start, end)
    closes = closing >= 0 and text.find("(", start, closing) < 0
    for sign in ("+(", "(+", "(", "+") if closes else ("+",):
        if text.endswith(sign, 0, start):
            return start - len(sign)
    return start


def pii(*kinds: str) -> PII:
    """Find personal data, by pattern, checksum and the words before it, in English and in Korean.

    Full-width and other digits, dashes and spaces of all sorts, and characters that nobody sees make no difference.
    Without a word before them: EMAIL_ADDRESS (also spelled out), CREDIT_CARD, PHONE_NUMBER (Korean, American, and with
    the extra `[pii]` those of all countries written with `+`), IBAN_CODE, US_SSN, US_ITIN, KR_RRN and KR_FRN (Korean
    resident and foreigner registration numbers), KR_BRN (business), KR_DRIVER_LICENSE, IP_ADDRESS, MAC_ADDRESS,
    URL_CREDENTIALS, CRYPTO. After a word that says so: other phone numbers, BANK_ACCOUNT, PASSPORT, US_DRIVER_LICENSE,
    DATE_OF_BIRTH.

    Args:
        kinds: look for these only; all if none is named.

    Raises:
        ConfigurationError: if a kind is unknown.
    """
    return PII(select(_KINDS, kinds, "pii"))
