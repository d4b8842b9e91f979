"""JSON as RFC 8259 has it, read from an answer, and why it cannot be read, without a word of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from ..._score import Score
from ._fenced import unfenced

__all__ = ["DEEPEST", "TOO_DEEP", "NotJsonError", "invalid", "is_deeper", "parsed", "value_of"]

DEEPEST = 500  # levels; validators in C and Rust use the stack for each, and end the process where Python would raise
TOO_DEEP = "nested too deep"


class NotJsonError(ValueError):
    """A text is no JSON; the message says why and where, and quotes nothing."""


def parsed(text: str, *, fenced: bool) -> Any:
    """The value that `text` stands for; `fenced` says that it may stand in a fence.

    Raises:
        NotJsonError: if it is none.
    """
    try:
        return json.loads(unfenced(text, "json") if fenced else text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        msg = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise NotJsonError(msg) from None
    except RecursionError:
        raise NotJsonError(TOO_DEEP) from None
    except NotJsonError:
        raise
    except ValueError:
        msg = "a number has too many digits"  # more than Python converts
        raise NotJsonError(msg) from None


def _no_constant(name: str) -> NoReturn:
    """NaN and Infinity, which Python takes for JSON."""
    msg = f"{name} is no JSON"
    raise NotJsonError(msg)


def value_of(output: Any) -> Any:
    """What a call gave back, if that is a value to look at rather than a text; None if it is not."""
    if output is None or isinstance(output, str):
        return None
    if callable(dump := getattr(output, "model_dump", None)):  # pydantic, without importing it
        return dump(mode="json")
    return output if isinstance(output, (Mapping, list, tuple)) else None


def is_deeper(value: Any, levels: int = DEEPEST) -> bool:
    """Whether values lie in values more than so many levels deep."""
    level = [value]
    for _ in range(levels + 1):
        inside = [one.values() if isinstance(one, Mapping) else one for one in level if isinstance(one, _HOLDERS)]
        level = [one for values in inside for one in values]
        if not level:
            return False
    return True


_HOLDERS = (Mapping, list, tuple)


def invalid(why: str, label: str = "invalid") -> Score:
    """The score of a text that is not in its format."""
    return Score(value=0.0, flagged=True, label=label, explanation=why)
