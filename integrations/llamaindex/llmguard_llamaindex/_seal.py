"""How an object of a framework's class becomes a guarded one: its class is swapped for a subclass of the same name.

The guard methods are put on that subclass after it was made: LlamaIndex wraps whatever a *subclass body* overrides in
another instrumentation span, which would double every event. A mixin would not do either: Python refuses to swap the
class of an object for one whose first base has another layout.
"""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NoReturn, TypeVar

from llmguard_middleware import ConfigurationError, Guard
from llmguard_middleware._begun import said_when_made

__all__ = ["Seal", "above", "guards_of", "keeps_raw", "put_on", "reseal", "seal", "seal_of", "subclass", "unseal"]

T = TypeVar("T")
_SEAL = "_llmguard_seal"


@dataclass(frozen=True, eq=False)
class Seal:
    """What a guarded object carries: its guards, the last one outermost, and what `unseal` puts back.

    It is shared by copies, shallow and deep: a copy of something guarded is guarded.
    """

    guards: tuple[Guard, ...]
    original: type
    guarded: type
    replaced: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)  # attribute: (before, after)
    raw: tuple[Guard, ...] = ()  # of the guards, those under which a chat engine's memory keeps what users said

    def __copy__(self) -> Seal:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Seal:
        return self


def seal_of(thing: Any) -> Seal | None:
    """The seal of a guarded object, or None."""
    found = getattr(thing, "__dict__", {}).get(_SEAL)
    return found if isinstance(found, Seal) else None


def guards_of(thing: Any) -> tuple[Guard, ...]:
    """The guards of an object, the last one outermost."""
    found = seal_of(thing)
    return found.guards if found else ()


def keeps_raw(thing: Any, guard: Guard) -> bool:
    """Whether the memory of this chat engine keeps what its user said, under this guard."""
    found = seal_of(thing)
    return found is not None and guard in found.raw


def above(thing: Any) -> Any:
    """What `super()` would be in a method of the class itself: `thing` with its own, unguarded methods."""
    found = seal_of(thing)
    if found is None:  # made from the class or the fields of a guarded object: it has the methods and no guard
        msg = f"this {type(thing).__name__} was rebuilt from a guarded one and has lost its guard; guard it again"
        raise ConfigurationError(msg)
    return super(found.guarded, thing)


def seal(thing: T, methods: type, guard: Guard, replaced: Mapping[str, Any] | None = None, *, raw: bool = False) -> T:
    """Make `thing` guarded in place: the members of the class `methods` win, these attributes are replaced."""
    before = seal_of(thing)
    original = before.original if before else type(thing)
    changes = dict(before.replaced) if before else {}
    for name, value in (replaced or {}).items():
        first = changes[name][0] if name in changes else vars(thing)[name]
        changes[name] = (first, value)
        object.__setattr__(thing, name, value)
    guarded = _guarded_class(methods, original)
    kept = (*(before.raw if before else ()), *((guard,) if raw else ()))
    object.__setattr__(thing, _SEAL, Seal((*guards_of(thing), guard), original, guarded, changes, kept))
    object.__setattr__(thing, "__class__", guarded)
    return thing


def reseal(thing: Any, name: str, value: Any) -> None:
    """Replace an attribute of something guarded that its owner has set since; `unseal` puts the owner's back."""
    found = seal_of(thing)
    assert found is not None
    changes = {**found.replaced, name: (vars(thing)[name], value)}
    object.__setattr__(thing, _SEAL, replace(found, replaced=changes))
    object.__setattr__(thing, name, value)


def unseal(thing: Any) -> None:
    """Undo `seal`: the class, and every attribute that still holds what `seal` put there."""
    found = seal_of(thing)
    if found is None:
        return
    object.__setattr__(thing, "__class__", found.original)
    for name, (before, after) in found.replaced.items():
        if vars(thing).get(name) is after:
            object.__setattr__(thing, name, before)
    vars(thing).pop(_SEAL)


@lru_cache(maxsize=256)
def _guarded_class(methods: type, original: type) -> type:
    guarded = subclass(original)
    for name, member in {**_life(original), **vars(methods)}.items():
        if inspect.isfunction(member) or isinstance(member, property):
            put_on(guarded, name, member)
    return guarded


def subclass(base: type) -> type:
    """A subclass of the same name, with nothing of its own yet."""
    names = {"__module__": base.__module__, "__qualname__": base.__qualname__, "__doc__": base.__doc__}
    return type(base)(base.__name__, (base,), names)


def put_on(kind: type, name: str, member: Any) -> None:
    """Give a class a member: what is said where a coroutine or a stream is made holds for all of it.

    The steps of workflows must be functions, and are made by tasks that know what was said.
    """
    late = inspect.isfunction(member) and not name.startswith("__") and not hasattr(member, "_step_config")
    setattr(kind, name, said_when_made(member) if late else member)


class _NotPickledError(ConfigurationError, pickle.PicklingError):
    """A mistake that those who pickle what they are given know how to handle."""


def _life(original: type) -> dict[str, Callable[..., Any]]:
    """How a guarded object is pickled (not at all), and copied where its class does not say how."""

    def reduce_ex(_: Any, __: Any) -> NoReturn:
        msg = (
            f"a guarded {original.__name__} cannot be pickled, since its guard holds threads, locks and telemetry: "
            "pickle the original, and guard it again where it is loaded"
        )
        raise _NotPickledError(msg)

    def shallow(self: Any) -> Any:
        twin = object.__new__(type(self))
        twin.__dict__.update(vars(self))
        return twin

    def deep(self: Any, memo: dict[int, Any]) -> Any:
        twin = object.__new__(type(self))
        memo[id(self)] = twin
        twin.__dict__.update(copy.deepcopy(vars(self), memo))
        return twin

    itself = hasattr(original, "__copy__")
    return {"__reduce_ex__": reduce_ex, **({} if itself else {"__copy__": shallow, "__deepcopy__": deep})}
