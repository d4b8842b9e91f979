"""url_allow_list: URLs that lead anywhere else than to the hosts that are allowed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..errors import ConfigurationError
from ._patterns import PatternScorer, Span
from ._urls._find import BEHIND, REACH, Finder, open_tail
from ._urls._hosts import Hosts

__all__ = ["UrlAllowList", "url_allow_list"]


class _Url(NamedTuple):
    name: str = "URL"


class UrlAllowList(PatternScorer[_Url]):
    """Flags texts that point elsewhere; value is how many URLs do, label is URL."""

    behind = BEHIND

    def __init__(self, hosts: Sequence[str], schemes: Sequence[str], *, subdomains: bool, bare_domains: bool) -> None:
        super().__init__("url_allow_list", [_Url()], REACH)
        self.options = f"{sorted(hosts)},{sorted(schemes)},{subdomains},{bare_domains}"
        self._finder = Finder(Hosts(hosts, subdomains=subdomains), frozenset(schemes), bare=bare_domains)

    def found(self, text: str) -> Iterator[Span]:
        """Each URL that leads elsewhere."""
        return ((start, end, "URL") for start, end in self._finder.find(text))

    def open_tail(self, text: str) -> int:
        """How many characters at the end of `text` may belong to a URL that is not complete yet."""
        return open_tail(text)


def url_allow_list(
    *hosts: str, subdomains: bool = False, schemes: Sequence[str] = ("http", "https"), bare_domains: bool = False
) -> UrlAllowList:
    """Find URLs that lead anywhere else: a link or an image can carry what it should not to whoever owns its host.

    In prose, Markdown, HTML and CSS, as browsers read them (https://url.spec.whatwg.org): what is before an @,
    backslashes, ports, percent and punycode encoding, letters that look alike, addresses as numbers, URLs within URLs,
    javascript: and data:.

    Args:
        hosts: "good.com" is this host alone, "*.good.com" what is below it, "good.com:8443" another port than the
            scheme's own, "good.com:*" any. None at all: no URL may stay.
        subdomains: whether each of them stands for what is below it, too.
        schemes: of URLs that may stay; one without hosts ("data", "file") may then always stay. mailto: and tel: are
            not looked at.
        bare_domains: whether domains without a scheme ("evil.com/x") are looked at, too; those with www. always are.

    Raises:
        ConfigurationError: if one of the hosts or schemes is none.
    """
    given: object = schemes
    if isinstance(given, str) or not isinstance(given, Sequence) or not all(map(_is_scheme, given)):
        msg = f'schemes is {given!r}; give a list of them without ":", for example ["https"]'
        raise ConfigurationError(msg)
    return UrlAllowList(hosts, [scheme.lower() for scheme in schemes], subdomains=subdomains, bare_domains=bare_domains)


def _is_scheme(given: object) -> bool:
    return isinstance(given, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.\-]*", given) is not None
