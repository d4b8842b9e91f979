"""A property that is worked out once for an object, without a lock.

`functools.cached_property` has one lock for all objects of a class until Python 3.12: threads would wait for each
other, and a child that is forked while another thread holds it would wait for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

__all__ = ["once"]

T = TypeVar("T")


class once(Generic[T]):  # noqa: N801 - a decorator, as `property` is
    """Worked out at its first use, and kept in the object's `__dict__`, where it is found before this."""

    def __init__(self, method: Callable[[Any], T]) -> None:
        self._method, self.__doc__ = method, method.__doc__

    def __get__(self, instance: Any, owner: Any = None) -> T:
        value = instance.__dict__[self._method.__name__] = self._method(instance)
        return value
