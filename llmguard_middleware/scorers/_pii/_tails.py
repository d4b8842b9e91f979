"""What at the end of a text may belong to personal data that is not complete yet."""

from __future__ import annotations

import re
import string

from ._addresses import AT_SIGN, disguised_end
from ._papers import says_birth
from ._sight import Sight

__all__ = ["open_tail"]

_ADDRESS = f"{string.ascii_letters}{string.digits}._%+'-@:/?#&=~!$*,;()[]{{}}<>"
_NUMBER = f"{string.digits} ./()+-"
_PAPER = f"{string.ascii_letters}{string.digits} .-"
_READ = "공영일이삼사오육륙칠팔구 -.,"
_LONGEST_PAPER = 42  # an IBAN's 34 characters in groups of four
_LONGEST_DATE = 40
_BIRTH = 64  # from the word to the start of a date
_DOMAIN = 350  # of an address whose signs are spelled out, at most
_BEGUN = re.compile(r"\s?[\[({<]?\s?(?:[aA][tT]?|골(?:뱅이?)?|앳)?\s?\Z")  # of a sign that is spelled out
_LONGEST_SIGN = 8
_LOGIN = re.compile(r"[^\s/@:?#]{0,64}(?::[^\s/@]{0,128})?\Z")
_LONGEST_LOGIN = len("://") + 64 + len(":") + 128


def open_tail(text: str, reach: int) -> int:
    """How many characters at the end of `text`, at most `reach`, may belong to what is not complete yet."""
    given = text[-reach:]
    sight = Sight(given)
    seen = sight.text
    tail = max(
        _of(seen, _ADDRESS),
        _of(seen, _NUMBER),
        min(_LONGEST_PAPER, _of(seen, _PAPER)),
        _of(seen, _READ),
        _disguised(seen),
        _login(seen),
        min(len(seen), _LONGEST_DATE) if says_birth(seen[-_LONGEST_DATE - _BIRTH :]) else 0,
    )
    if not tail:
        # Nothing but what nobody sees may be after what is open.
        return len(given) - (sight.places(len(seen) - 1, len(seen))[1] if seen else 0)
    return len(given) - sight.places(len(seen) - tail, len(seen))[0]


def _of(text: str, characters: str) -> int:
    return len(text) - len(text.rstrip(characters))


def _login(text: str) -> int:
    """Of credentials in a URL: whatever their signs, up to the one that ends them."""
    begin = text.rfind("://", max(0, len(text) - _LONGEST_LOGIN)) + 3
    return len(text) - begin if begin > len("://") - 1 and _LOGIN.match(text, begin) else 0


def _disguised(text: str) -> int:
    """Of an address whose signs are spelled out: up to its last complete sign, or a sign that has only begun."""
    sign = _BEGUN.search(text, max(0, len(text) - _LONGEST_SIGN))
    tail = len(text) - _local(text, sign.start()) if sign else 0
    for at in AT_SIGN.finditer(text, max(0, len(text) - _DOMAIN)):
        if disguised_end(text, at.end()):
            return max(tail, len(text) - _local(text, at.start()))
    return tail


def _local(text: str, end: int) -> int:
    return len(text[:end].rstrip(f"{string.ascii_letters}{string.digits}._%+'-"))
