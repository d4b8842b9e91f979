"""Overrides from the environment: `LLMGUARD__<RULE>__<FIELD>=value`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import nearest
from ._problems import Mark, Problems
from ._rule import Rule
from ._source import Reader, parse
from ._validate import check_field

__all__ = ["Variable", "variables"]

_PREFIX = "LLMGUARD__"


@dataclass(frozen=True)
class Variable:
    """What one variable says."""

    rule: str
    field: str
    value: Any
    mark: Mark


def variables(environ: Mapping[str, str], rules: Mapping[str, Rule], problems: Problems) -> list[Variable]:
    """The overrides in this environment; one of a rule or field that does not exist is a problem."""
    upper: dict[str, list[str]] = {}
    for name in rules:
        upper.setdefault(name.upper().replace("-", "_"), []).append(name)
    found = []
    for variable in sorted(environ):
        if not variable.startswith(_PREFIX):
            continue
        mark = Mark(f"environment variable {variable}")
        rule, _, field = variable.removeprefix(_PREFIX).rpartition("__")
        if not rule:
            problems.add(mark, "names no field; write LLMGUARD__<RULE>__<FIELD>, for example LLMGUARD__PII__ACTION")
        elif rule not in upper:
            problems.add(mark, f'there is no rule "{rule}": {nearest(rule, upper)}')
        elif len(upper[rule]) > 1:
            problems.add(mark, f"may mean any of {', '.join(sorted(upper[rule]))}; give them names that differ more")
        elif (name := field.lower()) not in (known := rules[upper[rule][0]].known - {"name"}):
            problems.add(mark, f'there is no field "{field}": {nearest(field, sorted(k.upper() for k in known))}')
        else:
            value = _value(environ[variable], mark, problems)
            if value is not _BAD and check_field(name, value, mark, problems):
                found.append(Variable(upper[rule][0], name, value, mark))
    return found


_BAD = object()


def _value(text: str, mark: Mark, problems: Problems) -> Any:
    """The value of a text as YAML. What was filled in once is not filled in again."""
    inner = Problems()
    lines = "\n  ".join(text.replace("${", "$${").splitlines())
    document = parse(f"value:\n  {lines}\n", "", Path(), Reader({}, inner))
    if document is None or inner:
        problems.add(mark, "its value is not YAML")
        return _BAD
    return document.data.get("value")
