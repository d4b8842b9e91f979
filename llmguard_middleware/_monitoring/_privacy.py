"""What monitors may see of a call: what its guardrails remove from the conversation is removed for them, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from .._call import Call, Stage
from .._leaves import with_texts
from .._policy import Policy
from .._rules import Guardrail

__all__ = ["without_personal_data"]


def without_personal_data(call: Call, policy: Policy, edited: Callable[[str, Stage, Sequence[Guardrail]], str]) -> Call:
    """The call without what the editing guardrails of either end of `policy` remove; `edited` has them do it."""

    def clean(value: Any, *stages: Stage) -> Any:
        rules = [rule for stage in stages for rule in policy.at(stage) if rule.remedy.edits == "spans"]
        return with_texts(value, lambda text: edited(text, stages[0], rules)) if rules else value

    return call.but(
        inputs=clean(call.inputs, "input"),
        messages=tuple(replace(m, text=clean(m.text, "input")) for m in call.messages),
        context=clean(call.context, "input", "retrieval"),
        output=clean(call.output, "output"),
    )
