"""json_schema: whether an answer is JSON that fits a schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from .._checks import expect_bool
from .._score import Score
from .._scorer import Scorer
from ..errors import ConfigurationError
from ._formats._json import DEEPEST, TOO_DEEP, NotJsonError, invalid, is_deeper, parsed, value_of
from ._formats._schema import Schema

__all__ = ["JsonSchema", "json_schema"]

_NO_JSON = "holds a value that JSON has no words for"


class JsonSchema(Scorer):
    """Flags answers that are no JSON (label "invalid") or do not fit (label "mismatch"); value is 1 or 0.

    The explanation says where and what is wrong in the schema's words, and quotes nothing of the answer.
    """

    name = "json_schema"

    def __init__(self, schema: Any, *, fenced: bool, formats: bool, column_map: Mapping[str, str] | None) -> None:
        super().__init__(name="json_schema", column_map=column_map)
        self.schema, self.fenced, self.formats = schema, fenced, formats
        self.options = f"{fenced},{formats}:{json.dumps(schema, sort_keys=True)}"
        self._compiled  # noqa: B018 - so that a mistake in it is told now

    @cached_property
    def _compiled(self) -> Schema:
        return Schema(self.schema, formats=self.formats)

    def score(self, text: str = "", output: Any = None) -> Score:
        """Whether `output` fits, if the call gave a mapping, a list or a pydantic model back; else what `text` says."""
        value = value_of(output)
        try:
            given = value is not None
            if not given:
                value = parsed(text, fenced=self.fenced)
            if (given or text.count("[") + text.count("{") > DEEPEST) and is_deeper(value):
                return invalid(TOO_DEEP)
            if self._compiled.fits(value):
                return Score(value=1.0)
            size = len(json.dumps(value, default=str)) if given else len(text)
            return invalid(self._compiled.why(value, size), "mismatch")
        except NotJsonError as error:
            return invalid(str(error))
        except (TypeError, ValueError):  # a lone surrogate, or a value of the program's own
            return invalid(_NO_JSON)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_compiled"}  # it cannot be pickled


def json_schema(
    schema: Any, *, fenced: bool = False, formats: bool = True, column_map: Mapping[str, str] | None = None
) -> JsonSchema:
    """Check that an answer is JSON that fits a JSON schema; needs the extra `formats` (jsonschema-rs).

    Draft 4 to 2020-12, as its `$schema` says, the last if it says nothing. What it refers to must be inside it:
    nothing is fetched.

    Args:
        schema: the schema as a mapping or as JSON, or the path of a file that holds it.
        fenced: whether the answer may stand in a fence of three backticks, as chat models like to write it.
        formats: whether `format` (date, email, uuid, ...) is checked.
        column_map: another name in the call for `text` or `output`.

    Raises:
        ConfigurationError: if it is no JSON schema, cannot be read, or jsonschema-rs is not installed.
    """
    expect_bool(fenced, "fenced of json_schema()")
    expect_bool(formats, "formats of json_schema()")
    return JsonSchema(_read(schema), fenced=fenced, formats=formats, column_map=column_map)


def _read(schema: Any) -> Any:
    if isinstance(schema, str) and schema.lstrip().startswith("{"):
        schema = _json(schema, "text")
    elif isinstance(schema, (str, Path)):
        try:
            schema = _json(Path(schema).read_text(encoding="utf-8"), "file")
        except OSError as error:
            msg = f"the schema of json_schema() cannot be read ({type(error).__name__}); a text is the path of a file"
            raise ConfigurationError(msg) from None
    if not isinstance(schema, (Mapping, bool)):
        msg = f"the schema of json_schema() is {type(schema).__name__}; give a mapping or the path of a file"
        raise ConfigurationError(msg)
    return schema


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        msg = f"the {what} of json_schema() holds no JSON"
        raise ConfigurationError(msg) from None
