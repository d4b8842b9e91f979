"""Validation: pydantic's errors about a document as sentences, each at its place; what is wrong is then taken out."""

from __future__ import annotations

import re
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .._actions import KEYED
from ..errors import nearest
from ._problems import Mark, Problems
from ._schema import GuardFile, Override, TenantSpec, TenantsSpec
from ._source import Document, Steps

__all__ = ["check_field", "validate"]

_WANTED = {
    "string_type": "a text",
    "string_too_short": "a longer text",
    "string_too_long": "a shorter text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "too_short": "at least one",
    "greater_than": "a number greater than {gt}",
    "greater_than_equal": "a number that is {ge} or more",
    "less_than_equal": "a number that is {le} or less",
}
_LONGEST = 60


def validate(document: Document, problems: Problems) -> None:
    """Report what does not fit the schema and take it out of the document."""
    try:
        GuardFile.model_validate(document.data)
    except ValidationError as error:
        for one in error.errors(include_url=False):
            steps = _steps(one["loc"])
            of_key = one["type"] in ("extra_forbidden", "invalid_key") or one["loc"][-1] == "[key]"
            mark = document.key(steps) if of_key else document.at(steps)
            told = steps[-1:] == ("key_env",) and one["type"] == "missing" and "key" in one["input"]
            if not (told or document.broken(steps)):  # else what is wrong with it was said
                problems.add(mark, _sentence(one, steps, document.written.get(steps)))
                document.bad.append(steps)
    for steps in document.bad:
        _take_out(document.data, steps)


def check_field(name: str, value: Any, mark: Mark, problems: Problems) -> bool:
    """Whether this value will do for this field of a rule; if not, that is a problem."""
    try:
        Override.model_validate({name: value})
    except ValidationError as error:
        for one in error.errors(include_url=False):
            problems.add(mark, _sentence(one, _steps(one["loc"]), None, Override))
        return False
    return True


def _steps(location: tuple[int | str, ...]) -> Steps:
    return tuple(step for step in location if not (isinstance(step, str) and step.startswith(("(", "["))))


def _sentence(error: ErrorDetails, steps: Steps, written: str | None, root: type[BaseModel] = GuardFile) -> str:
    kind, context = error["type"], error.get("ctx", {})
    name = next((step for step in reversed(steps) if isinstance(step, str)), "this")
    if kind == "sentence":
        return error["msg"]
    if kind in ("missing", "extra_forbidden", "invalid_key") or error["loc"][-1] == "[key]":
        return _about_key(kind, steps, root)
    wanted = error["msg"] if kind == "expected" else _WANTED.get(kind, error["msg"]).format(**context)
    if kind == "literal_error":
        words = re.findall(r"'([^']*)'", str(context.get("expected")))
        if words and isinstance(error["input"], str):
            shown = _shown(error["input"], written)
            return f"unknown {name} {shown}: {nearest(error['input'] if written is None else '', words)}"
        wanted = f"one of {', '.join(words)}" if words else str(context.get("expected"))
    return f"{name} is {_shown(error['input'], written)}; give {wanted}"


def _about_key(kind: str, steps: Steps, root: type[BaseModel]) -> str:
    if kind == "missing":
        return f'"{steps[-1]}" is missing'
    if steps[-1] == "key" and steps[-2:-1] and steps[-2] in KEYED:
        return "a key does not belong into a file; put it into an environment variable and name that: key_env: NAME"
    if kind == "extra_forbidden":
        return f'unknown key "{steps[-1]}": {nearest(str(steps[-1]), _known(steps[:-1], root))}'
    return f"key {steps[-1]} is no text; put it in quotes"


def _shown(value: Any, written: str | None) -> str:
    if written is not None:
        return f"the value of {written}"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "empty"}[value]
    text = str(value) if len(str(value)) <= _LONGEST else f"{str(value)[:_LONGEST]}..."
    return f'"{text}"' if isinstance(value, str) else text


def _known(steps: Steps, root: type[BaseModel]) -> list[str]:
    """The keys that are known at this place."""
    models: list[type[BaseModel]] = [root]
    for step in steps:
        field = next((model.model_fields[step] for model in models if step in model.model_fields), None)
        if field is not None:
            models = _models(field.annotation)
        elif models == [TenantsSpec]:  # the step is the name of a tenant
            models = [TenantSpec]
    return sorted({name for model in models for name in model.model_fields})


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models(inner)]


def _take_out(data: Any, steps: Steps) -> None:
    """Remove a value from the mapping that is nearest to it; a rule that is none becomes None, so that others stay."""
    holder: tuple[Any, Any] | None = None
    for place, step in enumerate(steps):
        inside = data[step] if (isinstance(data, dict) and step in data) or _is_item(data, step) else None
        if isinstance(data, dict) or (place == len(steps) - 1 and steps[place - 1] in ("guardrails", "monitors")):
            holder = (data, step)
        data = inside
    if holder is None:
        return
    if isinstance(holder[0], dict):
        holder[0].pop(holder[1], None)
    elif _is_item(*holder):
        holder[0][holder[1]] = None


def _is_item(data: Any, step: Any) -> bool:
    return isinstance(data, list) and isinstance(step, int) and step < len(data)
