"""A rule as files, tenants and the environment together say it, each field with the place that it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .._cache import VerdictCache
from .._rules import DEFAULT_MONITOR_TIMEOUT, DEFAULT_TIMEOUT
from ._problems import Mark
from ._schema import GUARDRAIL_FIELDS, MONITOR_FIELDS

__all__ = ["Field", "Rule"]

Kind = Literal["guardrail", "monitor"]


@dataclass(frozen=True)
class Field:
    """A value and where it was written."""

    value: Any
    mark: Mark


@dataclass(frozen=True)
class Rule:
    """A guardrail or monitor, as far as it is known.

    Attributes:
        mark: where it was first written.
        fields: what was said of it.
        defaults: what holds for the guardrails of its file, where nothing was said.
        broken: whether something that was said is wrong, and left out.
    """

    kind: Kind
    name: str
    mark: Mark
    fields: Mapping[str, Field]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    broken: bool = False

    def but(self, fields: Mapping[str, Field], *, broken: bool = False) -> Rule:
        """This rule with some fields changed."""
        return replace(self, fields={**self.fields, **fields}, broken=self.broken or broken)

    @property
    def known(self) -> frozenset[str]:
        """The fields that a rule of this kind has."""
        return GUARDRAIL_FIELDS if self.kind == "guardrail" else MONITOR_FIELDS

    @property
    def locked(self) -> Mark | None:
        """Where it was locked, if it is."""
        found = self.fields.get("locked")
        return found.mark if found is not None and found.value else None

    def at(self, *names: str) -> Mark:
        """Where the first of these fields that is given was written; where the rule was, if none is."""
        return next((self.fields[name].mark for name in names if name in self.fields), self.mark)

    def said(self, name: str, otherwise: Any = None) -> Any:
        """The value of a field, or the file's default."""
        found = self.fields.get(name)
        return self.defaults.get(name, otherwise) if found is None else found.value

    def settled(self) -> dict[str, Any]:
        """All fields, those that nobody spoke of as the classes themselves would have them."""
        common = {
            "kind": self.kind,
            "name": self.name,
            "scorer": self.said("scorer"),
            "options": self.said("options", {}),
            "args": self.said("args", []),
            "where": self.said("where"),
            "active": self.said("active", True),
            "description": self.said("description", ""),
        }
        if self.kind == "monitor":
            return {
                **common,
                "timeout": self.said("timeout", DEFAULT_MONITOR_TIMEOUT),
                "sample": self.said("sample", 1.0),
                "on": self.said("on", "outermost"),
                "batch_size": self.said("batch_size", 16),
                "batch_wait": self.said("batch_wait", 0.05),
            }
        word, options = _action(self.said("action", "block"))
        given = self.fields.get("on_error")
        # A default of the file is for rules that act: a shadow rule that fails stops nothing unless it says so itself.
        otherwise = "allow" if word == "log" else self.defaults.get("on_error", "block")
        cache = self.said("cache", False)
        on_error = otherwise if given is None else given.value
        breaker = self.said("breaker", False if on_error == "allow" else {})
        return {
            **common,
            "timeout": self.said("timeout", DEFAULT_TIMEOUT),
            "stage": self.said("stage"),
            "action": word,
            "action_options": options,
            "above": self.said("above"),
            "below": self.said("below"),
            "on_error": on_error,
            "roles": self.said("roles"),
            "allow": self.said("allow", []),
            "race": self.said("race", False),
            "stream": self.said("stream", "hold"),
            "cache": None if cache is False else {"size": VerdictCache.size, "ttl": VerdictCache.ttl, **cache},
            "breaker": None if breaker is False else {"failures": 5, "cooldown": 30.0, **breaker},
        }


def _action(action: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(action, str):
        return action, {}
    ((word, options),) = action.items()
    return word, options or {}
