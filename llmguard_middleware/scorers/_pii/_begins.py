"""Which groups of digits in a run may begin a number, and of which kinds.

A table, a log or whatever was made to be slow is one run of thousands of groups, and it takes microseconds to look for
each kind of number at each. So a pattern goes through the run once and tells the few at which there is one by its form.
What it tells is looked at again: it may tell too much, and must leave out nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

__all__ = ["BY_WORD", "FORMS", "PLAIN", "begins", "form_of"]

_SIGNS = r"[ .\-]"
_CARD: Final = (
    r"(?:(?<=[4-69])|(?<=3)(?=[04-9])|(?<=2)(?=[2-7]|131)|(?<=1)(?=800)|(?<=0)(?=604))"
    rf"(?:[0-9]{{3}}{_SIGNS}(?:[0-9]{{4}}(?:[0-9]{{4}}|{_SIGNS}[0-9]{{4}})|[0-9]{{6}}{_SIGNS}[0-9])"
    rf"|[0-9]{{5}}{_SIGNS}[0-9]{{6}}|[0-9]{{7}}{_SIGNS}[0-9]{{4}}|[0-9]{{11,18}}(?![0-9]))"
)
FORMS: Final = {  # what may follow the first digit, by which kinds it may be, as they are asked in order
    "resident": (r"[0-9](?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])(?: ?- ?| )?[1-8][0-9]{6}(?![0-9])",),
    # Of an issuer; in one piece, in fours and eights, 4-6-5, or six and the rest.
    "card": (_CARD,),
    "dashed": (r"[0-9]{2}-[0-9]{2}-[0-9]{4}",),  # SSN, ITIN, business number
    "licence": (r"[0-9]-[0-9]{2}-[0-9]{6}-[0-9]{2}(?![0-9])",),
    "phone": (
        r"(?<=0)1[016789][ .\-)]{0,2}[0-9]{3,4}[ .\-]{0,2}[0-9]{4}(?![0-9])",
        rf"(?<=0)[2-8][0-9]{{0,2}}(?:{_SIGNS}|\) ?)[1-9][0-9]{{2,3}}{_SIGNS}[0-9]{{4}}(?![0-9])",
        rf"(?<=[2-9])[0-9]{{2}}(?:\) ?|{_SIGNS})[2-9][0-9]{{2}}{_SIGNS}[0-9]{{4}}(?![0-9])",
    ),
    # By a word before the run, so not further on than words are looked for: SSN, business number and licence without
    # dashes, and cards in groups of one size.
    "told": (
        r"[0-9]{2}(?:[0-9]{2}[0-9]{4}| [0-9]{2} [0-9]{4})",
        r"[0-9](?: [0-9]{2} [0-9]{6} [0-9]{2}|[0-9]{10})",
        rf"[0-9](?:{_SIGNS}[0-9]{{2}}){{5}}",
        rf"[0-9]{{2}}(?:{_SIGNS}[0-9]{{3}}){{3}}",
        rf"[0-9]{{4,}}{_SIGNS}[0-9]",
    ),
}
PLAIN: Final = "plain"  # none of them, where a word before it may still tell what it is
_TOLD = "told"
BY_WORD: Final = frozenset((PLAIN, _TOLD))  # what is mostly told by a word before it, or is nothing
_IS_APART = r"(?<=[ ./()\-]{3}[0-9])"
_NEAR = 64  # characters, as `_context.BEHIND`
_LONGEST = 64  # of a number


def _begun(*names: str) -> re.Pattern[str]:
    """At each group of digits, and all of it. What stands before it comes second, as a digit is quickly looked for.

    All forms go on with a digit, so that groups of one are done with at once.
    """
    forms = "|".join(f"(?P<{name}>{'|'.join(FORMS[name])})" for name in names)
    return re.compile(f"[0-9](?<![0-9][0-9])(?:(?=[0-9])(?={forms})|(?P<{PLAIN}>{_IS_APART}))[0-9]*")


_ANY, _TOLD_OR_ANY = _begun(*(name for name in FORMS if name != _TOLD)), _begun(*FORMS)


def begins(text: str, start: int, stop: int, size: int) -> Iterator[tuple[int, bool, int, str]]:
    """Where numbers may begin in a run of digits and signs after its first group, which has `size` digits.

    Also whether they are well apart from the digits before, how many digits their first group has, and the name of
    their form. A single digit that is not apart begins nothing.
    """
    near = start + _NEAR
    # What begins near may end further on.
    for match in _TOLD_OR_ANY.finditer(text, start + size, min(stop, near + _LONGEST)):
        begin, end = match.span()
        if begin >= near:
            break
        yield begin, _apart(text, begin), end - begin, match.lastgroup or PLAIN
    for match in _ANY.finditer(text, near, stop) if near < stop else ():
        begin, end = match.span()
        yield begin, _apart(text, begin), end - begin, match.lastgroup or PLAIN


def _apart(text: str, start: int) -> bool:
    return not (text[start - 2].isdecimal() or text[start - 3].isdecimal())


def form_of(text: str, start: int, stop: int) -> str:
    """The name of the form of what begins where a run does."""
    match = _TOLD_OR_ANY.match(text, start, stop)
    return PLAIN if match is None or match.lastgroup is None else match.lastgroup
