"""Merging: the base's rules, what each file changes, then each tenant, then the environment; locks hold throughout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._scorer import check_name
from ..errors import ConfigurationError, nearest
from ._environment import Variable, variables
from ._locks import weaker
from ._problems import Mark, Problems
from ._rule import Field, Kind, Rule
from ._source import Document, Reader, Steps
from ._validate import validate

__all__ = ["Merged", "chain", "merge"]

Rules = dict[str, Rule]
_GUARD = ("name", "unenforceable", "refusal", "queue")


@dataclass
class Merged:
    """What is in force.

    Attributes:
        guard: the options of the guard itself.
        rules: those of calls that belong to no tenant, by name.
        tenants: the rules of each tenant.
        attribute: the call attribute that holds the tenant's name.
    """

    guard: dict[str, Field] = field(default_factory=dict)
    rules: Rules = field(default_factory=dict)
    tenants: dict[str, Rules] = field(default_factory=dict)
    attribute: Field | None = None


def chain(document: Document, path: Path | None, reader: Reader) -> list[Document]:
    """The document and all that it extends, base first, each validated."""
    documents = [document]
    inside = [path.resolve()] if path is not None else []
    while True:
        validate(document, reader.problems)
        extends = document.data.get("extends")
        if extends is None:
            return documents[::-1]
        where = document.at(("extends",))
        base = document.folder / extends
        if base.resolve() in inside:
            names = " -> ".join(one.name for one in (*inside, base))
            reader.problems.add(where, f"extends goes round in a circle: {names}")
            return documents[::-1]
        inside.append(base.resolve())
        found = reader.read(base, where)
        if found is None:
            return documents[::-1]
        document = found
        documents.append(document)


def merge(documents: Sequence[Document], environ: Mapping[str, str], problems: Problems) -> Merged:
    """What these documents, base first, and the environment say together."""
    merging = _Merging(problems)
    merged = Merged()
    defaults: dict[str, Any] = {}
    layers: dict[str, list[tuple[Document, Steps, dict[str, Any]]]] = {}
    for document in documents:
        merging.guard(merged, document)
        defaults = {**defaults, **document.data.get("defaults", {})}
        merged.rules = merging.part(merged.rules, document, (), defaults)
        for name in document.data.get("tenants", {}):
            if name == "attribute":
                merged.attribute = Field(document.data["tenants"][name], document.at(("tenants", name)))
            else:
                layers.setdefault(name, []).append((document, ("tenants", name), defaults))
    for name, parts in layers.items():
        rules = merged.rules
        for document, steps, of_file in parts:
            rules = merging.part(rules, document, steps, of_file)
        merged.tenants[name] = rules
    if layers and merged.attribute is None:
        document = next(iter(layers.values()))[0][0]
        if not document.broken(("tenants",)):
            problems.add(
                document.key(("tenants",)), 'tenants need "attribute": the call attribute that tells them apart'
            )
    everything = {name: rule for rules in (*merged.tenants.values(), merged.rules) for name, rule in rules.items()}
    found = variables(environ, everything, problems)
    merged.rules = merging.environment(merged.rules, found)
    merged.tenants = {name: merging.environment(rules, found) for name, rules in merged.tenants.items()}
    return merged


class _Merging:
    """Applies one part after the other and tells what may not be."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    def guard(self, merged: Merged, document: Document) -> None:
        """The options of the guard itself."""
        for name in _GUARD:
            if name not in document.data:
                continue
            given = Field(document.data[name], document.at((name,)))
            locked = next((rule.locked for rule in merged.rules.values() if rule.locked), None)
            before = merged.guard.get(name)
            if name == "unenforceable" and given.value == "warn" and locked and (not before or before.value == "raise"):
                self._problems.add(given.mark, f"unenforceable cannot become warn: a rule is locked in {locked.short}")
            elif name == "name":
                self._name(given.value, "guard", given.mark)
            merged.guard[name] = given

    def part(self, before: Rules, document: Document, steps: Steps, defaults: Mapping[str, Any]) -> Rules:
        """The rules once one file, or its word on one tenant, is applied."""
        data = document.data
        for step in steps:
            data = data[step]
        rules = dict(before)
        for place, name in enumerate(data.get("disable", ())):
            self._disable(rules, name, document.at((*steps, "disable", place)))
        for name in data.get("override", {}):
            where = (*steps, "override", name)
            if rule := self._find(rules, name, document.key(where)):
                changes = _fields(document, where, data["override"][name])
                rules[name] = self._changed(rule, changes, broken=document.broken(where))
        new: dict[str, Mark] = {}
        kinds: tuple[tuple[str, Kind], ...] = (("guardrails", "guardrail"), ("monitors", "monitor"))
        for section, kind in kinds:
            for place, entry in enumerate(data.get(section, ())):
                if entry is not None:
                    self._entry(rules, new, document, (*steps, section, place), entry, kind, defaults)
        return rules

    def environment(self, before: Rules, found: Sequence[Variable]) -> Rules:
        """The rules once the environment is applied."""
        rules = dict(before)
        changes: dict[str, dict[str, Field]] = {}
        for variable in found:
            changes.setdefault(variable.rule, {})[variable.field] = Field(variable.value, variable.mark)
        for name in changes.keys() & rules.keys():
            rules[name] = self._changed(rules[name], changes[name])
        return rules

    def _entry(
        self,
        rules: Rules,
        new: dict[str, Mark],
        document: Document,
        steps: Steps,
        entry: dict[str, Any],
        kind: Kind,
        defaults: Mapping[str, Any],
    ) -> None:
        mark, broken = document.at(steps), document.broken(steps)
        name = entry.get("name") or _named(entry.get("scorer"))
        if name is None:
            if not broken:
                self._problems.add(mark, f'this {kind} has no "scorer"')
            return
        if not self._name(name, "rule", document.at((*steps, "name" if "name" in entry else "scorer"))):
            return
        if name in new:
            hint = f'give one of them another name, for example "{name}-2"'
            self._problems.add(mark, f'two rules are called "{name}", this one and that in {new[name].short}; {hint}')
            return
        new[name] = mark
        fields = _fields(document, steps, entry)
        if name not in rules:
            of_file = defaults if kind == "guardrail" else {}
            rules[name] = Rule(kind, name, mark, fields, of_file, broken)
        elif rules[name].kind != kind:
            self._problems.add(mark, f'"{name}" is a {rules[name].kind} in {rules[name].mark.short}, no {kind}')
        else:
            rules[name] = self._changed(rules[name], fields, broken=broken)

    def _changed(self, rule: Rule, fields: Mapping[str, Field], *, broken: bool = False) -> Rule:
        for name, given in fields.items():
            if name not in rule.known:
                self._problems.add(
                    given.mark, f'{rule.kind} "{rule.name}" has no "{name}": {nearest(name, rule.known)}'
                )
                return rule
        if rule.locked is None:
            return rule.but(fields, broken=broken)
        if "locked" in fields and fields["locked"].value:  # said again: it stays locked where it was first
            fields = {name: one for name, one in fields.items() if name != "locked"}
        changed = rule.but(fields, broken=broken)
        weak = list(weaker(rule, changed))
        for name, why in weak:
            mark = fields[name].mark if name in fields else next(iter(fields.values())).mark
            self._problems.add(mark, f'rule "{rule.name}" is locked in {rule.locked.short}: {why}')
        return rule if weak else changed

    def _disable(self, rules: Rules, name: str, mark: Mark) -> None:
        rule = self._find(rules, name, mark)
        if rule is None:
            return
        if rule.locked:
            self._problems.add(mark, f'rule "{name}" is locked in {rule.locked.short}: it cannot be disabled')
            return
        del rules[name]

    def _find(self, rules: Rules, name: str, mark: Mark) -> Rule | None:
        if name not in rules:
            known = nearest(name, rules) if rules else "there are none to change"
            self._problems.add(mark, f'there is no rule "{name}": {known}')
        return rules.get(name)

    def _name(self, name: str, what: str, mark: Mark) -> bool:
        try:
            check_name(name, what)
        except ConfigurationError as error:
            self._problems.add(mark, str(error))
            return False
        return True


def _fields(document: Document, steps: Steps, given: Mapping[str, Any]) -> dict[str, Field]:
    return {name: Field(value, document.at((*steps, name))) for name, value in given.items() if name != "name"}


def _named(scorer: str | None) -> str | None:
    return None if scorer is None else scorer.rpartition(":")[2].rpartition(".")[2]
