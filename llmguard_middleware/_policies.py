"""Which policy is in force for which call, swapped in one step."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

from ._call import Call
from ._policy import Policy
from ._root import Conversations
from ._rules import Guardrail

__all__ = ["InForce", "Policies"]


class InForce:
    """The common policy and those for some calls, in one object: whoever holds it sees no half of a swap.

    Attributes:
        default: the common policy.
        variants: others, each with what tells the calls that it is for.
        selective: whether it depends on the call which rules apply.
        bare: whether no call meets any rule or monitor.
        idle: whether nobody wants its texts, either.
    """

    __slots__ = ("bare", "default", "idle", "selective", "variants")

    def __init__(self, default: Policy, variants: tuple[tuple[Callable[[Call], bool], Policy], ...] = ()) -> None:
        self.default, self.variants = default, variants
        self.selective = bool(variants) or default.filtered
        self.bare, self.idle = default.bare and not variants, default.idle and not variants

    def emptied(self) -> InForce:
        """What is in force for what a judge asks its model: nothing."""
        return InForce(self.default.emptied())

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
