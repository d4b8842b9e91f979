"""Which policy is in force for which call, swapped in one step."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ._call import Call
from ._policy import Policy
from ._root import Conversations
from ._rules import Guardrail

__all__ = ["InForce", "Policies"]


@dataclass(frozen=True)
class InForce:
    """The common policy and those for some calls, in one object: whoever holds it sees no half of a swap."""

    default: Policy
    variants: tuple[tuple[Callable[[Call], bool], Policy], ...] = ()

    @property
    def selective(self) -> bool:
        """Whether it depends on the call which rules apply."""
        return bool(self.variants) or self.default.filtered

    def choose(self, call: Call | None) -> Policy:
        """The policy for this call."""
        if call is not None:
            for takes, policy in self.variants:
                if takes(call):
                    return policy
        return self.default


class Policies:
    """The policies of one guard, and what must hold for all."""

    def __init__(self, default: Policy) -> None:
        self.now = InForce(default)
        self.conversations = Conversations()
        self.checks: dict[str, Callable[[Policy], None]] = {}  # by where the guard is attached

    def without(self, rules: Sequence[Guardrail]) -> Policies:
        """These, without some of their guardrails."""
        rest = copy.copy(self)
        variants = tuple((takes, policy.without(rules)) for takes, policy in self.now.variants)
        rest.now = InForce(self.now.default.without(rules), variants)
        return rest
