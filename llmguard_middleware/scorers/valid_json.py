"""valid_json: whether a text is JSON."""

from __future__ import annotations

import json
import re
from typing import NoReturn

from .._score import Score
from .._scorer import Scorer

__all__ = ["ValidJson", "valid_json"]

_FENCED = re.compile(r"\s*```(?:json)?[ \t]*\n(.*?)\n?```\s*\Z", re.DOTALL | re.IGNORECASE)


class ValidJson(Scorer):
    """Flags texts that are no JSON (RFC 8259); value is 1 for those that are, else 0."""

    name = "valid_json"
    cheap = True

    def __init__(self, *, fenced: bool) -> None:
        super().__init__(name="valid_json")
        self.fenced = fenced
        self.options = f"fenced={fenced}"

    def score(self, text: str) -> Score:
        """Whether `text` is JSON; the explanation says where it is not, and quotes nothing."""
        if self.fenced and (block := _FENCED.match(text)):
            text = block[1]
        try:
            json.loads(text, parse_constant=_no_constant)
        except json.JSONDecodeError as error:
            return _wrong(f"{error.msg} at line {error.lineno}, column {error.colno}")
        except RecursionError:
            return _wrong("nested too deep")
        except ValueError as error:  # a number of more digits than Python converts
            return _wrong(str(error) if isinstance(error, _ConstantError) else "a number has too many digits")
        return Score(value=1.0)


class _ConstantError(ValueError):
    """NaN and Infinity, which Python takes for JSON."""


def _no_constant(name: str) -> NoReturn:
    msg = f"{name} is no JSON"
    raise _ConstantError(msg)


def _wrong(why: str) -> Score:
    return Score(value=0.0, flagged=True, label="invalid", explanation=why)


def valid_json(*, fenced: bool = False) -> ValidJson:
    """Check that a text is JSON.

    Args:
        fenced: whether it may stand in a fence of three backticks, as chat models like to write it.
    """
    return ValidJson(fenced=fenced)
