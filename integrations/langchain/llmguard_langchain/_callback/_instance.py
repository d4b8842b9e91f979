"""What LangChain asks of a callback before it tells it anything, and the answer if its class was given instead."""

from __future__ import annotations

from typing import Any

from llmguard_middleware import ConfigurationError
from llmguard_middleware._unjudged import unheard

__all__ = ["Heeded"]


class _ClassGivenError(ConfigurationError, AttributeError):
    """An AttributeError, too, so that who only looks through the class (hasattr, inspect) goes on."""


class Heeded:
    """Whether an instance ignores a kind of event: as long as there is nothing at all to be done about any.

    Once there is, never again: runs under way are to be told to their ends. A subclass, which may want to hear for
    itself, ignores nothing. The class, given with the parentheses forgotten, is refused: LangChain has properties here,
    which count as true of a class, so that every event would be ignored without a word.
    """

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._class = owner

    def __get__(self, instance: Any, owner: type[Any]) -> bool:
        if instance is not None:
            if owner is self._class and unheard(instance.guard):
                return True
            # For the next time: LangChain asks before each event.
            members = (member for kind in owner.__mro__ for member in vars(kind).items())
            instance.__dict__.update((name, False) for name, member in members if isinstance(member, Heeded))
            return False
        msg = f"callbacks=[...] was given the class {owner.__name__}: write callbacks=[{owner.__name__}(guard)]"
        raise _ClassGivenError(msg)
