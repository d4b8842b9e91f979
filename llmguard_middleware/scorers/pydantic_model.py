"""pydantic_model: whether an answer is what a pydantic model takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from .._checks import expect_bool
from .._fingerprint import fingerprint
from .._score import Score
from .._scorer import Scorer
from ..errors import ConfigurationError
from ._formats._fenced import unfenced
from ._formats._json import TOO_DEEP, invalid, is_deeper
from ._formats._places import names_in, place, told
from ._load import imported

__all__ = ["PydanticModel", "pydantic_model"]


class PydanticModel(Scorer):
    """Flags answers that are no JSON (label "invalid") or not what the model takes (label "mismatch"); value is 1 or 0.

    The explanation tells places and pydantic's types of errors, and quotes nothing of the answer.
    """

    name = "pydantic_model"

    def __init__(self, model: Any, *, fenced: bool, strict: bool, column_map: Mapping[str, str] | None) -> None:
        super().__init__(name="pydantic_model", column_map=column_map)
        self.model, self.fenced, self.strict = model, fenced, strict
        named = f"{getattr(model, '__module__', '')}.{getattr(model, '__qualname__', model)}"
        self.options = f"{named},{fenced},{strict},{fingerprint(json.dumps(self._schema, sort_keys=True, default=str))}"

    @cached_property
    def _adapter(self) -> Any:
        from pydantic import TypeAdapter  # noqa: PLC0415 - slow to import
        from pydantic.errors import PydanticUserError  # noqa: PLC0415 - as above

        try:
            return TypeAdapter(self.model)
        except (PydanticUserError, NameError, TypeError) as error:
            msg = f"pydantic_model() was given what pydantic makes no validator of ({type(error).__name__}); "
            raise ConfigurationError(msg + "give a subclass of BaseModel, or another type") from None

    @cached_property
    def _schema(self) -> Any:
        adapter = self._adapter
        try:
            return adapter.json_schema()
        except Exception:  # noqa: BLE001 - of some types there is none; then places have fewer names
            return {"properties": getattr(self.model, "model_fields", {})}

    def score(self, text: str = "", output: Any = None) -> Score:
        """Whether the model takes `output`, if the call gave anything but a text back; else the JSON of `text`."""
        from pydantic import ValidationError  # noqa: PLC0415 - loaded already

        try:
            if output is None or isinstance(output, str):
                said = unfenced(text, "json") if self.fenced else text
                self._adapter.validate_json(said, strict=self.strict)
            elif is_deeper(output):
                return invalid(TOO_DEEP)
            else:
                self._adapter.validate_python(output, strict=self.strict)
        except ValidationError as error:
            return self._why(error)
        except RecursionError:
            return invalid(TOO_DEEP)
        return Score(value=1.0)

    def _why(self, error: Any) -> Score:
        found = error.errors(include_url=False, include_input=False)
        if found[0]["type"] == "json_invalid":
            return invalid(str(found[0]["ctx"]["error"]))
        known = names_in(self._schema)
        return invalid(told(f"{place(one['loc'], known)}: {one['type']}" for one in found), "mismatch")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_adapter", "_schema")}


def pydantic_model(
    model: Any, *, fenced: bool = False, strict: bool = False, column_map: Mapping[str, str] | None = None
) -> PydanticModel:
    """Check that an answer is what a pydantic model takes.

    Args:
        model: a subclass of pydantic's BaseModel, any other type that pydantic validates (a dataclass, a TypedDict,
            `list[Item]`), or `"package.module:Model"`.
        fenced: whether the answer may stand in a fence of three backticks, as chat models like to write it.
        strict: whether types must be those of the model: no "3" for 3.
        column_map: another name in the call for `text` or `output`.

    Raises:
        ConfigurationError: if there is no such model, or pydantic cannot validate it.
    """
    expect_bool(fenced, "fenced of pydantic_model()")
    expect_bool(strict, "strict of pydantic_model()")
    if isinstance(model, str):
        if ":" not in model:
            msg = f'the model of pydantic_model() is "{model}"; write "package.module:Model"'
            raise ConfigurationError(msg)
        model = imported(model, "model")
    return PydanticModel(model, fenced=fenced, strict=strict, column_map=column_map)
