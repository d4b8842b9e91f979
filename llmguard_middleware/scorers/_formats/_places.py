"""Where in a JSON value something is wrong, as far as it can be told without a word of the value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["names_in", "place", "told"]

MOST = 5  # mistakes that an explanation tells


def names_in(schema: Any) -> frozenset[str]:
    """The names that a JSON schema gives to properties and definitions: those are no content."""
    found: set[str] = set()
    open_ = [schema]
    while open_:
        one = open_.pop()
        if isinstance(one, list):
            open_ += one
        elif isinstance(one, Mapping):
            open_ += one.values()
            for group in ("properties", "$defs", "definitions"):
                if isinstance(named := one.get(group), Mapping):
                    found.update(map(str, named))
            if isinstance(needed := one.get("required"), list):
                found.update(map(str, needed))
    return frozenset(found)


def place(path: Iterable[Any], known: frozenset[str]) -> str:
    """A JSON pointer (RFC 6901), in which a key that the schema does not name is a `*`."""
    steps = (str(one) if isinstance(one, int) or one in known else "*" for one in path)
    return "".join("/" + one.replace("~", "~0").replace("/", "~1") for one in steps) or "the whole"


def told(mistakes: Iterable[str]) -> str:
    """The first few mistakes as one sentence."""
    found = list(dict.fromkeys(mistakes))
    return "; ".join([*found[:MOST], "and more"] if len(found) > MOST else found)
