"""load: a scorer by the name that its distribution registered, or by the import path of the user's own."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import reduce
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ..errors import ConfigurationError, nearest

__all__ = ["find", "imported", "load"]

_GROUP = "llmguard_middleware.scorers"


def load(name: str, /, *args: Any, **options: Any) -> Any:
    """Make the scorer called `name`: `load("pii", "EMAIL_ADDRESS")` is `pii("EMAIL_ADDRESS")`.

    Args:
        name: what a distribution registered as an entry point of the group `llmguard_middleware.scorers` (ours are
            registered likewise), or `"package.module:attribute"`. The attribute is a factory, a scorer class, a
            ready scorer, or a function that scores and has a parameter without a default.
        args: positional arguments of the factory or class.
        options: its keyword arguments.

    Raises:
        ConfigurationError: if there is no such scorer, it cannot be imported, or it does not take these options.
    """
    if not isinstance(name, str):
        msg = f'a scorer is loaded by its name, not by a {type(name).__name__}; write load("pii")'
        raise ConfigurationError(msg)
    by_path, found = ":" in name, find(name)
    given = bool(args or options)
    if _is_ready(found) or (by_path and not given and _scores(found)):
        if given:
            msg = f'"{name}" is a ready scorer and takes no options; leave them out or name what makes it'
            raise ConfigurationError(msg)
        return found
    return _made(name, found, args, options)


def find(name: str) -> Any:
    """What this name stands for: what makes a scorer, or a scorer.

    Raises:
        ConfigurationError: if there is no such scorer, or it cannot be imported.
    """
    return imported(name) if ":" in name else _registered(name)


def _registered(name: str) -> Any:
    points = {point.value: point for point in entry_points(group=_GROUP, name=name)}
    if not points:
        known = sorted({point.name for point in entry_points(group=_GROUP)})
        msg = f'no scorer is registered as "{name}"; give one of these or "package.module:attribute": '
        raise ConfigurationError(msg + nearest(name, known))
    if len(points) > 1:
        owners = ", ".join(sorted(map(_distribution, points.values())))
        msg = f'"{name}" is registered by several distributions ({owners}); say which: load("{next(iter(points))}")'
        raise ConfigurationError(msg)
    (point,) = points.values()
    try:
        return point.load()
    except Exception as error:
        msg = f'scorer "{name}" of distribution "{_distribution(point)}" cannot be imported: {_why(error)}'
        raise ConfigurationError(msg) from error


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "unknown"


def imported(path: str, what: str = "scorer") -> Any:
    """What is at `"package.module:attribute"`; `what` is how an error calls it.

    Raises:
        ConfigurationError: if it cannot be imported.
    """
    module_name, _, attribute = path.partition(":")
    try:
        module = import_module(module_name)
    except Exception as error:
        msg = f'{what} "{path}" cannot be imported: {_why(error)}; write "package.module:attribute"'
        raise ConfigurationError(msg) from error
    try:
        return reduce(getattr, attribute.split("."), module)
    except AttributeError:
        known = sorted(name for name in vars(module) if not name.startswith("_"))
        msg = f'module "{module_name}" has no "{attribute}": {nearest(attribute, known)}'
        raise ConfigurationError(msg) from None


def _why(error: Exception) -> str:
    missing = f' (there is no module "{error.name}")' if isinstance(error, ModuleNotFoundError) and error.name else ""
    return type(error).__name__ + missing


def _is_ready(found: Any) -> bool:
    """Whether this is a scorer, not what makes one."""
    if isinstance(found, type):
        return False
    return callable(getattr(found, "score", None)) or inspect.iscoroutinefunction(found)


def _scores(found: Any) -> bool:
    """Whether a function named by its path is itself the scorer: it cannot be called without arguments."""
    return not isinstance(found, type) and callable(found) and _misfit(found, (), {}) is not None


def _misfit(make: Any, args: Sequence[Any], options: Mapping[str, Any]) -> str | None:
    """Why `make` cannot be called with these; None if it can, or says nothing about it."""
    try:
        signature = inspect.signature(make)
    except (TypeError, ValueError):
        return None
    try:
        signature.bind(*args, **options)
    except TypeError as error:
        return f"{error}; it takes {', '.join(map(_shown, signature.parameters.values())) or 'no options'}"
    return None


def _shown(parameter: inspect.Parameter) -> str:
    # Without its default, which may be a key.
    return str(parameter.replace(default=parameter.empty, annotation=parameter.empty))


def _made(name: str, make: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    if not callable(make):
        msg = f'"{name}" is of type {type(make).__name__}; name a factory, a scorer class or a scorer'
        raise ConfigurationError(msg)
    if why := _misfit(make, args, options):
        msg = f'scorer "{name}" cannot be made with these options: {why}'
        raise ConfigurationError(msg)
    made = make(*args, **options)
    if isinstance(made, type) or not (_is_ready(made) or callable(made)):
        msg = f'"{name}" made a {type(made).__name__}, which is no scorer; mark a function that scores with @scorer'
        raise ConfigurationError(msg)
    return made
