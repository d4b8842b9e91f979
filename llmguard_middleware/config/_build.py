"""Building: rules as data -> Guardrail and Monitor objects; those that did not change stay the objects they are."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._actions import ACTIONS, KEYED, Action
from .._breaker import Breaker
from .._cache import VerdictCache
from .._rules import Guardrail, Monitor
from ..errors import ConfigurationError
from ..scorers._load import find, load
from ._problems import Mark, Problems
from ._rule import Rule

__all__ = ["Builder", "Built", "Objects"]


@dataclass(frozen=True)
class Built:
    """One rule in force, and what it was made from."""

    rule: Rule
    object: Guardrail | Monitor
    identity: str


@dataclass
class Objects:
    """What was made, by what it was made from: a reload makes anew only what changed."""

    rules: dict[str, Guardrail | Monitor] = field(default_factory=dict)
    scorers: dict[str, Any] = field(default_factory=dict)


class Builder:
    """Builds the rules of one configuration.

    Attributes:
        made: all that this configuration uses, new or kept.
    """

    def __init__(self, environ: Mapping[str, str], problems: Problems, kept: Objects) -> None:
        self._environ, self._problems, self._kept = environ, problems, kept
        self.made = Objects()

    def build(self, rules: Iterable[Rule]) -> tuple[Built, ...]:
        """The rules, guardrails for several stages as one rule for each; what cannot be built is a problem."""
        seen: dict[str, Mark] = {}
        built = []
        for rule in rules:
            scorer = self._scorer(rule)
            if scorer is None or rule.broken:
                continue
            settled = rule.settled()
            for name, stage in self._stages(rule, settled):
                if name in seen:
                    hint = f'give one of them another name, for example "{name}-2"'
                    where = seen[name].short
                    self._problems.add(
                        rule.mark, f'two rules are called "{name}", this one and that in {where}; {hint}'
                    )
                    continue
                seen[name] = rule.mark
                one = self._rule(rule, {**settled, "name": name, "stage": stage}, scorer)
                if one is not None:
                    built.append(one)
        return tuple(built)

    def _stages(self, rule: Rule, settled: Mapping[str, Any]) -> list[tuple[str, str | None]]:
        if rule.kind == "monitor":
            return [(rule.name, None)]
        stage = settled["stage"]
        if stage is None:
            self._problems.add(rule.mark, f'guardrail "{rule.name}" has no "stage"; give one or a list')
            return []
        if isinstance(stage, str):
            return [(rule.name, stage)]
        return [(f"{rule.name}-{one}", one) for one in dict.fromkeys(stage)]

    def _rule(self, rule: Rule, settled: dict[str, Any], scorer: Any) -> Built | None:
        try:
            action = self._action(rule, settled) if rule.kind == "guardrail" else None
        except ConfigurationError as error:
            self._problems.add(rule.at("action"), str(error))
            return None
        identity = _identity({**settled, "action": action.described() if action is not None else None})
        made = self._kept.rules.get(identity, self.made.rules.get(identity))
        if made is None:
            try:
                made = _guardrail(settled, action, scorer) if action is not None else _monitor(settled, scorer)
            except ConfigurationError as error:
                self._problems.add(_nearest_field(rule, str(error)), str(error))
                return None
        self.made.rules[identity] = made
        return Built(rule, made, identity)

    def _action(self, rule: Rule, settled: Mapping[str, Any]) -> Action:
        word, options = settled["action"], settled["action_options"]
        if word not in KEYED:
            return ACTIONS[word](**options)
        key = self._environ.get(options["key_env"])
        if not key:
            msg = f"environment variable {options['key_env']}, which holds the key of {word}, is not set"
            raise ConfigurationError(msg)
        return KEYED[word](key)

    def _scorer(self, rule: Rule) -> Any:
        """The rule's scorer; None, and a problem, if there is none."""
        name, given = rule.said("scorer"), {"options": rule.said("options", {}), "args": rule.said("args", [])}
        if name is None:
            if not rule.broken:
                self._problems.add(rule.mark, f'rule "{rule.name}" has no "scorer"')
            return None
        identity = _identity({"rule": rule.name, "scorer": name, **given})
        scorer = self._kept.scorers.get(identity, self.made.scorers.get(identity))
        if scorer is None:
            scorer = self._loaded(rule, name, given["options"], given["args"])
        if scorer is not None:
            self.made.scorers[identity] = scorer
        return scorer

    def _loaded(self, rule: Rule, name: str, options: Mapping[str, Any], args: Iterable[Any]) -> Any:
        try:
            made_by = find(name)
        except ConfigurationError as error:
            self._problems.add(rule.at("scorer"), str(error))
            return None
        except SystemExit:
            self._problems.add(rule.at("scorer"), f'scorer "{name}" cannot be imported: its module ends the program')
            return None
        if rule.broken:
            return None  # its options may be incomplete
        spread, options = _spread(made_by, options)
        try:
            return load(name, *args, *spread, **options)
        except ConfigurationError as error:
            self._problems.add(rule.at("options", "args", "scorer"), str(error))
        except Exception as error:  # noqa: BLE001 - foreign code; what it says may hold a secret of its options
            self._problems.add(rule.at("scorer"), f'scorer "{name}" cannot be made: {type(error).__name__}')
        return None


def _spread(made_by: Any, options: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """`kinds: [A, B]` for a factory that takes `*kinds`."""
    try:
        parameters = inspect.signature(made_by).parameters.values()
    except (TypeError, ValueError):
        return [], dict(options)
    several = next((one.name for one in parameters if one.kind is one.VAR_POSITIONAL), None)
    values = options.get(several) if several is not None else None
    if not isinstance(values, list):
        return [], dict(options)
    return values, {name: value for name, value in options.items() if name != several}


def _guardrail(settled: Mapping[str, Any], action: Action, scorer: Any) -> Guardrail:
    straight = ("name", "stage", "above", "below", "on_error", "roles", "where", "race", "stream", "active", "timeout")
    cache, breaker = settled["cache"], settled["breaker"]
    return Guardrail(
        scorer,
        action=action,
        allow=[one if isinstance(one, str) else re.compile(one["pattern"]) for one in settled["allow"]],
        cache=None if cache is None else VerdictCache(**cache),
        breaker=None if breaker is None else Breaker(**breaker),
        description=settled["description"],
        **{name: settled[name] for name in straight},
    )


def _monitor(settled: Mapping[str, Any], scorer: Any) -> Monitor:
    straight = ("name", "sample", "timeout", "where", "on", "active", "description", "batch_size", "batch_wait")
    return Monitor(scorer, **{name: settled[name] for name in straight})


def _identity(data: Mapping[str, Any]) -> str:
    written = json.dumps(data, sort_keys=True, default=repr, ensure_ascii=False)
    return hashlib.sha256(written.encode("utf-8", "surrogatepass")).hexdigest()


def _nearest_field(rule: Rule, sentence: str) -> Mark:
    """Where the field is that the sentence mentions first."""
    places = {name: re.search(rf"\b{name}\b", sentence) for name in rule.fields}
    found = sorted((match.start(), name) for name, match in places.items() if match is not None)
    return rule.at(found[0][1]) if found else rule.mark
