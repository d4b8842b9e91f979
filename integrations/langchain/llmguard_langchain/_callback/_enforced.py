"""What of a guard's rules a callback can enforce: what stops a call, unless a piece of the answer has left already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llmguard_middleware import Guard
from llmguard_middleware._call import Stage
from llmguard_middleware._policy import Policy

__all__ = ["STAGES", "Enforced", "refuse_changes"]

MODEL: Final[tuple[Stage, ...]] = ("input", "output")
PARTS: Final[Mapping[str, tuple[Stage, ...]]] = {
    "retrieval": ("retrieval",),
    "execute_tool": ("tool_call", "tool_result"),
}
STAGES: Final[tuple[Stage, ...]] = (*MODEL, *(stage for stages in PARTS.values() for stage in stages))


class Enforced:
    """A guard's rules in force, sorted.

    Attributes:
        of: the rules that were sorted; others may be in force by now.
        refused: by what they are for (a model, or the operation of a part), the rules that change a text.
        model: the guard with the rules for models, whose tool calls are judged where a tool is called.
        output: the acting rules for answers, which cannot be enforced on streams.
        streamed: `model` without them.
        part: the guard with the rules for retrievers and tools.
    """

    def __init__(self, guard: Guard) -> None:
        self.of = guard.in_force
        # Those for some calls only, too.
        rules = [rule for policy in guard.policies for stage in STAGES for rule in policy.at(stage)]
        changing = [rule for rule in rules if rule.edits]
        groups: Mapping[str, tuple[Stage, ...]] = {"model": MODEL, **PARTS}
        self.refused = {name: [rule for rule in changing if rule.stage in stages] for name, stages in groups.items()}
        self.part = guard.without(changing)
        self.model = self.part.without([rule for rule in rules if rule.stage == "tool_call"])
        self.output = [rule for rule in rules if rule.stage == "output" and rule.acts]
        self.streamed = self.model.without(self.output)


def refuse_changes(guard: Guard) -> None:
    """Refuse rules that change what tools and retrievers are given or give, if nothing is protected that does it.

    Raises:
        UnenforceableError: saying what to do.
    """
    stages = [stage for stages in PARTS.values() for stage in stages]

    def check(policy: Policy) -> None:
        rules = [rule for stage in stages if stage not in guard.covered for rule in policy.at(stage) if rule.edits]
        guard.refuse(rules, "GuardCallback", "a callback changes nothing, protect the retriever or the tool first")

    guard.require("GuardCallback at tools", check)
