"""Values of histograms that wait for each other: the SDK takes them in half the time when many come in a row."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.context import Context

from .._boundary import unwritten

__all__ = ["Backlog"]

_MOST = 32  # values: some 0.2 ms of the call that finds them waiting


class Backlog:
    """Hands values on when so many wait, and before metrics are collected: none is missing from what is read."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Callable[..., None], float, Mapping[str, Any], Context | None]] = deque()

    def add(
        self,
        record: Callable[..., None],
        amount: float,
        attributes: Mapping[str, Any],
        context: Context | None = None,
    ) -> None:
        """Have `record` called with these, soon; attributes may not be changed afterwards."""
        waiting = self._waiting
        waiting.append((record, amount, attributes, context))
        if len(waiting) >= _MOST:
            self.flush()

    def flush(self) -> None:
        """Hand on what waits; several threads may do so at once."""
        take, failed = self._waiting.popleft, None
        while self._waiting:
            try:
                record, amount, attributes, context = take()
            except IndexError:  # another thread was quicker
                break
            try:
                record(amount, attributes, context)
            except Exception as error:  # noqa: BLE001 - of an SDK: the other values are none of its business
                failed = error
        if failed is not None:  # once
            unwritten(failed)

    def clear(self) -> None:
        """In a forked child, whose parent hands them on."""
        self._waiting.clear()
