"""What the caller says about the calls inside a `with` block: attributes, a deadline, a bypass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter
from typing import Any

from ._checks import expect_seconds

__all__ = ["attributes", "bypassed", "bypassing", "deadline", "deadline_in", "with_attributes"]

_attributes: ContextVar[Mapping[str, Any] | None] = ContextVar("llmguard_attributes", default=None)
_deadline: ContextVar[float | None] = ContextVar("llmguard_deadline", default=None)
_bypassed: ContextVar[tuple[tuple[object, str], ...]] = ContextVar("llmguard_bypassed", default=())


def attributes() -> Mapping[str, Any] | None:
    """What was said about the calls made here; None if nothing was."""
    return _attributes.get()


@contextmanager
def with_attributes(more: Mapping[str, Any]) -> Iterator[None]:
    """Say this about the calls made inside."""
    token = _attributes.set({**(_attributes.get() or {}), **more})
    try:
        yield
    finally:
        _attributes.reset(token)


def deadline() -> float | None:
    """When guardrails must be done, as a time of `perf_counter`; None if nobody said."""
    return _deadline.get()


@contextmanager
def deadline_in(seconds: float | None) -> Iterator[None]:
    """Guardrails run inside must be done in so many seconds, and no later than an outer deadline."""
    if seconds is None:
        yield
        return
    expect_seconds(seconds, "deadline")
    outer = _deadline.get()
    at = perf_counter() + seconds
    token = _deadline.set(at if outer is None else min(outer, at))
    try:
        yield
    finally:
        _deadline.reset(token)


def bypassed(guard: object) -> str | None:
    """The reason why this guard is switched off here; None if it is on."""
    return next((reason for who, reason in _bypassed.get() if who is guard), None) if _bypassed.get() else None


@contextmanager
def bypassing(guard: object, reason: str) -> Iterator[None]:
    """Switch a guard off for the calls made inside."""
    token = _bypassed.set((*_bypassed.get(), (guard, reason)))
    try:
        yield
    finally:
        _bypassed.reset(token)
