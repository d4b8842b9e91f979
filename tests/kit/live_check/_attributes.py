"""Attributes by themselves: known, not deprecated, of the right type, of the enumeration, of the schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ._conventions import OURS, OWN_OPERATIONS, THEIRS, schema

__all__ = ["check_attributes", "check_requirements"]

_TYPES: dict[str, type] = {"string": str, "enum(string)": str, "int": int, "double": float, "boolean": bool}
_OPEN = {"gen_ai.provider.name", "gen_ai.operation.name"}  # custom values are allowed where no known one applies


def check_attributes(attributes: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with each attribute, wherever it is."""
    for name, value in attributes.items():
        told = THEIRS["attributes"].get(name)
        kind = OURS.attributes.get(name) if told is None else told["type"]
        if kind is None:
            yield f"{name} is in no convention"
        elif told is not None and told.get("deprecated") and name != "gen_ai.token.type":
            yield f"{name} is deprecated"
        elif kind == "any":
            yield from _structured(name, value, told)
        elif not _is_a(kind, value):
            yield f"{name} is {type(value).__name__}, not {kind}"
        elif told is not None and "members" in told and value not in told["members"]:
            yield from _custom(name, value)


def _is_a(kind: str, value: Any) -> bool:
    if kind.endswith("[]"):
        return isinstance(value, tuple) and all(_is_a(kind[:-2], item) for item in value)
    return type(value) is _TYPES[kind]


def _custom(name: str, value: str) -> Iterator[str]:
    if name not in _OPEN:
        yield f'{name} is "{value}", which is not in its enumeration'
    elif name == "gen_ai.operation.name" and value not in OWN_OPERATIONS:
        yield f'{name} is "{value}", which neither the conventions nor our README know'
    elif not value or value != value.strip().lower() or " " in value:
        yield f'{name} is "{value}", not a lower-case identifier'


def _structured(name: str, value: Any, told: Mapping[str, Any]) -> Iterator[str]:
    """A span holds JSON; a log record may hold the structure itself."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            yield f"{name} is no valid JSON"
            return
    else:
        value = _listed(value)
    for error in schema(told["schema"]).iter_errors(value):
        yield f"{name} breaks its schema at {error.json_path} ({error.validator})"


def _listed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, (tuple, list)) else value


def check_requirements(
    attributes: Mapping[str, Any], told: Mapping[str, Any], *, also: frozenset[str] = frozenset()
) -> Iterator[str]:
    """What is missing, and what of the conventions does not belong here; `also` may be here."""
    for name, level in told.items():
        if level["requirement_level"] == "required" and name not in attributes:
            yield f"{name} is required"
    for name in attributes:
        if name not in told and name in THEIRS["attributes"] and name not in also:
            yield f"{name} does not belong here"
    yield from _conditions(attributes, told)


def _conditions(attributes: Mapping[str, Any], told: Mapping[str, Any]) -> Iterator[str]:
    if "server.address" in attributes and "server.port" in told and "server.port" not in attributes:
        yield "server.port is required beside server.address"
    if "server.port" in attributes and "server.address" not in attributes:
        yield "server.port is there without server.address"
    if attributes.get("gen_ai.request.choice.count") == 1:
        yield "gen_ai.request.choice.count is told although it is 1"
    if attributes.get("gen_ai.request.stream") is False:
        yield "gen_ai.request.stream is told although nothing is streamed"
    if "gen_ai.response.time_to_first_chunk" in attributes and not attributes.get("gen_ai.request.stream"):
        yield "gen_ai.response.time_to_first_chunk is there without gen_ai.request.stream"
    if "gen_ai.prompt.version" in attributes and "gen_ai.prompt.name" not in attributes:
        yield "gen_ai.prompt.version is there without gen_ai.prompt.name"
