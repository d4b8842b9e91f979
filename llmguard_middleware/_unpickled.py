"""Guarded objects are not pickled: a guard holds threads, locks and telemetry."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import NoReturn

from .errors import ConfigurationError

__all__ = ["unpickled"]


class _NotPickledError(ConfigurationError, pickle.PicklingError):
    """A mistake that those who pickle what they are given know how to handle."""


def unpickled(base: type) -> Callable[..., NoReturn]:
    """The `__reduce_ex__` of a guarded class that was made of `base`: it says what to do instead."""

    def reduce_ex(_: object, __: object) -> NoReturn:
        msg = (
            f"a guarded {base.__name__} cannot be pickled, since its guard holds threads, locks and telemetry: "
            "pickle the original, and guard it again where it is loaded"
        )
        raise _NotPickledError(msg)

    return reduce_ex
