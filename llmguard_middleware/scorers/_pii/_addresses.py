"""Addresses: e-mail, IP, MAC, credentials in URLs, crypto wallets."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from hashlib import sha256
from ipaddress import IPv6Address

__all__ = ["AT_SIGN", "crypto", "disguised_end", "emails", "ips", "macs", "url_credentials"]

Spans = Iterator[tuple[int, int]]

# ASCII classes, not \w and \b: a Korean particle follows an address without a space (hong@example.com입니다).
_LOCAL = f"{string.ascii_letters}{string.digits}._%+'-"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?"
_DOMAIN = rf"(?:{_LABEL}\.){{1,5}}[A-Za-z]{{2,24}}|(?:[가-힣A-Za-z0-9\-]{{1,32}}\.){{1,3}}(?:한국|닷컴|닷넷)"
# An at sign between what may be the two parts. (What opens a sign is asked for after its first character, everywhere in
# this file: a pattern that starts with a character is looked for at a tenth of the cost.)
_PLAIN_AT = re.compile(rf"@(?<=[{re.escape(_LOCAL)}]@)(?=({_DOMAIN}))")
_AT = r"(?:\s?[\[({<]\s?(?:[aA][tT]|@|골뱅이|앳)\s?[\])}>]\s?|\s(?:[aA][tT]|AT|골뱅이|앳)\s|골뱅이)"
_DOT = r"(?:\s?[\[({<]\s?(?:[dD][oO][tT]|\.|점|닷)\s?[\])}>]\s?|\s(?:[dD][oO][tT]|점|닷)\s|\.)"
_DISGUISED = re.compile(rf"{_AT}(?:{_LABEL}{_DOT}){{1,4}}[A-Za-z]{{2,24}}(?![A-Za-z0-9])")
# Where a sign that is spelled may be: the bracket, the word between spaces, or the Korean word.
_SPELLED_AT = re.compile(
    r"[\[({<aA골앳](?:(?<=[\[({<])(?=\s?(?:[aA][tT]|@|골뱅이|앳)\s?[\])}>])|(?<=\s[aA])(?=[tT]\s)|(?<=골)(?=뱅이)"
    r"|(?<=\s앳)(?=\s))"
)
AT_SIGN = re.compile(_AT)
_UNFINISHED = re.compile(
    rf"(?:[A-Za-z0-9\-]{{1,63}}{_DOT}){{0,5}}[A-Za-z0-9\-]{{0,63}}\s?[\[({{<]?\s?(?:[dD][oO]?[tT]?|점|닷)?\s?[\])}}>]?\s?"
)
_BRACKETED = [
    (bracket, re.compile(rf"{re.escape(bracket)}\s?(?:[aA][tT]|@|골뱅이|앳|[dD][oO][tT]|\.|점|닷)"))
    for bracket in "[({<"
]


def emails(text: str, lower: str) -> Spans:
    """By RFC 5321's limits; also with the signs spelled out: hong (at) example dot com.

    `lower` is the text in small letters.
    """
    for at in _PLAIN_AT.finditer(text) if "@" in text else ():
        if local := _local(text, at.start()):
            yield at.start() - local, at.end(1)
    if _spells_signs(text, lower):
        for sign in _SPELLED_AT.finditer(text):
            # With the space before it, where there is one: what is before that is the local part.
            start = sign.start() - text[sign.start() - 1 : sign.start()].isspace()
            local = _local(text, start)
            match = _DISGUISED.match(text, start) if local else None
            # "look at it. Now" has no dot that is spelled, and no bracket: that is no address.
            if match and re.search(r"[\[({<골앳]|\s(?:[dD][oO][tT]|점|닷)\s", match[0]):
                yield start - local, match.end()


def _spells_signs(text: str, lower: str) -> bool:
    """Whether there may be an address whose signs are spelled: without one of these, there is none."""
    if "dot" in lower or "점" in text or "닷" in text or "앳" in text or ("뱅" in text and "골뱅이" in text):
        return True
    return any(bracket in text and pattern.search(text) for bracket, pattern in _BRACKETED)


def disguised_end(text: str, start: int) -> bool:
    """Whether all from here to the end may be a domain that is not complete yet."""
    return _UNFINISHED.fullmatch(text, start) is not None


def _local(text: str, end: int) -> int:
    """Characters of the part before an at sign, without a quotation mark, dot or dash that opens it."""
    before = text[max(0, end - 64) : end]
    # Far cheaper than a pattern, which tries every start.
    return len(before[len(before.rstrip(_LOCAL)) :].lstrip("'.-"))


_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_COLONS = 7  # of an address that leaves nothing out
_SECOND_BYTE = re.compile(rf"\.(?<=[0-9]\.)(?=({_BYTE}\.{_BYTE}\.{_BYTE})(?![0-9]|\.[0-9]))")
_BYTES = frozenset(map(str, range(256)))
# The first in one that is an address: before it are four digits at most, and there are seven in all.
_TWO_COLONS = re.compile(r":(?=:|[0-9A-Fa-f]{1,4}:)(?=[0-9A-Fa-f:]{4})")
_HEX_RUN = re.compile(r"[0-9A-Fa-f:]+")
_IPV6 = re.compile(r"[0-9A-Fa-f:]{3,39}(?![0-9A-Za-z:])")
_VERSIONS = (".", "v", "V", "\u00a7")  # before what has four parts, too
_VERSION_WORDS = ("ersion", "elease", "버전")
_SAYS_VERSION, _BEFORE = re.compile("[vV]ersion|[rR]elease|버전"), 12
_HEX_COLON = f"{string.hexdigits}:"
_DIGIT = re.compile("[0-9]")  # every hardware address and IPv6 address has one, but for one in a hundred thousand
_LONGEST_IPV6 = 40  # characters, with one before
_JOINED = frozenset(f"{string.ascii_letters}{string.digits}:.")  # what stands before a part of something else


def ips(text: str) -> Spans:
    """Addresses of IP version 4 (dotted) and 6 (RFC 4291)."""
    yield from _dotted(text)
    if ":" in text:
        yield from _with_colons(text)


def _dotted(text: str) -> Spans:
    says: bool | None = None  # not asked yet
    for dot in _SECOND_BYTE.finditer(text):
        at, end = dot.span(1)
        start = _start(text, at - 1, 4, string.digits)
        if text[start : at - 1] not in _BYTES or text[start - 1 : start] in _VERSIONS:
            continue
        if says is None:
            says = any(word in text for word in _VERSION_WORDS)
        if not (says and _SAYS_VERSION.search(text, max(0, start - _BEFORE), start)):
            yield start, end


def _with_colons(text: str) -> Spans:
    past = 0
    for colon in _TWO_COLONS.finditer(text):
        at = colon.start()
        if at < past:
            continue  # of a run that was looked at
        run = _HEX_RUN.match(text, at)
        assert run is not None
        past = run.end()
        start = _start(text, at, _LONGEST_IPV6, _HEX_COLON)
        if text[start - 1 : start] in _JOINED:
            continue
        if match := _IPV6.match(text, start):
            end = match.end() - (match[0][-1] == ":" != match[0][-2])  # a colon of the sentence
            if _DIGIT.search(text, start, end) and _is_ipv6(text[start:end]):
                yield start, end


def _start(text: str, end: int, most: int, characters: str) -> int:
    """Where the stretch of these characters before a place starts, if it has no more than `most`."""
    before = text[max(0, end - most) : end]
    return end - len(before) + len(before.rstrip(characters))


def _is_ipv6(text: str) -> bool:
    if len(text.replace(":", "")) < _COLONS:
        return False  # 1::2 may be anything
    if "::" not in text and text.count(":") != _COLONS:
        return False  # as the exception says that costs more than all else
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


_HEX = "[0-9A-Fa-f]"
_PAIRS = tuple(
    (sign, width, re.compile(rf"{re.escape(sign)}(?={then})"))
    for sign, width, then in (
        (":", 2, rf"{_HEX}{{2}}:{_HEX}{{2}}:{_HEX}{{2}}:"),
        ("-", 2, rf"{_HEX}{{2}}-{_HEX}{{2}}-{_HEX}{{2}}-"),
        (".", 4, rf"{_HEX}{{4}}\.{_HEX}{{4}}"),
    )
)
_MAC = re.compile(
    rf"(?<![0-9A-Za-z:.\-])(?:{_HEX}{{2}}(?::{_HEX}{{2}}){{5}}|{_HEX}{{2}}(?:-{_HEX}{{2}}){{5}}|{_HEX}{{4}}(?:\.{_HEX}{{4}}){{2}})"
    r"(?![0-9A-Za-z:\-]|\.[0-9A-Za-z])"
)


def macs(text: str) -> Spans:
    """Hardware addresses: six bytes with colons or dashes, or three pairs with dots."""
    for sign, width, second in _PAIRS:
        for match in second.finditer(text) if sign in text else ():
            start = match.start() - width
            whole = _MAC.match(text, start) if start >= 0 else None
            if whole and _DIGIT.search(whole[0]) and not whole[0].replace(".", "").isdecimal():
                yield whole.span()


_CREDENTIALS = re.compile(r"[^\s/@:?#<>]{0,64}:[^\s/@<>]{1,128}(?=@)")


def url_credentials(text: str) -> Spans:
    """Name and password in a URL (RFC 3986's userinfo): scheme://name:password@host."""
    at = text.find("://")
    while at >= 0:
        if match := _CREDENTIALS.match(text, at + 3):
            yield match.span()
        at = text.find("://", at + 3)


_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BITCOINS = tuple(
    re.compile(rf"{first}(?<![0-9A-Za-z]{first})[a-km-zA-HJ-NP-Z1-9]{{25,34}}(?![0-9A-Za-z])") for first in "13"
)
_BECH32 = re.compile(r"(?<![0-9A-Za-z])bc1[02-9ac-hj-np-z]{11,71}(?![0-9A-Za-z])")
_ETHEREUM = re.compile(r"(?<![0-9A-Za-z])0x[0-9A-Fa-f]{40}(?![0-9A-Za-z])")


def crypto(text: str) -> Spans:
    """Wallets: Bitcoin (Base58Check, or Bech32 by its form) and Ethereum (by its form)."""
    for pattern in _BITCOINS:
        for match in pattern.finditer(text):
            if _checks(match[0]):
                yield match.span()
    if "bc1" in text:
        for match in _BECH32.finditer(text):
            yield match.span()
    if "0x" in text:
        for match in _ETHEREUM.finditer(text):
            yield match.span()


def _checks(address: str) -> bool:
    number = 0
    for character in address:
        number = number * 58 + _BASE58.index(character)
    try:
        raw = number.to_bytes(25, "big")
    except OverflowError:
        return False
    return sha256(sha256(raw[:-4]).digest()).digest()[:4] == raw[-4:]
