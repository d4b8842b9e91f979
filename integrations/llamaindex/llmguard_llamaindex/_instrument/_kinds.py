"""What a call of LlamaIndex's is: what it asks, what its answer tells, and whether that comes later."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from llmguard_middleware import Call, GuardrailViolation, Message, Stage
from llmguard_middleware._drive import drive, inside_scorer
from llmguard_middleware._flow import Flow

if TYPE_CHECKING:
    from ._run import Run

__all__ = ["Kind", "Transparent", "first", "record"]


class Kind:
    """One kind of call. There is one object of each; what belongs to a call is kept in its `Run`."""

    has_span = True
    owned = True  # by the object whose method it is; a step is part of a run, which is

    def begins(self, run: Run, arguments: Mapping[str, Any]) -> bool:
        """Whether this call is one to tell of, where it stands."""
        return True

    def asked(self, run: Run, arguments: Mapping[str, Any], method: str, *, judged: bool) -> Call:
        """The call, with what its rules and monitors ask for if it is `judged`."""
        raise NotImplementedError

    def messages(self, run: Run) -> Sequence[Message]:
        """What is asked, for guardrails that only record; `run.request` is what it was asked with."""
        return ()

    def opened(self, run: Run, flow: Flow) -> None:
        """Record what goes in."""
        if messages := tuple(self.messages(run)):
            flow.call = flow.call.but(messages=messages)
            for message in messages:
                record(flow, "input", message.text, message.role)

    def later(self, run: Run, result: Any) -> bool:
        """Whether the answer comes later than the method's end."""
        return False

    def answer(self, run: Run, result: Any) -> dict[str, Any]:
        """What the answer tells, as fields of `Call`; what guardrails record of it is recorded."""
        return {}

    def error(self, result: Any) -> BaseException | None:
        """What a result says of a failure that nobody raises."""
        return None


class Transparent(Kind):
    """No call, but calls below are told what it knows."""

    has_span = False


def record(flow: Flow, stage: Stage, text: Any, role: str = "user") -> None:
    """Have the guardrails that only record judge a text; nothing is raised from here."""
    rules = [rule for rule in flow.rules(stage, role=role) if not rule.acts]
    if not rules or not text or not isinstance(text, str) or inside_scorer.get():
        return
    plan = flow.guard.plan(text, stage, rules=rules, available=flow.call.available(), policy=flow.policy)
    with suppress(GuardrailViolation):  # of a rule that cannot act, but was told on_error="block"
        flow.noted(drive(plan, flow.guard.workers))


def first(arguments: Mapping[str, Any]) -> Any:
    """The first thing that a method was called with, by position or by name."""
    for name, value in arguments.items():
        if name == "args" and type(value) is tuple:
            if value:
                return value[0]
        elif name == "kwargs" and type(value) is dict:
            return next(iter(value.values()), None)
        else:
            return value
    return None


def options(bound: inspect.BoundArguments | Mapping[str, Any]) -> Mapping[str, Any]:
    """The keyword arguments of a call."""
    arguments = bound.arguments if isinstance(bound, inspect.BoundArguments) else bound
    extra = arguments.get("kwargs")
    return extra if type(extra) is dict else arguments
