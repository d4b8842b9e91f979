"""Replay: stored OTLP JSON lines, sent to a backend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from ..errors import LLMGuardError
from ._send import BackendError, RetryLaterError, Send
from ._sinks import Signal
from ._stored_lines import Skipped, read_lines

__all__ = ["Replayed", "replay"]

_ITEMS = 512
_BYTES = 2**20
_NOUNS: dict[Signal, tuple[str, str]] = {
    "traces": ("span", "spans"),
    "logs": ("log record", "log records"),
    "metrics": ("metric point", "metric points"),
}


class ReplayError(LLMGuardError):
    """The backend did not take it all."""


@dataclass
class Replayed:
    """What was sent, by signal, and what was skipped."""

    sent: Counter[Signal] = field(default_factory=Counter)
    skipped: Skipped = field(default_factory=Skipped)

    def sentence(self, verb: str) -> str:
        """How much it was."""
        told = [f"{self.sent[signal]} {_NOUNS[signal][self.sent[signal] != 1]}" for signal in _NOUNS]
        torn, foreign = self.skipped.torn, self.skipped.foreign
        return f"{verb} {', '.join(told)}; skipped {torn} torn and {foreign} foreign line{'s' * (torn + foreign != 1)}"


@dataclass
class _Batch:
    request: Any = None
    items: int = 0
    size: int = 0


def replay(files: Iterable[Path], send: Send | None, *, attempts: int = 5, wait: float = 0.5) -> Replayed:
    """Send every whole line of these files; with `send` None, count only.

    What the backend cannot take now is sent again, up to `attempts` times, `wait` seconds later at first.

    Raises:
        ReplayError: if the backend refuses or cannot be reached, in one sentence with what was sent until then.
    """
    told = Replayed()
    batches: dict[Signal, _Batch] = {}
    again = Retrying(
        retry=retry_if_exception_type(RetryLaterError),
        stop=stop_after_attempt(attempts),
        wait=wait_exponential(wait, max=10),
        reraise=True,
    )

    def flush(signal: Signal) -> None:
        batch = batches.pop(signal)
        if send is not None:
            try:
                again(send, signal, batch.request)
            except BackendError as error:
                raise ReplayError(f"{error}; {told.sentence('until then sent')}") from None
        told.sent[signal] += batch.items

    for line in read_lines(files, told.skipped):
        batch = batches.setdefault(line.signal, _Batch())
        size = line.request.ByteSize()
        if batch.items and (batch.items + line.items > _ITEMS or batch.size + size > _BYTES):
            flush(line.signal)
            batch = batches.setdefault(line.signal, _Batch())
        if batch.request is None:
            batch.request = line.request
        else:
            batch.request.MergeFrom(line.request)
        batch.items += line.items
        batch.size += size
    for signal in list(batches):
        flush(signal)
    return told
