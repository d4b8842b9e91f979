"""Guards are pickled by what they are called and what rules they have: who loads one must have made its like.

A guard holds threads, locks and telemetry, which do not leave their process; its rules hold code.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, NoReturn
from uuid import uuid4
from weakref import WeakValueDictionary

from .errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._guard import Guard

__all__ = ["Reference", "guard_like", "known", "not_pickled"]

_guards: WeakValueDictionary[str, Guard] = WeakValueDictionary()

Reference = tuple[str, str, tuple[str, ...]]
"""A guard's own mark, its name and the digests of its policies."""


class _NotPickledError(ConfigurationError, pickle.PicklingError, pickle.UnpicklingError):
    """A mistake that those who pickle what they are given know how to handle."""


def known(guard: Guard) -> str:
    """Have a guard found by those who load what it was around; returns its mark."""
    mark = uuid4().hex
    _guards[mark] = guard
    return mark


def guard_like(mark: str, name: str, digests: tuple[str, ...]) -> Guard:
    """The guard of this mark; in another process, the last one made with that name and those rules.

    Raises:
        ConfigurationError: if this process has none.
    """
    if (same := _guards.get(mark)) is not None:
        return same
    for guard in reversed(list(_guards.values())):
        if guard.name == name and tuple(policy.digest for policy in guard.policies) == digests:
            return guard
    msg = (
        f'this was guarded by guard "{name}" with the rules {digests[0]}, which this process does not have: '
        "make that guard, and keep it, before you load what it was around"
    )
    raise _NotPickledError(msg)


def not_pickled(base: type) -> Callable[..., NoReturn]:
    """The `__reduce_ex__` of a guarded class that was made of `base`: it says what to do instead."""

    def reduce_ex(_: object, __: object) -> NoReturn:
        msg = (
            f"a guarded {base.__name__} cannot be pickled, since its guard holds threads, locks and telemetry: "
            "pickle the original, and guard it again where it is loaded"
        )
        raise _NotPickledError(msg)

    return reduce_ex
