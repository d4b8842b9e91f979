"""Which failures of a model are worth another try."""

from __future__ import annotations

import re
from typing import Any

from ...errors import LLMGuardError

__all__ = ["refused", "refuses_form", "transient"]

_STATUS = frozenset((408, 409, 425, 429, 500, 502, 503, 504, 529))
_REFUSED = frozenset((400, 404, 415, 422, 501))
_OF_THE_QUESTION = frozenset((400, 413, 422))
_SERVER = 500
_NAMES = re.compile(
    r"(?:Timeout|Timed ?Out|RateLimit|TooManyRequests|Connection|Connect|Unavailable|Overloaded|InternalServer"
    r"|Throttl|ReadError|RemoteProtocol|ServerDisconnected)",
    re.IGNORECASE,
)


def transient(error: BaseException) -> bool:
    """Whether the same question may be answered in a moment: a limit, an overload, a lost connection.

    What a provider says by a status is believed. No error of ours is: a guardrail that stopped the call stops it again.
    """
    if isinstance(error, LLMGuardError) or not isinstance(error, Exception):
        return False
    if (status := _status(error)) is not None:
        return status in _STATUS or (status > _SERVER and status not in _REFUSED)
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    names = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ != "builtins"]
    return any(_NAMES.search(name) for name in names)


def refuses_form(error: BaseException) -> bool:
    """Whether the provider may have refused how the reply was asked for, and not what was asked."""
    if isinstance(error, LLMGuardError):
        return False
    status = _status(error)
    if status is not None:
        return status in _REFUSED
    return isinstance(error, (NotImplementedError, TypeError, ValueError, AttributeError))


def refused(error: BaseException) -> bool:
    """Whether the provider would not take this question: what a text can cause, and no outage."""
    return not isinstance(error, LLMGuardError) and _status(error) in _OF_THE_QUESTION


def _status(error: BaseException) -> int | None:
    for holder in (error, getattr(error, "response", None)):
        for name in ("status_code", "status", "code", "http_status"):
            value: Any = getattr(holder, name, None)
            if isinstance(value, int) and not isinstance(value, bool):
                return value
    return None
