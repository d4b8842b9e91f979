"""What an exception says, through the rules for what its call would have given: its text may quote that."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from ._call import Stage
from ._edits import apply
from ._flow import Flow
from ._judge import Plan
from ._leaves import leaves, opaque, with_leaves
from .errors import LLMGuardError

__all__ = ["judged_failure"]


def judged_failure(flow: Flow, error: Exception, stage: Stage, instead: Callable[[str], Exception]) -> Plan[Exception]:
    """The error as it may go on: itself if nothing in its text is found, else one that says what is left of that.

    Only what rules find in a place of the text counts. One that judges answers as a whole says nothing about errors.

    Args:
        flow: the call that failed.
        error: what it raised.
        stage: whose rules judge.
        instead: makes an error of a text, where one of the same class cannot be made to say it.

    Raises:
        GuardrailViolation: if a guardrail that found something stops the call.
    """
    if isinstance(error, LLMGuardError) or flow.guard.untouched(error):
        return error
    try:
        text = str(error)
        held = [error.args, vars(error)]
        parts = leaves(held)
    except Exception:  # noqa: BLE001 - a foreign class
        return instead(type(error).__name__) if flow.rules(stage) else error
    found: dict[str, str] = {}
    for one in dict.fromkeys([text, *parts]):
        found[one] = apply(one, (yield from flow.edits_beside(one, stage)))
    if all(before == after for before, after in found.items()):
        return error
    told = None if opaque(held) else _saying(error, with_leaves(held, [found[part] for part in parts]))
    if told is not None:
        said = str(told)
        if said != text and not (yield from flow.edits_beside(said, stage)):
            return told
    return instead(found[text])


def _saying(error: Exception, held: list[Any]) -> Exception | None:
    try:
        told = copy.copy(error)
        told.args = held[0]
        vars(told).update(held[1])
        str(told)
    except Exception:  # noqa: BLE001 - a class that is made in a way of its own
        return None
    return told.with_traceback(error.__traceback__)
