"""URLs in texts, each found by what stands right before it, so that a part of a text shows the same as the whole.

In prose a URL ends where readers and auto-linkers end it. Where a renderer takes all that stands there for a URL (the
destination of a Markdown link, an attribute of HTML, url() of CSS) it is read as a browser would, entities and
escapes resolved.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from functools import partial
from html import unescape
from typing import Final
from urllib.parse import unquote

from .._runs import Run, Span, covered
from ._hosts import DEFAULT_PORTS, Hosts

__all__ = ["BEHIND", "REACH", "Finder", "open_tail"]

_LONGEST: Final = 2048  # characters of a URL; what is beyond stays, and leads nowhere
_AUTHORITY: Final = 512
_SCHEME: Final = 24
BEHIND: Final = 64  # characters before a URL that tell it
REACH: Final = _LONGEST + BEHIND

_SCHEME_LETTERS: Final = string.ascii_letters
_SCHEME_OTHERS: Final = f"{string.digits}+.-"
_SCRIPTS: Final = ("javascript", "vbscript")
_DATA: Final = re.compile(r"data:(?:[a-z]{2,20}/[a-z0-9.+\-]{1,60})?(?:;[a-z0-9=\-]{1,40}){0,4},", re.IGNORECASE)
# A colon that may end a scheme: one with two slashes, one that needs none of them, or a script's.
_HOST_FOLLOWS: Final = r"\[|[\w\-%]{1,512}[.%]\w"
_COLONS: Final = tuple(
    re.compile(rf":(?:(?=[/\\]{{2}})|(?<=[tT][pP]:|[pPsSwW][sS]:)(?=[/\\]?(?:{follows})))")
    for follows in (_HOST_FOLLOWS, rf"{_HOST_FOLLOWS}|[^\s/\\?#<>@]{{0,{_AUTHORITY}}}@")
)
_SCRIPT_COLONS: Final = tuple(
    re.compile(rf":(?<=[pP][tT]:|[tT][aA]:){follows}") for follows in ("", rf"|:(?=[/\\]{{0,{_AUTHORITY}}}\[)")
)
_SLASHES: Final = re.compile(rf"[/\\]{{0,{_AUTHORITY}}}")

# To some a sign of the URL, to others a letter of the host.
_TWOFOLD: Final = frozenset("\uff0f\uff20\uff03\uff3c\u2044\u2215")

# Prose: letters, digits and what may be in a name; an address of IPv6; then a port.
_DOT: Final = "\u3002\uff0e\uff61"
_HOST: Final = re.compile(
    rf"(?:\[[0-9A-Fa-f:.]{{2,45}}\]|[\w.\-%~\u00ad\u200b-\u200d\u2060\ufeff{_DOT}]{{1,300}})(?::[0-9]{{1,8}})?"
)
# What most are: two slashes and a host, surely with no user.
_PLAIN: Final = re.compile(r"://([A-Za-z0-9][A-Za-z0-9.\-]{0,252}(?::[0-9]{1,5})?)(?=[/?#\s<>]|\Z)")
_SLASH: Final = re.compile(r"[\s/\\?#<>]")
_FORWARD_SLASH: Final = re.compile(r"[\s/?#<>]")
_REST_ENDS: Final = re.compile("[\\s<>\"'`()\\[\\]{}|\u3001\u3002\uff0c\uff09\u300d\u300f\u3011]")
_SCRIPT_ENDS: Final = re.compile(r"\s")
_BEFORE_HANGUL: Final = re.compile(r"(?=([\x00-\x7f]*))\1[가-힣]+\Z")  # all of it ASCII but for the end
_ENDS_HOST: Final = frozenset(" \n/?#,;!()<>\"'")
_TRAILING: Final = ".,;:!?*_~…"

_NAME: Final = re.compile(r"[\w\-%]+[.%]\w")
_PARTICLE: Final = re.compile(r"(?<=[A-Za-z0-9])[^\x00-\x7f]")
_HANGUL_TLDS: Final = ("한국", "삼성", "닷컴", "닷넷")

# A URL inside a URL, percent-encoded once or more.
_COLON_ENCODED: Final = re.compile(r"%(?:25){0,3}3[aA]")
_ENCODED: Final = re.compile(
    r"(?:https?|ftp|wss?)%(?:25){0,3}3a(?:%(?:25){0,3}(?:2f|5c)|[/\\]){2}[^\s&\"'<>]{1,512}", re.IGNORECASE
)
_WWW: Final = re.compile(r"w(?<![\w.\-@/\\]w)ww\.[\w\-]{1,63}(?:\.[\w\-]{1,63}){1,8}(?::[0-9]{1,5})?", re.IGNORECASE)
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
_OPENER: Final = re.compile(r"\](?=[(:])|[uU](?=[rR][lL]\()")
_OPENERS: Final = {"]": 2, "u": 4, "U": 4}  # characters of each, after which it begins
# In the text from its end to its begin, since an "=" is quickly looked for, and few of them end an attribute.
_ATTRIBUTE: Final = re.compile(
    rf"=\s{{0,8}}(?=[{''.join(sorted({name[-1] for name in _ATTRIBUTES.split('|')}))}])"
    rf"(?:{'|'.join(name[::-1] for name in _ATTRIBUTES.split('|'))})(?![\w\-])",
    re.IGNORECASE,
)
_INTO: Final = re.compile(r"\s{0,8}[<\"']?")
_DIRECTLY: Final = frozenset(f"{string.ascii_letters}{string.digits}/#.](")
_QUOTED: Final = re.compile(r"[\"'`](?=[/\\]{2}[\w\[%])")
_QUOTED_ENDS: Final = re.compile("[ \"'<>)\u00a0\u3000]")
_PLAIN_ENDS: Final = re.compile("[\\s\"'<>)]")
_ESCAPED: Final = re.compile(r"\\([!-/:-@\[-`{-~])")
_BREAKS: Final = re.compile("[\t\r\n]")
_PADDING: Final = re.compile(r"[\t\r\n]|#(?<=&#)")  # of what is to be found behind it
_WITH_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]{0,30}):(.*)", re.DOTALL)
_KNOWN: Final = "|".join((*DEFAULT_PORTS, *_SCRIPTS, "data"))
# What leads nowhere else whatever follows: a path, a name, a place on the page, a scheme without hosts as mailto.
# (Entities without a semicolon are letters and signs beyond ASCII, and &, <, > and quotes; and a space.)
_RELATIVE: Final = re.compile(
    r"[/\\](?=[^/\\&\s])|[A-Za-z][A-Za-z0-9+.\-]*(?=[^A-Za-z0-9+.\-:&\\\t\r\n]|\Z)|[#?.0-9]"
    r"|&(?!nbsp)(?=[A-Za-z][A-Za-z0-9]{0,40}[^A-Za-z0-9;]|[^A-Za-z#\s])"
    rf"|(?!(?i:{_KNOWN}):)[A-Za-z][A-Za-z0-9+.\-]{{0,30}}:(?=[^/\\&\s])"
)
_HEAD: Final = 64
# The same, of what was read.
_BEGINS_RELATIVE: Final = re.compile(
    r"[/\\][^/\\]|[a-z][a-z0-9+.\-]{0,30}[^a-z0-9+.\-:]|[^a-z/\\]."
    rf"|(?!(?:{_KNOWN}):)[a-z][a-z0-9+.\-]{{0,30}}:(?:[^/\\].|[/\\][^/\\])",
    re.IGNORECASE | re.ASCII,
)
_ABSOLUTE: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]{0,30})://([A-Za-z0-9.\-]{1,253}(?::[0-9]{1,5})?)(?=[/?#]|\Z)")
_OPENS: Final = re.compile(rf"(?:\]\(<?|\]:<?|=|url\(|[\"'`]|(?:{_ATTRIBUTES}))\Z", re.IGNORECASE)


class _Looked:
    """A text that is looked at: where runs end in it, and what was said of the hosts that it names."""

    def __init__(self, text: str, hosts: Hosts) -> None:
        self.text, self._hosts = text, hosts
        self._allowed: dict[tuple[str, str], bool] = {}
        self.rest = Run(text, _REST_ENDS, _LONGEST)
        self.script = Run(text, _SCRIPT_ENDS, _LONGEST)
        self.to_slash = Run(text, _SLASH, _AUTHORITY)
        self.to_forward_slash = Run(text, _FORWARD_SLASH, _AUTHORITY)
        self.quoted = Run(text, _QUOTED_ENDS, _LONGEST)
        self.plain = Run(text, _PLAIN_ENDS, _LONGEST)
        self.padding = Run(text, _PADDING, _AUTHORITY)

    def allows(self, authority: str, scheme: str) -> bool:
        """Whether it may be pointed to: a text names few hosts and names them often."""
        allowed = self._allowed.get((authority, scheme))
        if allowed is None:
            allowed = self._allowed[authority, scheme] = self._hosts.allow(authority, scheme)
        return allowed


class Finder:
    """Finds URLs that lead elsewhere than `hosts`, or have a scheme that is not among `schemes`."""

    def __init__(self, hosts: Hosts, schemes: frozenset[str], *, bare: bool) -> None:
        self._hosts, self._schemes, self._bare = hosts, schemes, bare

    def find(self, text: str) -> Iterator[Span]:
        """(start, end) of each; they may overlap, and what lies within one need not be told."""
        looked = _Looked(text, self._hosts)
        if ":" in text:
            yield from self._with_scheme(looked)
        yield from self._in_context(looked)
        if "%" in text and _COLON_ENCODED.search(text):
            yield from self._encoded(text)
        if "." in text:
            yield from self._without_scheme(looked)

    def _with_scheme(self, looked: _Looked) -> Iterator[Span]:
        text, rest = looked.text, looked.rest
        bad = partial(self._bad_url, looked)
        for colon in _SCRIPT_COLONS["[" in text].finditer(text):
            if (span := bad(colon.start())) is not None:
                yield span
        colons = [colon.start() for colon in _COLONS["@" in text].finditer(text)]

        def most(colon: int) -> int:
            end = rest.end(colon + 1)
            # A full stop of East Asia ends a URL, and may be in a host.
            return colon + 1 + _LONGEST if text[end : end + 1] == "\u3002" else end

        yield from covered(colons, bad, most, steady="\u3002" not in text)

    def _bad_url(self, looked: _Looked, colon: int) -> Span | None:
        before = looked.text[max(0, colon - _SCHEME) : colon]
        named = before[len(before.rstrip(_SCHEME_LETTERS + _SCHEME_OTHERS)) :].lstrip(_SCHEME_OTHERS)
        scheme = named.lower()
        if scheme in DEFAULT_PORTS and (plain := _PLAIN.match(looked.text, colon)):
            host = _without_end(plain[1])
            if scheme in self._schemes and looked.allows(host, scheme):
                return None
            return colon - len(named), _rest_end(looked, colon + 1, colon + 3 + len(host))
        if not named or self._is_fine(looked, scheme, colon):
            return None
        return colon - len(named), _end(looked, colon + 1, scheme)

    def _is_fine(self, looked: _Looked, scheme: str, colon: int) -> bool:
        """Whether the URL whose scheme ends at `colon` may stay, or there is none."""
        text = looked.text
        slashes = _SLASHES.match(text, colon + 1)
        assert slashes is not None
        start, count = slashes.end(), len(slashes[0])
        if scheme in _SCRIPTS or (scheme == "data" and not count):
            follows = text[start : start + 1].strip() if scheme != "data" else _DATA.match(text, colon - len(scheme))
            return not follows or scheme in self._schemes
        if not _is_url(looked, scheme, start, count):
            return True
        if scheme not in self._schemes or count == _AUTHORITY:
            return False
        return scheme == "file" or self._leads_well(looked, start, scheme)

    def _leads_well(self, looked: _Looked, start: int, scheme: str) -> bool:
        """Whether the authority that starts here, in prose, is one of ours, whoever reads it."""
        text = looked.text
        for run in (looked.to_slash, looked.to_forward_slash):  # browsers, and all who do not take \ for /
            end = run.end(start)
            if end - start == _AUTHORITY:
                return False  # who pads it hides its end
            if (at := text.rfind("@", start, end)) >= 0:
                user = text[start:at]
                twofold = "." in user or "\\" in user
                return not twofold and looked.allows(_without_end(text[at + 1 : end]), scheme)
        host = _HOST.match(text, start)
        if host is None or text[host.end() : host.end() + 1] in _TWOFOLD:
            return False
        return looked.allows(_without_end(host[0]), scheme)

    def _in_context(self, looked: _Looked) -> Iterator[Span]:
        text = looked.text
        quoted: list[int] = []
        plain: list[int] = []
        size = len(text)
        openers = [one.start() + _OPENERS[one[0]] for one in _OPENER.finditer(text)]
        attributes = [size - one.start() for one in _ATTRIBUTE.finditer(text[::-1])] if "=" in text else []
        padded = "&#" in text
        for at in sorted({*openers, *attributes}):
            if text[at : at + 1] in _DIRECTLY:
                if padded or not _RELATIVE.match(text, at):
                    plain.append(at)
                continue
            into = _INTO.match(text, at)
            assert into is not None
            (quoted if into[0].endswith(('"', "'")) else plain).append(into.end())
        if "//" in text or "\\" in text:
            plain += [match.end() for match in _QUOTED.finditer(text)]
            plain.sort()
        for starts, run in ((plain, looked.plain), (quoted, looked.quoted)):
            yield from covered(starts, partial(self._bad_destination, looked, run), run.end)

    def _bad_destination(self, looked: _Looked, run: Run, start: int) -> Span | None:
        text, end = looked.text, run.end(start)
        if end == start:
            return None
        told = min(end, start + _AUTHORITY)
        if end - start >= _AUTHORITY and looked.padding.end(start) < told:
            return start, end
        if _RELATIVE.match(text, start, told):
            return None
        absolute = _ABSOLUTE.match(text, start, told)
        if absolute and (scheme := absolute[1].lower()) in DEFAULT_PORTS:
            good = scheme in self._schemes and looked.allows(absolute[2], scheme)
        else:
            good = self._is_good(text[start:told])
        return None if good else (start, end)

    def _is_good(self, destination: str) -> bool:
        """Whether a browser that is sent there stays with our hosts, whether or not escapes are resolved before."""
        if len(destination) > _HEAD and _is_relative(destination[:_HEAD]):
            return True
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

    def _encoded(self, text: str) -> Iterator[Span]:
        for match in _ENCODED.finditer(text):
            url = match[0]
            for _ in range(4):
                url = unquote(url, errors="replace")
            if not self._resolves_well(url):
                yield match.span()

    def _without_scheme(self, looked: _Looked) -> Iterator[Span]:
        text = looked.text
        if any(two in text for two in _TWO_W):
            for match in _WWW.finditer(text):
                host = _without_end(match[0])
                if not looked.allows(host, "https"):
                    yield match.start(), _host_end(looked, match, host)
        if self._bare:
            latin = text.isascii()  # so no particle follows a name, and one that ends in a digit is none
            for match in _BARE.finditer(text):
                if latin and match[0][-1].isdecimal() and ":" not in match[0]:
                    continue
                host = _without_end(match[0].rstrip("/"))
                last = host.rpartition(":")[0].rpartition(".")[2] if ":" in host else host.rpartition(".")[2]
                last = last.lower()
                if (
                    _LABEL.fullmatch(last)
                    and last in _TLDS
                    and (match[1] or ":" in host or last not in _FILES)
                    and not looked.allows(host, "https")
                ):
                    yield match.start(), _host_end(looked, match, host)


def _is_relative(head: str) -> bool:
    """Whether what begins so surely names no host, so that nobody need read the rest of it."""
    last = head.rfind("&")
    plain = unescape(head[:last] if last > 0 else head if last < 0 else "").rstrip("\\")
    return all(
        _BEGINS_RELATIVE.match(_BREAKS.sub("", reading).lstrip()) for reading in {plain, _ESCAPED.sub(r"\1", plain)}
    )


def _is_url(looked: _Looked, scheme: str, start: int, slashes: int) -> bool:
    """Whether a scheme, this many slashes and what starts here are a URL, and not a label or a template."""
    if slashes < 2 and not (scheme in DEFAULT_PORTS and _names(looked, start)):  # noqa: PLR2004 - a scheme's two
        return False
    first = looked.text[start : start + 1]
    if slashes == _AUTHORITY or (scheme == "file" and slashes > 2):  # noqa: PLR2004 - file:///
        return True
    return first.isalnum() or (first != "" and first in "[%_-@:\u00ad\u200b\u200c\u200d\u2060\ufeff")


def _names(looked: _Looked, start: int) -> bool:
    """Whether what starts here, after a scheme without its two slashes, looks like a host or hides one."""
    text, end = looked.text, looked.to_slash.end(start)
    return (
        text.find("@", start, end) >= 0 or _NAME.match(text, start, end) is not None or text[start:end].startswith("[")
    )


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


def _end(looked: _Looked, start: int, scheme: str = "") -> int:
    """Where a URL in prose ends, without signs and a particle; what comes after its scheme starts at `start`."""
    text = looked.text
    slashes = _SLASHES.match(text, start)
    assert slashes is not None
    host = _HOST.match(text, slashes.end())
    begins = slashes.end() if host is None else slashes.end() + len(_without_end(host[0]))
    if scheme in (*_SCRIPTS, "data"):
        return _read_end(looked, start, begins, looked.script.end(begins))
    return _rest_end(looked, start, begins)


def _host_end(looked: _Looked, match: re.Match[str], host: str) -> int:
    """The same of one without a scheme, whose host was read."""
    start = match.start()
    whole = looked.text[match.end() : match.end() + 1] in _ENDS_HOST and not match[0].endswith("/")
    return _rest_end(looked, start, start + len(host)) if whole else _end(looked, start)


def _rest_end(looked: _Looked, start: int, begins: int) -> int:
    reached = looked.rest.end(begins)
    if reached >= start + _LONGEST:  # it goes on, and has no end that could be read
        return start + _LONGEST
    return _read_end(looked, start, begins, reached)


def _read_end(looked: _Looked, start: int, begins: int, reached: int) -> int:
    found = looked.text[begins:reached].rstrip(_TRAILING)
    if "가" <= found[-1:] <= "힣" and (stem := _BEFORE_HANGUL.match(found)):
        found = stem[1]
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
