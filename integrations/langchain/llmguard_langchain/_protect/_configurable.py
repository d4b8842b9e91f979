"""Models that are chosen when they are called: whichever is chosen is guarded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.runnables import Runnable

from llmguard_middleware import Guard

from ._copies import guards_of
from ._kinds import is_a
from ._sticky import STICKY

__all__ = ["alternatives_member", "configurable_members", "is_configurable_model"]

Protect = Callable[[Any, Guard], Any]


def is_configurable_model(thing: object) -> bool:
    """Whether this is what `init_chat_model` gives if the model is to be chosen by the config."""
    return is_a(thing, "langchain.chat_models.base", "_ConfigurableModel")


def configurable_members(base: type[Any], guard: Guard, protect: Protect) -> dict[str, Any]:
    """The members of the class of a guarded model that is chosen by the config, of the class `base`."""

    def again(self: Any, made: Any) -> Any:
        if type(made) in type(self).__mro__:  # LangChain makes another one, by name of the class
            made.__class__ = type(self)
        return made

    def _model(self: Any, config: Any = None) -> Any:
        return protect(base._model(self, config), guard)

    def with_config(self: Any, config: Any = None, **kwargs: Any) -> Any:
        return again(self, base.with_config(self, config, **kwargs))

    def attribute(self: Any, name: str) -> Any:
        found = base.__getattr__(self, name)
        if not callable(found):
            return found
        return lambda *args, **kwargs: again(self, found(*args, **kwargs))

    return {"_model": _model, "with_config": with_config, "__getattr__": attribute, **STICKY}


def alternatives_member(base: type[Any], protect: Protect) -> dict[str, Any]:
    """The member of a guarded copy's class that guards the alternatives to it as well."""
    if not hasattr(base, "configurable_alternatives"):
        return {}

    def configurable_alternatives(self: Any, which: Any, **options: Any) -> Any:
        def guarded(one: Any) -> Any:
            for guard in reversed(guards_of(self)):
                one = protect(one, guard)
            return one

        def later(make: Callable[[], Any]) -> Callable[[], Any]:
            return lambda: guarded(make())

        kept = {name: options.pop(name) for name in ("default_key", "prefix_keys") if name in options}
        told = {name: guarded(one) if isinstance(one, Runnable) else later(one) for name, one in options.items()}
        return original(self, which, **kept, **told)

    original = next(vars(one)["configurable_alternatives"] for one in reversed(base.__mro__) if _has(one))
    return {"configurable_alternatives": configurable_alternatives}


def _has(kind: type) -> bool:
    return "configurable_alternatives" in vars(kind)
