"""A guard by environment: `LLMGUARD_CONFIG=guard.yaml`, also with no code at all, by `opentelemetry-instrument`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, ClassVar

from ._guard import Guard, expect_guard
from .errors import ConfigurationError

__all__ = ["ByEnvironment", "guard_or_environments"]

_CONFIG = "LLMGUARD_CONFIG"


def guard_or_environments(guard: Guard | None) -> Guard:
    """The guard that `instrument` was given; if None, one of the file that `LLMGUARD_CONFIG` names.

    Raises:
        ConfigurationError: if there is neither, or the file has mistakes.
    """
    if guard is None:
        file = os.environ.get(_CONFIG)
        if not file:
            msg = f"instrument() was given no guard: write instrument(guard), or set {_CONFIG}=guard.yaml"
            raise ConfigurationError(msg)
        guard = Guard.from_config(file)
    expect_guard(guard, "instrument(guard)")
    return guard


class ByEnvironment:
    """What an adapter gives `opentelemetry-instrument` as its entry point; nothing if `LLMGUARD_CONFIG` is not set.

    On the command line: `LLMGUARD_CONFIG=guard.yaml opentelemetry-instrument python app.py`.

    Attributes:
        on, off: the adapter's `instrument` and `uninstrument`.
    """

    on: ClassVar[Callable[[], object]]
    off: ClassVar[Callable[[], object]]

    def instrument(self, **_: Any) -> None:
        """Called once, before the application starts."""
        if os.environ.get(_CONFIG):
            type(self).on()

    def uninstrument(self, **_: Any) -> None:
        """Undo it."""
        type(self).off()
