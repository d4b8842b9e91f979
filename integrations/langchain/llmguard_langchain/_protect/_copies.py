"""Guarded copies: objects whose class is a subclass of the same name, made on the spot, that carries the guard.

The guard is in the class, so whatever LangChain makes of a copy (`model_copy`, `copy.deepcopy`, another instance by
`type(copy)(...)`) is guarded by the same guard, which is shared and never copied.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from llmguard_middleware import Guard
from llmguard_middleware._pickled import not_pickled

from ._late import begin_as_made

__all__ = ["bare", "guarded", "guarded_copy", "guards_of", "inner"]

T = TypeVar("T")
_GUARD = "__llmguard__"
_KNOWN = "_langchain_classes"  # kept by the guard, to be gone with it


def guards_of(thing: object) -> list[Guard]:
    """The guards around an object, the outermost first."""
    return guarded(type(thing))


def guarded(kind: type) -> list[Guard]:
    """The guards that the instances of a class have around them, the outermost first."""
    return [vars(one)[_GUARD] for one in kind.__mro__ if _GUARD in vars(one)]


def guarded_copy(thing: T, guard: Guard, members: Callable[[type[Any], Guard], Mapping[str, Any]]) -> T:
    """A shallow copy of `thing`, whose class is its own with these members on top; made once for each guard."""
    base: type[Any] = type(thing)
    made = _copied(thing)
    known: dict[type, type] = vars(guard).setdefault(_KNOWN, {})
    kind = known.get(base)
    if kind is None or vars(kind)[_GUARD] is not guard:  # a guard without some of its rules is a copy of it
        kind = known[base] = _subclass(base, members(base, guard), guard)
        begin_as_made(kind)
    made.__class__ = kind
    return made  # type: ignore[no-any-return]  # of the class of `thing`, with more in it


def _copied(thing: Any) -> Any:
    """A shallow copy, also of what copy.copy() fails on, because it has a `__getattr__` that needs its state."""
    if hasattr(type(thing), "model_copy"):
        return thing.model_copy()
    if hasattr(type(thing), "__copy__"):
        return copy.copy(thing)
    made = bare(thing, type(thing))
    object.__setattr__(made, "__dict__", dict(vars(thing)))
    return made


def inner(base: type, members: Mapping[str, Any]) -> type:
    """What a guarded object is to the methods of its own class: that class, with a few members on top."""
    return _subclass(base, members, None) if members else base


def bare(thing: Any, kind: type) -> Any:
    """The same object, sharing all its state, as an instance of `kind`: its own class without the guard.

    So what LangChain's methods call on themselves is not judged again, and what they change is changed.
    """
    twin: Any = object.__new__(kind)
    object.__setattr__(twin, "__dict__", vars(thing))
    for name in _slots(kind):
        if hasattr(thing, name):
            object.__setattr__(twin, name, getattr(thing, name))
    return twin


def _slots(kind: type) -> Iterator[str]:
    for one in kind.__mro__:
        slots = vars(one).get("__slots__", ())
        yield from (name for name in ([slots] if isinstance(slots, str) else slots) if name not in _NO_STATE)


_NO_STATE = ("__dict__", "__weakref__")


def _subclass(base: type, members: Mapping[str, Any], guard: Guard | None) -> type:
    named = {"__module__": base.__module__, "__qualname__": base.__qualname__, "__doc__": base.__doc__}
    kind: type = type(base.__name__, (base,), {**named, **members, **(_life(base) if guard is not None else {})})
    if guard is not None:
        # Set afterwards: in the body of the class pydantic would look at it.
        type.__setattr__(kind, _GUARD, guard)
    return kind


def _life(base: type) -> dict[str, Callable[..., Any]]:
    """How a guarded copy is pickled (not at all), and copied where it is no pydantic model, which copies itself."""

    def shallow(self: Any) -> Any:
        return _as(type(self), _copied(bare(self, base)))

    def deep(self: Any, memo: Any) -> Any:
        return _as(type(self), copy.deepcopy(bare(self, base), memo))

    itself = hasattr(base, "__pydantic_fields__")
    return {"__reduce_ex__": not_pickled(base), **({} if itself else {"__copy__": shallow, "__deepcopy__": deep})}


def _as(kind: type, made: Any) -> Any:
    made.__class__ = kind
    return made
