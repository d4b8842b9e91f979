"""Fingerprint: a hash of what foreign code was given, the same in every process, so that digests tell options apart."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import partial
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

__all__ = ["fingerprint"]

_DEEPEST = 8  # values inside values; what holds itself ends there
_OWNERS = 2  # methods no deeper than this are told with what their objects were given


def fingerprint(*things: Any) -> str:
    """Sixteen hex digits that change with these functions, and with what these objects were given.

    Of an object count its class and those of its attributes that are simple: texts, bytes, numbers, bools, None,
    members of enums, patterns, functions, and lists, tuples, sets and mappings of those; of all else only the type.
    Of a function count its name, code, defaults and what it closes over. As nothing of this can be read from a hash,
    keys may be among it.
    """
    told = ",".join(_object(thing, 0) for thing in things)
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _object(value: Any, depth: int) -> str:
    """As `_told`, and for an object its attributes too."""
    if isinstance(value, tuple(kind for kind, _ in _KINDS)):
        return _told(value, depth)
    found = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        names = (slots,) if isinstance(slots, str) else slots
        found.update({name: getattr(value, name) for name in names if hasattr(value, name)})
    return _name(value) + _mapping({k: v for k, v in found.items() if not str(k).startswith("__")}, depth)


def _told(value: Any, depth: int) -> str:
    if depth > _DEEPEST:
        return "..."
    return next((tell(value, depth) for kind, tell in _KINDS if isinstance(value, kind)), "") or _name(value)


def _all(values: Iterable[Any], depth: int) -> str:
    return ",".join(_told(one, depth + 1) for one in values)


def _mapping(given: Mapping[Any, Any], depth: int) -> str:
    pairs = (f"{_told(key, depth + 1)}:{_told(value, depth + 1)}" for key, value in given.items())
    return f"{{{','.join(sorted(pairs))}}}"


def _function(function: FunctionType, depth: int) -> str:
    parts = (function.__code__, function.__defaults__, function.__kwdefaults__, *(function.__closure__ or ()))
    return f"{function.__module__}.{function.__qualname__}({_all(parts, depth)})"


def _method(method: MethodType, depth: int) -> str:
    function: Any = method.__func__
    # The name of a class says what its methods do, unless a function makes it anew on each call.
    local = isinstance(function, FunctionType) and "<locals>" in function.__qualname__
    told = _function(function, depth) if local else getattr(function, "__qualname__", "")
    # Deeper down, objects that hold each other's methods would be told again and again.
    owner = _object(method.__self__, depth + 1) if depth <= _OWNERS else _name(method.__self__)
    return f"{owner}.{told}"


def _cell(cell: CellType, depth: int) -> str:
    try:
        return _told(cell.cell_contents, depth)
    except ValueError:  # it is empty yet
        return "empty"


def _name(value: Any) -> str:
    kind = value if isinstance(value, type) else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


# The first that fits. Subclasses may have a repr of their own, which may show an address, hence the bare ones.
_KINDS: tuple[tuple[Any, Callable[[Any, int], str]], ...] = (
    ((type(None), bool), lambda value, _: str(value)),
    (Enum, lambda value, _: f"{_name(value)}.{value.name}"),
    (str, lambda value, _: str.__repr__(value)),
    ((bytes, bytearray), lambda value, _: hashlib.sha256(value).hexdigest()),
    (int, lambda value, _: hex(value)),
    (float, lambda value, _: float.__repr__(value)),
    (re.Pattern, lambda value, _: f"pattern({value.pattern!r},{value.flags})"),
    ((list, tuple), lambda value, depth: f"{_name(value)}({_all(value, depth)})"),
    ((set, frozenset), lambda value, depth: f"set({sorted(_told(one, depth + 1) for one in value)})"),
    (Mapping, _mapping),
    (FunctionType, _function),
    (MethodType, _method),
    (partial, lambda value, depth: f"partial({_all((value.func, value.args, value.keywords), depth)})"),
    (CodeType, lambda value, depth: f"{value.co_code.hex()}({_all((value.co_consts, value.co_names), depth)})"),
    (CellType, _cell),
)
