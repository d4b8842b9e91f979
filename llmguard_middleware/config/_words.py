"""A rule in plain words, for people who do not write programs."""

from __future__ import annotations

from typing import Any

from .._actions import Action, Mask, Pseudonymize, Reask, Replace
from .._rules import Guardrail, Monitor
from ._build import Built

__all__ = ["COLUMNS", "row"]

COLUMNS = ("Rule", "When", "Looks for", "Then", "If the check fails", "For whom", "Where from")

_STAGES = {
    "input": "what the user says to the model",
    "output": "what the model answers",
    "retrieval": "documents that are found for the model",
    "tool_call": "what the model tells a tool",
    "tool_result": "what a tool tells the model",
    "embedding": "texts that are made searchable",
}
_ACTIONS = {
    "block": "stops the call",
    "redact": "is hidden behind <KIND>",
    "hash": "is hidden behind <KIND:code>, the same code for the same text",
    "encrypt": "is encrypted as <KIND:letters>, which the key decrypts",
    "log": "is recorded, nothing else happens",
}
_OPERATIONS = {"operation": "operation", "name": "call", "provider": "provider", "model": "model"}


def row(built: Built) -> tuple[str, ...]:
    """The cells of one rule, in the order of COLUMNS."""
    rule = built.object
    cells = _guardrail(rule) if isinstance(rule, Guardrail) else _monitor(rule)
    origin = f"{built.rule.mark.short}, locked" if built.rule.locked else built.rule.mark.short
    return (rule.name, *cells, origin)


def _guardrail(rule: Guardrail) -> tuple[str, ...]:
    when = _STAGES[rule.stage]
    if rule.stage == "input":
        roles = rule.roles or [role for role in ("system", "user", "assistant", "tool") if rule.covers(role)]
        when = when if tuple(roles) == ("user",) else f"messages to the model from: {', '.join(roles)}"
    then = _then(rule.remedy)
    if rule.race:
        then += "; the model starts meanwhile"
    if rule.stream == "window":
        then += "; the beginning of an answer may be out by then"
    if not rule.active:
        then = f"switched off (else: {then})"
    fails = "the call stops" if rule.on_error == "block" else "the call goes on"
    return when, _looks_for(rule), then, fails, _for_whom(rule.where)


def _monitor(rule: Monitor) -> tuple[str, ...]:
    share = f"{rule.sample:.4%}".rstrip("0%").rstrip(".") + "% of calls" if rule.sample < 1 else "every call"
    then = "is recorded, in the background"
    if not rule.active:
        then = f"switched off (else: {then})"
    when = f"{share}, once answered"
    return when, _looks_for(rule), then, "that is recorded", _for_whom(rule.where)


def _looks_for(rule: Guardrail | Monitor) -> str:
    options = str(getattr(rule.bound.scorer, "options", "") or "").replace(",", ", ")
    said = rule.bound.name + (f": {options}" if options else "")
    if isinstance(rule, Guardrail):
        bounds = [
            f"{word} {bound:g}" for word, bound in (("above", rule.above), ("below", rule.below)) if bound is not None
        ]
        said += f", score {' or '.join(bounds)}" if bounds else ""
        allowed = [one if isinstance(one, str) else f"/{one.pattern}/" for one in rule.allow]
        said += f", but never {', '.join(allowed)}" if allowed else ""
    return f"{rule.description} ({said})" if rule.description else said


def _then(action: Action) -> str:
    if isinstance(action, Mask):
        rest = f", but for its last {action.keep_last} characters" if action.keep_last else ""
        return f"is hidden behind {action.char * 4}{rest}"
    if isinstance(action, Pseudonymize):
        tools = " and in what tools are told" if action.restore_tools else ""
        return f"is replaced by a numbered name, and put back in the answer{tools}"
    if isinstance(action, Replace):
        return f'the whole text becomes "{action.text}"'
    if isinstance(action, Reask):
        times = "once" if action.attempts == 1 else f"{action.attempts} times"
        return f"the model is asked again, {times} at most; then stops the call"
    return _ACTIONS.get(action.name, action.name)


def _for_whom(where: Any) -> str:
    if where is None:
        return "every call"
    wanted = []
    for key, values in where.items():
        listed = values if isinstance(values, (list, tuple)) else [values]
        wanted.append(f"{_OPERATIONS.get(key, key)} {' or '.join(map(str, listed))}")
    return "calls with " + " and ".join(wanted)
