"""What settings are checked with: each says in one sentence what to give instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import ConfigurationError, nearest

__all__ = [
    "expect_bool",
    "expect_count",
    "expect_kind",
    "expect_known",
    "expect_mapping",
    "expect_provider",
    "expect_seconds",
    "expect_text",
    "expect_wait",
    "is_number",
]


def is_number(value: Any) -> bool:
    """Whether this is a number, and no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def expect_seconds(value: Any, what: str) -> None:
    """Refuse what is no time span."""
    if not (is_number(value) and value > 0):
        msg = f"{what} is {value!r}; give seconds greater than 0"
        raise ConfigurationError(msg)


def expect_wait(value: Any, what: str) -> None:
    """Refuse what is no time to wait at most, which may be none at all."""
    if not (is_number(value) and value >= 0):
        msg = f"{what} is {value!r}; give seconds, 0 or more"
        raise ConfigurationError(msg)


def expect_bool(value: Any, what: str) -> None:
    """Refuse what only counts as true or false."""
    if not isinstance(value, bool):
        msg = f"{what} is {value!r}; give True or False"
        raise ConfigurationError(msg)


def expect_kind(value: Any, kind: type, what: str) -> None:
    """Refuse what is neither None nor of this class."""
    if value is not None and not isinstance(value, kind):
        given = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
        msg = f"{what} is {given}; give {kind.__name__}(...) or None"
        raise ConfigurationError(msg)


def expect_mapping(value: Any, what: str) -> None:
    """Refuse what has no values by name."""
    if not isinstance(value, Mapping):
        msg = f'{what} is {type(value).__name__}; give values by name, such as {{"name": value}}'
        raise ConfigurationError(msg)


def expect_count(value: Any, what: str, least: int) -> None:
    """Refuse what is no whole number of at least this."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        msg = f"{what} is {value!r}; give a whole number, {least} or more"
        raise ConfigurationError(msg)


def expect_text(value: Any, what: str) -> None:
    """Refuse what is no text."""
    if not isinstance(value, str):
        msg = f"{what} is {type(value).__name__}; give a text"
        raise ConfigurationError(msg)


def expect_known(value: Any, known: tuple[str, ...], what: str, where: str) -> None:
    """Refuse a word that is not one of those known."""
    if value not in known:
        msg = f'unknown {what} "{value}" in {where}: {nearest(str(value), known)}'
        raise ConfigurationError(msg)


def expect_provider(provider: Any, what: str, method: str) -> None:
    """Refuse what is no OpenTelemetry provider: what makes one, say."""
    if provider is not None and not callable(getattr(provider, method, None)):
        given = type(provider).__name__
        msg = f"{what}= takes an OpenTelemetry provider and was given {given}; of configure()'s result pass .{what}"
        raise ConfigurationError(msg)
