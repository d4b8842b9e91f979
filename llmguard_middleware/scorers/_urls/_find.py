"""URLs in texts, each found by what stands right before it, so that a part of a text shows the same as the whole.

In prose a URL ends where readers and auto-linkers end it. Where a renderer takes all that stands there for a URL (the
destination of a Markdown link, an attribute of HTML, url() of CSS) it is read as a browser would, entities and
escapes resolved.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Final
from urllib.parse import unquote

from ._hosts import DEFAULT_PORTS, Hosts

__all__ = ["BEHIND", "REACH", "Finder", "open_tail"]

_LONGEST: Final = 2048  # characters of a URL; what is beyond stays, and leads nowhere
_AUTHORITY: Final = 512
_SCHEME: Final = 24
BEHIND: Final = 64  # characters before a URL that tell it
REACH: Final = _LONGEST + BEHIND

_SCHEME_END: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*\Z")
_SCRIPTS: Final = ("javascript", "vbscript")
_DATA: Final = re.compile(r"data:(?:[a-z]{2,20}/[a-z0-9.+\-]{1,60})?(?:;[a-z0-9=\-]{1,40}){0,4},", re.IGNORECASE)
_SLASHES: Final = re.compile(rf"[/\\]{{0,{_AUTHORITY}}}")

# To some a sign of the URL, to others a letter of the host.
_TWOFOLD: Final = frozenset("\uff0f\uff20\uff03\uff3c\u2044\u2215")

# Prose: letters, digits and what may be in a name; an address of IPv6; then a port.
_DOT: Final = "\u3002\uff0e\uff61"
_HOST: Final = re.compile(
    rf"(?:\[[0-9A-Fa-f:.]{{2,45}}\]|[\w.\-%~\u00ad\u200b-\u200d\u2060\ufeff{_DOT}]{{1,300}})(?::[0-9]{{1,8}})?"
)
_TO_SLASH: Final = re.compile(rf"[^\s/\\?#<>]{{0,{_AUTHORITY}}}")
_TO_FORWARD_SLASH: Final = re.compile(rf"[^\s/?#<>]{{0,{_AUTHORITY}}}")
_REST: Final = re.compile(rf"[^\s<>\"'`()\[\]{{}}|\u3001\u3002\uff0c\uff09\u300d\u300f\u3011]{{0,{_LONGEST}}}")
_SCRIPT: Final = re.compile(rf"[^\s]{{0,{_LONGEST}}}")
_HANGUL: Final = "".join(map(chr, range(ord("가"), ord("힣") + 1)))
_TRAILING: Final = ".,;:!?*_~…"

_PARTICLE: Final = re.compile(r"(?<=[A-Za-z0-9])[^\x00-\x7f]")
_HANGUL_TLDS: Final = ("한국", "삼성", "닷컴", "닷넷")

# A URL inside a URL, percent-encoded once or more.
_ENCODED: Final = re.compile(
    r"(?:https?|ftp|wss?)%(?:25){0,3}3a(?:%(?:25){0,3}(?:2f|5c)|[/\\]){2}[^\s&\"'<>]{1,512}", re.IGNORECASE
)
_WWW: Final = re.compile(r"(?<![\w.\-@/\\])www\.[\w\-]{1,63}(?:\.[\w\-]{1,63}){1,8}(?::[0-9]{1,5})?", re.IGNORECASE)
_TWO_W: Final = ("ww", "WW", "wW", "Ww")
_BARE: Final = re.compile(r"(?<![\w.\-@/\\:%+])[\w\-]{1,63}(?:\.[\w\-]{1,63}){1,8}(?::[0-9]{1,5})?(?![\w@]|\.\w)(/)?")
_LABEL: Final = re.compile(r"[a-z]{2,24}")
# Domains that people link to without a scheme. Where the name of a file may end so, a path must follow.
_ENDINGS: Final = (
    "com net org edu gov mil int info biz io ai app dev cloud online site website store shop blog tech club live page "
    "link click space fun icu top vip win work world today news media email wiki xyz ninja agency digital network "
    "kr jp cn tw hk in us uk ca au nz de fr es it nl be ch at se no dk fi ie pt gr cz hu ro ru ua tr il ae sa za ng ke "
    "eg br mx ar cl co pe ve id th vn my sg ph eu asia tv me cc ws to ly gg gl gd la so sh pl py rs md ms ps ml ga cf "
    "tk gq zip mov name mobi onion lol buzz cam bio pub ink one pro"
)
_TLDS: Final = frozenset(_ENDINGS.split())
_ALSO_OF_FILES: Final = "py rs md sh ps pl so cc zip mov name app page in is it to at no be me one work"
_FILES: Final = frozenset(_ALSO_OF_FILES.split())

# Where all that stands there is a URL. A browser drops tabs and line breaks inside one.
_ATTRIBUTES: Final = "href|src|srcset|action|formaction|poster|background|cite|ping|data|manifest|url"
_OPENER: Final = re.compile(r"\][(:]|=|(?<=[uU][rR][lL])\(")
_ATTRIBUTE: Final = re.compile(rf"(?<![\w\-])(?:{_ATTRIBUTES})\s{{0,8}}\Z", re.IGNORECASE)
_INTO: Final = re.compile(r"\s{0,8}[<\"']?")
_QUOTED: Final = re.compile(r"[\"'`](?=[/\\]{2}[\w\[%])")
_DESTINATION: Final = r"[^ \"'<>)\u00a0\u3000]{1,%d}"
_UNTIL_SPACE: Final = r"[^\s\"'<>)]{1,%d}"
# What says where it leads, and all of it.
_QUOTED_PAIR: Final = (re.compile(_DESTINATION % _AUTHORITY), re.compile(_DESTINATION % _LONGEST))
_PLAIN_PAIR: Final = (re.compile(_UNTIL_SPACE % _AUTHORITY), re.compile(_UNTIL_SPACE % _LONGEST))
_ESCAPED: Final = re.compile(r"\\([!-/:-@\[-`{-~])")
_BREAKS: Final = re.compile("[\t\r\n]")
_PADDING: Final = re.compile("[\t\r\n]|&#")  # of what is to be found behind it
_WITH_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]{0,30}):(.*)", re.DOTALL)
_OPENS: Final = re.compile(rf"(?:\]\(<?|\]:<?|=|url\(|[\"'`]|(?:{_ATTRIBUTES}))\Z", re.IGNORECASE)


class Finder:
    """Finds URLs that lead elsewhere than `hosts`, or have a scheme that is not among `schemes`."""

    def __init__(self, hosts: Hosts, schemes: frozenset[str], *, bare: bool) -> None:
        self._hosts, self._schemes, self._bare = hosts, schemes, bare

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        """(start, end) of each; they may overlap."""
        if ":" in text:
            yield from self._with_scheme(text)
        yield from self._in_context(text)
        if "%" in text:
            yield from self._encoded(text)
        if "." in text:
            yield from self._without_scheme(text)

    def _with_scheme(self, text: str) -> Iterator[tuple[int, int]]:
        at = text.find(":")
        while at >= 0:
            scheme = _SCHEME_END.search(text, max(0, at - _SCHEME), at)
            if scheme is not None and not self._is_fine(text, scheme[0].lower(), at):
                yield scheme.start(), _end(text, at + 1, scheme[0].lower())
            at = text.find(":", at + 1)

    def _is_fine(self, text: str, scheme: str, colon: int) -> bool:
        """Whether the URL whose scheme ends at `colon` may stay, or there is none."""
        slashes = _SLASHES.match(text, colon + 1)
        assert slashes is not None
        start, count = slashes.end(), len(slashes[0])
        if scheme in _SCRIPTS or (scheme == "data" and not count):
            follows = text[start : start + 1].strip() if scheme != "data" else _DATA.match(text, colon - len(scheme))
            return not follows or scheme in self._schemes
        if not _is_url(text, scheme, start, count):
            return True
        if scheme not in self._schemes or count == _AUTHORITY:
            return False
        return scheme == "file" or self._leads_well(text, start, scheme)

    def _leads_well(self, text: str, start: int, scheme: str) -> bool:
        """Whether the authority that starts here, in prose, is one of ours, whoever reads it."""
        for pattern in (_TO_SLASH, _TO_FORWARD_SLASH):  # browsers, and all who do not take \ for /
            run = pattern.match(text, start)
            assert run is not None
            if len(run[0]) == _AUTHORITY:
                return False  # who pads it hides its end
            if "@" in run[0]:
                user, _, name = run[0].rpartition("@")
                twofold = "." in user or "\\" in run[0]
                return not twofold and self._hosts.allow(_without_end(name), scheme)
        host = _HOST.match(text, start)
        if host is None or text[host.end() : host.end() + 1] in _TWOFOLD:
            return False
        return self._hosts.allow(_without_end(host[0]), scheme)

    def _in_context(self, text: str) -> Iterator[tuple[int, int]]:
        for opener in _OPENER.finditer(text):
            at = opener.end()
            if opener[0] == "=" and not _ATTRIBUTE.search(text, max(0, at - 24), at - 1):
                continue
            into = _INTO.match(text, at)
            assert into is not None
            pair = _QUOTED_PAIR if into[0].endswith(('"', "'")) else _PLAIN_PAIR
            yield from self._bad_destination(text, into.end(), *pair)
        if "//" in text or "\\" in text:
            for match in _QUOTED.finditer(text):
                yield from self._bad_destination(text, match.end(), *_PLAIN_PAIR)

    def _bad_destination(
        self, text: str, start: int, begin: re.Pattern[str], whole: re.Pattern[str]
    ) -> Iterator[tuple[int, int]]:
        destination = begin.match(text, start)
        if destination is None:
            return
        padded = len(destination[0]) == _AUTHORITY and _PADDING.search(destination[0])
        if padded or not self._is_good(destination[0]):
            all_of_it = whole.match(text, start)
            assert all_of_it is not None
            yield all_of_it.span()

    def _is_good(self, destination: str) -> bool:
        """Whether a browser that is sent there stays with our hosts, whether or not escapes are resolved before."""
        plain = unescape(destination) if "&" in destination else destination
        readings = {plain, _ESCAPED.sub(r"\1", plain)} if "\\" in plain else {plain}
        return all(map(self._resolves_well, readings))

    def _resolves_well(self, destination: str) -> bool:
        url = _BREAKS.sub("", destination).lstrip()
        given = _WITH_SCHEME.match(url)
        scheme, rest = (given[1].lower(), given[2]) if given else ("https", url)
        if scheme in (*_SCRIPTS, "data"):
            return scheme in self._schemes
        slashes = len(rest) - len(rest.lstrip("/\\"))
        if scheme in DEFAULT_PORTS and given:
            if not rest.lstrip("/\\"):
                return True
        elif slashes < 2 or not rest[slashes:]:  # noqa: PLR2004 - a path, or a scheme without hosts (mailto, tel)
            return True
        if given and scheme not in self._schemes:
            return False
        authority = re.split(r"[/\\?#]", rest[slashes:], maxsplit=1)[0]
        by_others = re.split(r"[/?#]", rest[slashes:], maxsplit=1)[0]
        user, _, host = authority.rpartition("@")
        return "." not in user and ("@" not in by_others or "\\" not in by_others) and self._hosts.allow(host, scheme)

    def _encoded(self, text: str) -> Iterator[tuple[int, int]]:
        for match in _ENCODED.finditer(text):
            url = match[0]
            for _ in range(4):
                url = unquote(url, errors="replace")
            if not self._resolves_well(url):
                yield match.span()

    def _without_scheme(self, text: str) -> Iterator[tuple[int, int]]:
        if any(two in text for two in _TWO_W):
            for match in _WWW.finditer(text):
                if not self._hosts.allow(_without_end(match[0]), "https"):
                    yield match.start(), _end(text, match.start())
        if self._bare:
            for match in _BARE.finditer(text):
                host = _without_end(match[0].rstrip("/"))
                last = host.rpartition(":")[0].rpartition(".")[2] if ":" in host else host.rpartition(".")[2]
                last = last.lower()
                if (
                    _LABEL.fullmatch(last)
                    and last in _TLDS
                    and (match[1] or ":" in host or last not in _FILES)
                    and not self._hosts.allow(host, "https")
                ):
                    yield match.start(), _end(text, match.start())


def _is_url(text: str, scheme: str, start: int, slashes: int) -> bool:
    """Whether a scheme, this many slashes and what starts here are a URL, and not a label or a template."""
    if slashes < 2 and not (scheme in DEFAULT_PORTS and _names(text, start)):  # noqa: PLR2004 - a scheme's two
        return False
    first = text[start : start + 1]
    if slashes == _AUTHORITY or (scheme == "file" and slashes > 2):  # noqa: PLR2004 - file:///
        return True
    return first.isalnum() or (first != "" and first in "[%_-@:\u00ad\u200b\u200c\u200d\u2060\ufeff")


def _names(text: str, start: int) -> bool:
    """Whether what starts here, after a scheme without its two slashes, looks like a host or hides one."""
    run = _TO_SLASH.match(text, start)
    return run is not None and ("@" in run[0] or re.match(r"[\w\-%]+[.%]\w", run[0]) is not None or run[0][:1] == "[")


def _without_end(host: str) -> str:
    """A host as prose has it, without the signs that end a sentence and without a Korean particle."""
    host = host.rstrip(_TRAILING + ",)'\"")
    if host.isascii():
        return host
    particle = _PARTICLE.search(host)
    if particle is not None:
        rest = host[particle.start() :]
        mixed = "." not in rest and not any(dot in rest for dot in _DOT)  # of letters that no top-level domain mixes
        if mixed or (re.fullmatch(r"[가-힣.]+", rest) and not rest.endswith(_HANGUL_TLDS)):
            return host[: particle.start()]
    return host


def _end(text: str, start: int, scheme: str = "") -> int:
    """Where a URL in prose ends, without signs and a particle; what comes after its scheme starts at `start`."""
    slashes = _SLASHES.match(text, start)
    assert slashes is not None
    host = _HOST.match(text, slashes.end())
    begins = slashes.end() if host is None else slashes.end() + len(_without_end(host[0]))
    run = (_SCRIPT if scheme in (*_SCRIPTS, "data") else _REST).match(text, begins)
    assert run is not None
    found = run[0].rstrip(_TRAILING)
    if "가" <= found[-1:] <= "힣" and ((stem := found.rstrip(_HANGUL)) == "" or stem.isascii()):
        found = stem
    return max(begins + len(found), start + 1)


def open_tail(text: str) -> int:
    """How many characters at the end of `text`, at most REACH, may belong to a URL that is not complete yet."""
    floor = max(0, len(text) - REACH)
    at = max(text.rfind(" ", floor) + 1, floor)
    for _ in range(4):
        before = text[floor:at].rstrip()
        if not before or not _OPENS.search(before, max(0, len(before) - 16)):
            break
        at = max(text.rfind(" ", floor, floor + len(before)) + 1, floor)
    return len(text) - at
