"""Hosts: who may be pointed to, and which host an authority names, as browsers read it (WHATWG's URL standard).

Whatever is odd is no host that anybody allowed: what cannot be read in one way only is never taken for a known host.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv6Address
from typing import Final
from urllib.parse import unquote

from ...errors import ConfigurationError

__all__ = ["DEFAULT_PORTS", "Hosts", "host_and_port"]

DEFAULT_PORTS: Final = {"http": "80", "https": "443", "ws": "80", "wss": "443", "ftp": "21"}

_DOTS: Final = str.maketrans("\u3002\uff0e\uff61", "...")
_UNSEEN: Final = re.compile("[\u00ad\u200b-\u200d\u2060\ufeff\ufe00-\ufe0f]")  # what IDNA drops
_NAME: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_\-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_\-]{0,61}[a-z0-9_])?)*")
_PORT: Final = re.compile(r":([0-9]*)\Z")
_ANY: Final = "*"


def host_and_port(authority: str) -> tuple[str, str]:
    """The host, in small ASCII letters, and the port, "" if none is written; the host is "" for one that is odd."""
    port = _PORT.search(authority)
    written = authority[: port.start()] if port else authority
    return _host(written), (port[1].lstrip("0") or ("" if port[1] == "" else "0")) if port else ""


def _host(written: str) -> str:
    if written.startswith("["):
        try:
            return f"[{IPv6Address(written[1:-1]).compressed}]" if written.endswith("]") else ""
        except (AddressValueError, ValueError):
            return ""
    if "%" in written:
        written = unquote(written, errors="replace")
    if not written.isascii():
        written = _UNSEEN.sub("", unicodedata.normalize("NFKC", written.translate(_DOTS)))
    name = written.lower().removesuffix(".")
    if not name.isascii():
        try:
            name = ".".join(map(_ascii, unicodedata.normalize("NFC", name).split(".")))
        except UnicodeError:
            return ""
    return name if len(name) <= 253 and _NAME.fullmatch(name) else ""  # noqa: PLR2004 - the longest name of DNS


def _ascii(label: str) -> str:
    return label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii")


class Hosts:
    """The hosts that may be pointed to: "good.com", "*.good.com" (what is below it), "good.com:8443", "[::1]".

    Without a port, the scheme's own is meant; `:*` is any.

    Raises:
        ConfigurationError: for what is no host.
    """

    def __init__(self, entries: Iterable[object], *, subdomains: bool) -> None:
        self._exact: dict[str, set[str]] = {}
        self._below: dict[str, set[str]] = {}
        for entry in entries:
            self._add(entry, subdomains=subdomains)

    def _add(self, entry: object, *, subdomains: bool) -> None:
        text = entry.strip() if isinstance(entry, str) else ""
        any_port, below = text.endswith(":*"), text.startswith("*.")
        name, port = host_and_port(text.removesuffix(":*").removeprefix("*."))
        if not name:
            msg = f'{entry!r} is no host; write "good.com", "*.good.com" for what is below it, or "good.com:8443"'
            raise ConfigurationError(msg)
        port = _ANY if any_port else port
        if not below:
            self._exact.setdefault(name, set()).add(port)
        if below or subdomains:
            self._below.setdefault(name, set()).add(port)

    def allow(self, authority: str, scheme: str) -> bool:
        """Whether `authority` (host and port, without user) may be pointed to."""
        name, port = host_and_port(authority)
        if not name:
            return False
        port = "" if port == DEFAULT_PORTS.get(scheme) else port
        if _fits(port, self._exact.get(name)):
            return True
        at = name.find(".")
        while self._below and at >= 0:
            if _fits(port, self._below.get(name[at + 1 :])):
                return True
            at = name.find(".", at + 1)
        return False


def _fits(port: str, ports: set[str] | None) -> bool:
    return ports is not None and (port in ports or _ANY in ports)
