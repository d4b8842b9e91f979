"""Policy: the rules of a guard, checked and sorted once; immutable, so that a guard can swap one for another."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Collection, Sequence
from typing import Any

from ._call import STAGES, Call, Stage
from ._rules import Guardrail, Monitor
from .errors import ConfigurationError

__all__ = ["Policy"]

ROLES = ("system", "user", "assistant", "tool")


class Policy:
    """Guardrails and monitors, in order.

    Attributes:
        guardrails, monitors: those that are active.
        digest: twelve hex digits that change with the rules.
        heeded: whether somebody wants the texts of calls even if no rule does.
        of_call: the guardrails that are about how a call ended, and not about a text.
        bare: whether no rule is for a call, whose texts may be wanted all the same.
        idle: whether there is nothing to do.

    Raises:
        ConfigurationError: for something that is no rule, or a name used twice.
    """

    heeded = False

    def __init__(self, rules: Sequence[Guardrail | Monitor]) -> None:
        _check(rules)
        self.guardrails = tuple(rule for rule in rules if isinstance(rule, Guardrail) and rule.active)
        self.monitors = tuple(rule for rule in rules if isinstance(rule, Monitor))
        self.digest = _digest(rules)
        self._sort()

    def _sort(self) -> None:
        by_stage: dict[Stage, tuple[Guardrail, ...]] = {
            stage: tuple(rule for rule in self.guardrails if rule.stage == stage) for stage in STAGES
        }
        self._rules: dict[tuple[Stage, str], tuple[Guardrail, ...]] = {
            (stage, role): tuple(rule for rule in rules if stage != "input" or rule.covers(role))
            for stage, rules in by_stage.items()
            for role in ROLES
        }
        self._by_stage = by_stage
        self.of_call = tuple(rule for rule in self.guardrails if rule.bound.of_call)
        self.bare = not (self.guardrails or self.monitors)
        self.idle = self.bare and not self.heeded
        self._filtered = {stage for stage, rules in by_stage.items() if any(rule.filter for rule in rules)}
        self._raced = {stage for stage, rules in by_stage.items() if any(rule.race for rule in rules)}

    def rules(self, stage: Stage, *, role: str = "user", call: Call | None = None) -> tuple[Guardrail, ...]:
        """The guardrails for a text of this role in this call; in any call, if none is given."""
        rules = self._rules.get((stage, role), ())
        if call is None or stage not in self._filtered:
            return rules
        return tuple(rule for rule in rules if rule.filter is None or rule.filter(call))

    @property
    def filtered(self) -> bool:
        """Whether it depends on the call which of the guardrails apply."""
        return bool(self._filtered)

    def at(self, stage: Stage) -> tuple[Guardrail, ...]:
        """All guardrails of a stage."""
        return self._by_stage[stage]

    def races(self, stage: Stage) -> bool:
        """Whether any guardrail of the stage races with the model."""
        return stage in self._raced

    def heeding(self) -> Policy:
        """This policy, whose calls' texts are wanted even if there is no rule for them."""
        told = copy.copy(self)
        told.heeded, told.idle = True, False
        return told

    def emptied(self) -> Policy:
        """No rule at all, with this policy's digest: what a judge asks its model is under it."""
        rest = copy.copy(self)
        rest.guardrails, rest.monitors, rest.heeded = (), (), False
        rest._sort()  # noqa: SLF001 - a copy of this one
        return rest

    def without(self, rules: Collection[Guardrail]) -> Policy:
        """This policy without some of its guardrails, and with its digest."""
        rest = copy.copy(self)
        gone = set(map(id, rules))  # a tenant's rule may have the name of another's
        rest.guardrails = tuple(rule for rule in self.guardrails if id(rule) not in gone)
        rest._sort()  # noqa: SLF001 - a copy of this one
        return rest


def _check(rules: Sequence[Any]) -> None:
    seen: set[str] = set()
    for rule in rules:
        if not isinstance(rule, (Guardrail, Monitor)):
            given = type(rule).__name__
            msg = f'{given} is not a rule: wrap a scorer as Guardrail(scorer, stage="input") or Monitor(scorer)'
            raise ConfigurationError(msg)
        if rule.name in seen:
            msg = f'two rules are called "{rule.name}"; give one of them another name, for example name="{rule.name}-2"'
            raise ConfigurationError(msg)
        seen.add(rule.name)


def _digest(rules: Sequence[Guardrail | Monitor]) -> str:
    return hashlib.sha256(repr([rule.described() for rule in rules]).encode()).hexdigest()[:12]
