"""Whether an object is of a class that perhaps nobody has imported."""

from __future__ import annotations

import sys

__all__ = ["is_a"]


def is_a(thing: object, module: str, *names: str) -> bool:
    """Whether this is an instance of one of these classes of a module; of one that nobody has loaded, nothing is.

    LangChain's tools, retrievers, text models and configurables take as long to load as the rest of this adapter, and
    most applications use only some of them.
    """
    found = sys.modules.get(module)
    # A name that is missing is of another version, or of a module that another thread is loading just now.
    return found is not None and isinstance(
        thing, tuple(getattr(found, name) for name in names if hasattr(found, name))
    )
