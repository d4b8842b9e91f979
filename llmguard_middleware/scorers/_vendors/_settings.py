"""What the settings of vendors' scorers are checked with; no sentence shows a value that may be secret."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ..._checks import expect_mapping, expect_text, is_number
from ...errors import ConfigurationError, nearest

__all__ = ["bounds", "choice", "in_range", "keywords", "named", "place", "texts"]


def named(value: Any, what: str, scorer: str, example: str) -> str:
    """A text that is not empty.

    Raises:
        ConfigurationError: if it is none.
    """
    if not isinstance(value, str) or not value.strip():
        msg = f"{scorer}() needs {what}, for example {example}"
        raise ConfigurationError(msg)
    return value


def texts(value: Any, what: str, known: Iterable[str] = ()) -> tuple[str, ...]:
    """A list of texts, each of those known if any is.

    Raises:
        ConfigurationError: if it is none.
    """
    if isinstance(value, str) or not isinstance(value, Iterable):
        msg = f"{what} is {type(value).__name__}; give a list of texts"
        raise ConfigurationError(msg)
    given = tuple(value)
    known = tuple(known)
    for one in given:
        expect_text(one, f"one of {what}")
        if known and one not in known:
            msg = f'{what} has "{one}": {nearest(one, known)}'
            raise ConfigurationError(msg)
    return given


def choice(value: Any, known: tuple[str, ...], what: str) -> Any:
    """One of the known words.

    Raises:
        ConfigurationError: if it is none.
    """
    if value not in known:
        msg = f'{what} is "{value}": {nearest(str(value), known)}'
        raise ConfigurationError(msg)
    return value


def bounds(given: Any, what: str, least: float, most: float) -> dict[str, float]:
    """Numbers by name, each from `least` to `most`.

    Raises:
        ConfigurationError: if they are none.
    """
    given = {} if given is None else given
    expect_mapping(given, what)
    for name, value in given.items():
        if not isinstance(name, str) or not in_range(value, least, most):
            msg = f"{what} maps {name!r} to {value!r}; give each category a number from {least:g} to {most:g}"
            raise ConfigurationError(msg)
    return {name: float(value) for name, value in given.items()}


def in_range(value: Any, least: float, most: float) -> bool:
    """Whether this is a number of that range."""
    return is_number(value) and least <= value <= most


def keywords(given: Any, what: str) -> Mapping[str, Any]:
    """Keyword arguments of a client.

    Raises:
        ConfigurationError: if they are none.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        msg = f"{what} is {type(given).__name__}; give the client's arguments by name"
        raise ConfigurationError(msg)
    return dict(given)


def place(url: Any) -> str:
    """Where a URL leads, for people: host and path, without a name, a password or a query, which may be secret."""
    try:
        parts = urlsplit(str(url or ""))
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return ""
    return f" at {parts.hostname}{port}{parts.path.rstrip('/')}" if parts.hostname else ""
