"""What a scorer asks for, read once from its signature, and the sentences for what does not fit."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .errors import ConfigurationError, ScorerInputError, nearest

__all__ = ["Parameters", "is_async", "missing", "read", "unknown"]

# (parameter, its name in the call, whether it has no default), and whether the scorer takes every other name as well.
Parameters = tuple[tuple[tuple[str, str, bool], ...], bool]


def read(target: Callable[..., Any], column_map: Mapping[str, str] | None, name: str) -> Parameters:
    """The parameters of the scorer called `name`.

    Raises:
        ConfigurationError: if they cannot be bound by name, or `column_map` does not fit them.
    """
    parameters = _signature(target, name).parameters.values()
    named = {p.name: p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    everything = any(p.kind is p.VAR_KEYWORD for p in parameters)
    renamed = _column_map({} if column_map is None else column_map, name)
    strangers = [parameter for parameter in renamed if parameter not in named]
    if strangers and not everything:
        known = ", ".join(named)
        msg = f'column_map of scorer "{name}" names "{strangers[0]}", which is not one of its parameters: {known}'
        raise ConfigurationError(msg)
    if any(p.kind is p.POSITIONAL_ONLY for p in named.values()):
        msg = f'scorer "{name}" has positional-only parameters; remove the "/" so that they can be bound by name'
        raise ConfigurationError(msg)
    if not named and not everything and any(p.kind is p.VAR_POSITIONAL for p in parameters):
        msg = f'scorer "{name}" takes positional arguments only; name what it asks for, or take **everything'
        raise ConfigurationError(msg)
    stated = tuple((p.name, renamed.get(p.name, p.name), p.default is p.empty) for p in named.values())
    return (*stated, *((stranger, renamed[stranger], True) for stranger in strangers)), everything


def _column_map(column_map: Mapping[Any, Any], name: str) -> Mapping[str, str]:
    if not isinstance(column_map, Mapping):
        msg = f'column_map of scorer "{name}" is no mapping; write {{"parameter": "name in the call"}}'
        raise ConfigurationError(msg)
    for parameter, source in column_map.items():
        if not isinstance(parameter, str) or not isinstance(source, str):
            msg = f'column_map of scorer "{name}" maps a text to a text; write {{"parameter": "name in the call"}}'
            raise ConfigurationError(msg)
    return column_map


def _signature(target: Callable[..., Any], name: str) -> inspect.Signature:
    try:
        return inspect.signature(target)
    except (TypeError, ValueError):
        msg = f'the parameters of scorer "{name}" cannot be read; wrap it in a function that names what it asks for'
        raise ConfigurationError(msg) from None


def missing(scorer: str, parameter: str, source: str, available: Iterable[Any]) -> ScorerInputError:
    """The call does not have `source`, which the scorer's `parameter` stands for."""
    return ScorerInputError(
        f'scorer "{scorer}" asks for "{source}", which this call does not have; it has: '
        f'{", ".join(sorted(map(str, available)))}. Rename with column_map={{"{parameter}": "<one of these>"}} '
        "or give the parameter a default"
    )


def unknown(scorer: str, given: object, known: Iterable[str]) -> ScorerInputError:
    """A value was given for a parameter that the scorer does not have."""
    return ScorerInputError(f'scorer "{scorer}" has no parameter "{given}": {nearest(str(given), known)}')


def is_async(target: Callable[..., Any]) -> bool:
    """Whether `target` is called as an async function is."""
    return inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(
        getattr(target, "__call__", None)  # noqa: B004 - an object may be called as an async function is
    )
