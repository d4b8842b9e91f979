"""What the caller says about the calls inside a `with` block: attributes, a deadline, a bypass.

What is said is kept in a cell that the end of the block closes, whatever the context in which it ends: a generator that
is suspended inside a block and closed elsewhere, or a task that was started inside it, cannot keep it in force.

A stream or a coroutine is made in one place and begins in another, when it is read. Its attributes are those of the
place where it was made (`captured`), or a tenant's rules would not hold for it. A bypass and a deadline end with their
block: they are about what runs inside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Generic, TypeVar

from ._checks import expect_seconds

__all__ = [
    "Captured",
    "anything",
    "attributes",
    "bypassed",
    "bypassing",
    "captured",
    "deadline",
    "deadline_in",
    "with_attributes",
]

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class _Cell(Generic[T]):
    """What one block says, as long as it is open."""

    said: T
    open: bool = True


_attributes: ContextVar[tuple[_Cell[Mapping[str, Any]], ...]] = ContextVar("llmguard_attributes", default=())
_deadlines: ContextVar[tuple[_Cell[float], ...]] = ContextVar("llmguard_deadlines", default=())
_bypasses: ContextVar[tuple[_Cell[tuple[object, str]], ...]] = ContextVar("llmguard_bypasses", default=())


@contextmanager
def _saying(where: ContextVar[tuple[_Cell[T], ...]], said: T) -> Iterator[None]:
    cell = _Cell(said)
    token = where.set((*(one for one in where.get() if one.open), cell))
    try:
        yield
    finally:
        cell.open = False
        with suppress(ValueError):  # it ends in another context than it began in: there is nothing to put back
            where.reset(token)


def anything() -> bool:
    """Whether anything but a deadline was said here: mostly nothing was."""
    return bool(_attributes.get() or _bypasses.get())


def attributes() -> Mapping[str, Any] | None:
    """What was said about the calls made here; None if nothing was."""
    cells = _attributes.get()
    if not cells:
        return None
    merged = {name: value for cell in cells if cell.open for name, value in cell.said.items()}
    return merged or None


def with_attributes(more: Mapping[str, Any]) -> Any:
    """Say this about the calls made inside."""
    return _saying(_attributes, more)


def captured() -> Captured | None:
    """What is said here about a call that is made now and begins later; None if nothing is."""
    if not _attributes.get() or (said := attributes()) is None:
        return None
    return Captured(said)


class Captured:
    """A context manager in which what was said holds again; entered as often as the call goes on, never twice at once.

    What the call itself says inside holds when it goes on, and not for who reads it.
    """

    __slots__ = ("_cells", "_said", "_token")

    def __init__(self, said: Mapping[str, Any]) -> None:
        self._said = _Cell(said)
        self._cells: tuple[_Cell[Mapping[str, Any]], ...] | None = None

    def __enter__(self) -> None:
        if self._cells is None:  # said where it was made: this wins over what is said where it begins
            self._cells = (*(one for one in _attributes.get() if one.open), self._said)
        self._token = _attributes.set(self._cells)

    def __exit__(self, *_: object) -> None:
        self._cells = _attributes.get()
        with suppress(ValueError):  # thrown away, a coroutine unwinds in another context
            _attributes.reset(self._token)


def deadline() -> float | None:
    """When guardrails must be done, as a time of `perf_counter`: the earliest that was said; None if none was."""
    cells = _deadlines.get()
    return min((cell.said for cell in cells if cell.open), default=None) if cells else None


@contextmanager
def deadline_in(seconds: float | None) -> Iterator[None]:
    """Guardrails run inside must be done in so many seconds, and no later than an outer deadline."""
    if seconds is None:
        yield
        return
    expect_seconds(seconds, "deadline")
    with _saying(_deadlines, perf_counter() + seconds):
        yield


def bypassed(guard: object) -> str | None:
    """The reason why this guard is switched off here; None if it is on."""
    cells = _bypasses.get()
    if not cells:
        return None
    return next((cell.said[1] for cell in cells if cell.open and cell.said[0] is guard), None)


def bypassing(guard: object, reason: str) -> Any:
    """Switch a guard off for the calls made inside."""
    return _saying(_bypasses, (guard, reason))
