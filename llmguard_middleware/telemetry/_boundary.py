"""The one boundary where a failure is swallowed: broken telemetry must not break the call."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

__all__ = ["never_raises", "unwritten"]

P = ParamSpec("P")

_log = logging.getLogger("llmguard.telemetry")


def unwritten(error: BaseException) -> None:
    """Log that telemetry could not be written; by the type of the error, since its text may quote a prompt."""
    _log.warning("telemetry could not be written: %s", type(error).__name__)


def never_raises(method: Callable[P, None]) -> Callable[P, None]:
    """The method, with whatever a provider or an exporter raises logged in place of raised."""

    @wraps(method)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever a provider or an exporter raises
            unwritten(error)

    return guarded
