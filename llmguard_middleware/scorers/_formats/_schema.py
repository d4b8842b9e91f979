"""A JSON schema, compiled by jsonschema-rs: does a value fit it, and if not, why.

That library says whether a value fits in linear time, but collects everything that is wrong in every alternative:
exponential for alternatives inside themselves, quadratic for long lists. So alternatives are only gone through for
small values of a schema that does not refer to itself; else what is told comes from the schema without them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import islice
from typing import Any

from ...errors import ConfigurationError
from ._places import MOST, names_in, place, told

__all__ = ["Schema"]

_SMALL = 20_000  # characters of JSON of which every mistake is looked for
_LONGEST = 200  # characters of a keyword's value that are told
_BACKTRACKS = 100_000  # steps; patterns without look-around and back-references take none

# Keywords whose values come from the schema. Of all others the value may hold what was judged.
_LIMITS = [f"{end}{what}" for end in ("min", "max") for what in ("Items", "Length", "Properties", "imum")]
_MORE = ["const", "contentEncoding", "contentMediaType", "enum", "exclusiveMaximum", "exclusiveMinimum", "format"]
_TELL = frozenset([*_LIMITS, *_MORE, "multipleOf", "pattern"])
_ALTERNATIVES = ("anyOf", "oneOf")
_COUNTED = ("unevaluatedItems", "unevaluatedProperties")  # those count what the alternatives looked at
_NAMED = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
_NOT_ONE = "does not fit the schema: it meets none of its alternatives"


class Schema:
    """A compiled schema.

    Raises:
        ConfigurationError: if it is no JSON schema, refers to what is not in it, or jsonschema-rs is not installed.
    """

    def __init__(self, schema: Any, *, formats: bool) -> None:
        self._known = names_in(schema)
        self._formats = formats
        self._full = self._compiled(schema)
        self._simple = self._compiled(_without_alternatives(schema))
        self._tells_all = not _refers_to_itself(schema)

    def _compiled(self, schema: Any) -> Any:
        try:
            from jsonschema_rs import FancyRegexOptions, validator_for  # noqa: PLC0415 - an extra
        except ModuleNotFoundError:
            msg = 'json_schema() needs jsonschema-rs: pip install "llmguard-middleware[formats]"'
            raise ConfigurationError(msg) from None
        limit = FancyRegexOptions(backtrack_limit=_BACKTRACKS)
        try:
            return validator_for(schema, validate_formats=self._formats, pattern_options=limit, offline=True)
        except ValueError as error:
            path = getattr(error, "instance_path", [])  # in the schema
            why = f"look at {place(path, frozenset(path))}" if path else "what it refers to must be inside it"
            msg = f"the schema of json_schema() is no JSON schema: {why}"
            raise ConfigurationError(msg) from None

    def fits(self, value: Any) -> bool:
        """Whether the value fits.

        Raises:
            ValueError: if it holds what JSON has no words for.
        """
        return bool(self._full.is_valid(value))

    def why(self, value: Any, size: int) -> str:
        """What is wrong with a value that does not fit, whose JSON has so many characters.

        Raises:
            ValueError: as for `fits`, which does not look at all of a value that does not fit.
        """
        if self._tells_all and size <= _SMALL:
            return told(self._sentences(islice(self._full.iter_errors(value), MOST + 1)))
        try:
            self._simple.validate(value)
        except ValueError as error:
            if not hasattr(error, "instance_path"):  # no mistake in it, but something that is no JSON
                raise
            return next(self._sentences([error]))
        return _NOT_ONE

    def _sentences(self, errors: Iterable[Any]) -> Iterator[str]:
        for error in errors:
            yield f"{place(error.instance_path, self._known)}: {self._sentence(error, error.instance_path)}"

    def _sentence(self, error: Any, above: list[Any]) -> str:
        keyword, value = error.kind.name, error.kind.value
        if keyword in _ALTERNATIVES and isinstance(value, list):
            firsts = [branch[0] for branch in value if branch]
            return " or ".join(dict.fromkeys(self._inside(first, above) for first in firsts)) or f"fails {keyword}"
        if keyword == "type":
            return f"must be of type {' or '.join(value)}"
        if keyword == "required" and value in self._known:
            return f"needs the property {json.dumps(value, ensure_ascii=False)}"
        if keyword in ("additionalProperties", "unevaluatedProperties"):
            return "has a property that the schema does not allow"
        if keyword in _TELL:
            return f"does not meet {keyword} {_shown(value)}"
        return f"does not meet {keyword}"

    def _inside(self, error: Any, above: list[Any]) -> str:
        sentence = self._sentence(error, error.instance_path)
        below = error.instance_path[len(above) :]
        return f"{sentence} at {place(below, self._known)}" if below else sentence


def _shown(value: Any) -> str:
    shown = json.dumps(value, ensure_ascii=False, default=str)
    return shown if len(shown) <= _LONGEST else shown[:_LONGEST] + "..."


def _without_alternatives(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_alternatives(one) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    left = {key: value for key, value in schema.items() if key not in (*_ALTERNATIVES, *_COUNTED)}
    return {key: _each(value) if key in _NAMED else _without_alternatives(value) for key, value in left.items()}


def _each(named: Any) -> Any:
    """The same for every schema of a mapping, whose keys are names and no keywords."""
    if not isinstance(named, Mapping):
        return named
    return {name: _without_alternatives(value) for name, value in named.items()}


def _refers_to_itself(schema: Any) -> bool:
    """Whether values may lie in values of their own kind without end, or nobody can tell."""
    if not isinstance(schema, Mapping):
        return False
    parts = {"#": {key: value for key, value in schema.items() if key not in _DEFINED}}
    for group in _DEFINED:
        if isinstance(defined := schema.get(group), Mapping):
            parts.update({f"#/{group}/{name}": part for name, part in defined.items()})
    graph = {name: {_part_of(pointer) for pointer in _references(part)} for name, part in parts.items()}
    if not parts.keys() >= set().union(*graph.values()):
        return True
    try:
        TopologicalSorter(graph).prepare()
    except CycleError:
        return True
    return False


_DEFINED = ("$defs", "definitions")


def _references(schema: Any) -> Iterator[str]:
    open_ = [schema]
    while open_:
        one = open_.pop()
        if isinstance(one, Mapping):
            yield from (str(one[key]) for key in ("$ref", "$dynamicRef", "$recursiveRef") if key in one)
            open_ += one.values()
        elif isinstance(one, list):
            open_ += one


def _part_of(pointer: str) -> str:
    """The definition that a reference leads into; the schema itself if it leads anywhere else."""
    start, group, name, *_ = *pointer.split("/"), "", ""
    return f"#/{group}/{name}" if start == "#" and group in _DEFINED else "#"
