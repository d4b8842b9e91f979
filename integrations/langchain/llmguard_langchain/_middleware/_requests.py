"""Requests of middlewares whose model or tool stays guarded, also where another middleware swaps it on its way down."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

__all__ = ["guarding"]


def guarding(request: Any, field: str, wrap: Callable[[Any], Any]) -> Any:
    """The request with `wrap(value)` for the value of this field, now and whenever it is overridden.

    `wrap` must be hashable, and equal for equal purposes: a class is made for each.
    """
    base: Any = type(request)
    told = object.__new__(_kind(base, field, wrap))
    told.__dict__.update(request.__dict__)
    if (value := request.__dict__[field]) is not None:
        told.__dict__[field] = wrap(value)
    return told


@lru_cache(maxsize=256)
def _kind(base: Any, field: str, wrap: Callable[[Any], Any]) -> type[Any]:
    def override(self: Any, **overrides: Any) -> Any:
        if overrides.get(field) is not None:
            overrides[field] = wrap(overrides[field])
        return base.override(self, **overrides)

    def assign(self: Any, name: str, value: Any) -> None:
        base.__setattr__(self, name, wrap(value) if name == field and value is not None else value)

    return type(base.__name__, (base,), {"override": override, "__setattr__": assign})
