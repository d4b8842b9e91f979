"""How an object of a framework's class becomes a guarded one: its class is swapped for a subclass of the same name.

The guard methods are put on that subclass after it was made: LlamaIndex wraps whatever a *subclass body* overrides in
another instrumentation span, which would double every event. A mixin would not do either: Python refuses to swap the
class of an object for one whose first base has another layout.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, TypeVar

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.tools import BaseTool

from llmguard_middleware import ConfigurationError, Guard
from llmguard_middleware._begun import said_when_made

__all__ = [
    "STEP_CONFIGS",
    "Seal",
    "above",
    "guards_of",
    "keeps_raw",
    "put_on",
    "reseal",
    "seal",
    "seal_of",
    "subclass",
    "unseal",
]

T = TypeVar("T")
_SEAL = "_llmguard_seal"
# What steps of workflows carry; older versions have the second name.
STEP_CONFIGS = frozenset(("_step_config", "__step_config"))


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
    try:
        found = thing.__dict__.get(_SEAL)
    except AttributeError:  # it has slots
        return None
    return found if type(found) is Seal else None


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
    late = inspect.isfunction(member) and not name.startswith("__") and not vars(member).keys() & STEP_CONFIGS
    setattr(kind, name, said_when_made(member) if late else member)


def _life(original: type) -> dict[str, Callable[..., Any]]:
    """How a guarded object is pickled, and copied where its class does not say how."""

    def reduce_ex(self: Any, _: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        twin, found = copy.copy(self), seal_of(self)
        unseal(twin)
        return guarded_again, (twin, [(guard, guard in found.raw) for guard in found.guards] if found else [])

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


def guarded_again(thing: Any, guards: Sequence[tuple[Guard, bool]]) -> Any:
    """What was pickled, behind its guards again: each with whether a memory keeps what users said."""
    from ._attach import attach  # noqa: PLC0415 - all of these need this module
    from ._embeddings import guarded_embedding  # noqa: PLC0415 - as above
    from ._protect import guarded_llm  # noqa: PLC0415 - as above
    from ._tools import guarded_tool  # noqa: PLC0415 - as above

    for guard, raw in guards:
        if isinstance(thing, BaseLLM):
            thing = guarded_llm(thing, guard)
        elif isinstance(thing, BaseTool):
            thing = guarded_tool(thing, guard)
        elif isinstance(thing, BaseEmbedding):
            thing = guarded_embedding(thing, guard)
        else:
            thing = attach(thing, guard, state="raw" if raw else "redacted")
    return thing
