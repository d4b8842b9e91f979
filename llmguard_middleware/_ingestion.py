"""What is made searchable, through the guardrails of the stage "embedding": shared by the adapters' transformers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

from ._guard import Guard
from ._leaves import leaves, with_leaves
from ._steps import Ask, Steps
from .errors import GuardrailViolation

__all__ = ["cleaned", "reaches_embedding"]


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
    """`value` with its texts, however deep, as they may be kept; in copies where one changes. `check` is the guard's.

    Raises:
        GuardrailViolation: if a guardrail blocks one of them.
    """
    told: list[str] = []
    for text in leaves(value):
        verdict = yield Ask(nullcontext, partial(check, text, stage="embedding"))
        if verdict.stops:
            raise GuardrailViolation(verdict)
        told.append(verdict.guarded)
    return with_leaves(value, told)
