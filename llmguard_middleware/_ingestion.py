"""What is made searchable, through the guardrails of the stage "embedding": shared by the adapters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

from ._edits import apply, split
from ._guard import Guard
from ._leaves import leaves, numbers, with_leaves, with_numbers
from ._steps import Ask, Steps
from .errors import GuardrailViolation
from .telemetry import _names as names

__all__ = ["cleaned", "dimensions", "reaches_embedding"]


def reaches_embedding(guard: Guard, where: str) -> None:
    """Say that texts of the stage "embedding" reach this guard there; its other rules are for other parts.

    Raises:
        UnenforceableError: if it has rules, none of that stage, and one that acts and that nothing enforces yet.
    """
    if not guard.has_rules("embedding"):  # put here by mistake
        rest = [rule for policy in guard.policies for rule in policy.guardrails if rule.stage not in guard.covered]
        guard.refuse(rest, where, 'it judges what is embedded only, by rules with stage="embedding"')
    guard.covers("embedding")


def cleaned(value: Any, check: Callable[..., Any]) -> Steps[Any]:
    """`value` with its texts and numbers, however deep, as they may be kept; in copies where one changes.

    Numbers are embedded as they are written, and so judged, a line each. `check` is the guard's.

    Raises:
        GuardrailViolation: if a guardrail blocks one of them.
    """
    told: list[str] = []
    for text in leaves(value):
        told.append((yield from _passed(text, check)).guarded)  # noqa: PERF401 - a comprehension cannot yield
    value = with_leaves(value, told)
    if lines := numbers(value):
        edits = (yield from _passed("\n".join(lines), check)).edits
        value = with_numbers(value, [apply(*one) for one in zip(lines, split(lines, edits, 1), strict=True)])
    return value


def _passed(text: str, check: Callable[..., Any]) -> Steps[Any]:
    verdict = yield Ask(nullcontext, partial(check, text, stage="embedding"))
    if verdict.stops:
        raise GuardrailViolation(verdict)
    return verdict


def dimensions(vectors: Any, *, several: bool) -> dict[str, int]:
    """What a span is told of one vector or of several: how long each is, where that is seen without using them up."""
    one = vectors[0] if several and isinstance(vectors, Sequence) and len(vectors) else vectors
    shape = getattr(one, "shape", None)  # of arrays and tensors, which are neither true nor false
    if not isinstance(shape, tuple):
        shape = (len(one),) if isinstance(one, Sequence) else ()
    size = shape[-1] if shape else 0
    return {names.EMBEDDING_DIMENSIONS: size} if size else {}
