"""`where=`: which calls a rule is for, by what was called and by the call's attributes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fnmatch import translate
from typing import Any

from ._call import Call
from ._fingerprint import fingerprint
from .errors import ConfigurationError

__all__ = ["Where", "compile_where", "describe_where"]

Where = Mapping[str, Any] | Callable[[Call], bool]

_FIELDS = ("operation", "name", "provider", "model")  # every other key is one of `Call.attributes`
_LISTS = (list, tuple, set, frozenset)


def compile_where(where: Any, rule_name: str) -> Callable[[Call], bool] | None:
    """The test that `where` asks of a call; None if it asks for nothing.

    A mapping is of `operation`, `name`, `provider`, `model` or a key of `Call.attributes` to a shell pattern (as
    `fnmatch.fnmatchcase` reads it), to another plain value (equal, and of the same kind: True is not 1), or to a list
    of those, one of which must match. All keys must match; a call that lacks one does not. A callable is given the
    call and says whether the rule is for it; what it raises is left to whoever asks.

    Raises:
        ConfigurationError: for anything else, a mapping or list that is empty, or a value of another type.
    """
    if where is None:
        return None
    if isinstance(where, Mapping):
        return _all_of([_test(key, wanted, rule_name) for key, wanted in where.items()], rule_name)
    if isinstance(where, type) or not callable(where):
        given = where.__name__ if isinstance(where, type) else type(where).__name__
        msg = (
            f'where of rule "{rule_name}" is {given}; give a mapping such as {{"operation": "chat"}} '
            "or a function of a Call that returns a bool"
        )
        raise ConfigurationError(msg)
    return lambda call: bool(where(call))


def describe_where(where: Any) -> str:
    """The same text for the same filter in every process: what a guard's digest is made of.

    The order of keys, and of values in a list, makes no difference. A callable is described by its name and a hash of
    its code and of what it was given.
    """
    if where is None:
        return ""
    if isinstance(where, Mapping):
        pairs = (f"{key}={'|'.join(sorted(map(repr, _listed(wanted))))}" for key, wanted in where.items())
        return "&".join(sorted(pairs))
    named = where if hasattr(where, "__qualname__") else type(where)
    return f"{fingerprint(where)} {named.__module__}.{named.__qualname__}"


def _all_of(tests: list[Callable[[Call], bool]], rule_name: str) -> Callable[[Call], bool]:
    if not tests:
        msg = f'where of rule "{rule_name}" is empty; leave it out, or say what to match: {{"operation": "chat"}}'
        raise ConfigurationError(msg)
    return tests[0] if len(tests) == 1 else lambda call: all(test(call) for test in tests)


def _test(key: Any, wanted: Any, rule_name: str) -> Callable[[Call], bool]:
    values = _listed(wanted)
    if not isinstance(key, str) or not key:
        msg = f'where of rule "{rule_name}" has the key {key!r}; give {", ".join(_FIELDS)} or the name of an attribute'
        raise ConfigurationError(msg)
    if not values or not all(isinstance(value, (str, bool, int, float)) for value in values):
        msg = (
            f'where of rule "{rule_name}" wants {wanted!r} of "{key}"; give a pattern such as "gpt-*", '
            "a bool, a number, or a list of those"
        )
        raise ConfigurationError(msg)
    pattern = re.compile("|".join(translate(value) for value in values if isinstance(value, str)) or r"(?!)")
    plain = [value for value in values if not isinstance(value, str)]

    def matches(call: Call) -> bool:
        found = getattr(call, key) if key in _FIELDS else call.attributes.get(key)
        if isinstance(found, str):
            return pattern.match(found) is not None
        return any(found == value and isinstance(found, bool) is isinstance(value, bool) for value in plain)

    return matches


def _listed(wanted: Any) -> list[Any]:
    return list(wanted) if isinstance(wanted, _LISTS) else [wanted]
