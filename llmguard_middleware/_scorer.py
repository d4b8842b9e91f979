"""Scorers: what counts as one, and how its parameters are bound by name to what a call offers."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import update_wrapper
from types import CodeType, FunctionType
from typing import Any, ClassVar, Protocol, TypeVar, overload

from ._score import Score, as_score
from .errors import ConfigurationError, ScorerInputError

__all__ = ["BoundScorer", "FunctionScorer", "Scorer", "bind", "check_name", "scorer", "target_of"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\Z")


def check_name(name: object, what: str) -> str:
    """`name` itself if it may name a rule, a scorer or a guard.

    Raises:
        ConfigurationError: if it does not start with a letter or digit or holds anything but those, `-` and `_`.
    """
    if not isinstance(name, str) or not _NAME.match(name):
        msg = (
            f'{what} name "{name}" is not usable: start with a letter or digit and use letters, digits, "-" and "_" '
            f'only, for example name="{_suggest(str(name))}"'
        )
        raise ConfigurationError(msg)
    return name


def _suggest(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") or "my-rule"


class Scorer:
    """Optional base of scorer classes: subclass it and write `score(self, ...)`, sync or async.

    Its parameters are filled by name from the call (`text`, `output`, `inputs`, `messages`, `context`, `call`, and
    each of the call's inputs); `column_map={"parameter": "name in the call"}` renames. What it returns is
    normalised by `as_score`.

    Class attributes:
        options: what tells this scorer from another of the same name; a guard's digest changes with it.
        cheap: linear in the text, no I/O, so safe to run inline on the caller's thread without a time-out.
        reach: for a local scorer, the number of characters beyond a character that can decide whether it belongs
            to a match, in either direction; None for a scorer that must see the whole text.

    A local scorer may also have a method `open_tail(text) -> int`: how many characters at the end of a text may belong
    to a match that is not complete yet. Streams then hold back only these, not `reach` characters.
    """

    name: str = ""
    options: str = ""
    cheap: ClassVar[bool] = False
    reach: int | None = None
    column_map: Mapping[str, str]

    def __init__(self, *, column_map: Mapping[str, str] | None = None, name: str | None = None) -> None:
        self.column_map = dict(column_map or {})
        if name is not None:
            self.name = name

    score: Callable[..., Any]


class FunctionScorer(Scorer):
    """A function made a scorer by `@scorer`: call it as before, or `.score(...)` for a normalised Score."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        cheap: bool = False,
        reach: int | None = None,
        column_map: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name=name or getattr(function, "__name__", ""), column_map=column_map)
        self.function = function
        self.cheap = cheap  # type: ignore[misc]  # a class attribute in the base, an option here
        self.reach = reach
        update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def score(self, *args: Any, **kwargs: Any) -> Score | Awaitable[Score]:
        """The normalised Score of these arguments; awaitable if the function is async."""
        raw = self.function(*args, **kwargs)
        return _normalise_later(raw, self.name) if inspect.isawaitable(raw) else as_score(raw, self.name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        # As a function is pickled, by its name, since that name now means this object and no longer the function.
        module = sys.modules.get(self.function.__module__)
        name = getattr(self.function, "__qualname__", "")
        return name if getattr(module, name, None) is self else super().__reduce_ex__(protocol)


async def _normalise_later(raw: Awaitable[Any], name: str) -> Score:
    return as_score(await raw, name)


C = TypeVar("C")


class _Function(Protocol):
    """A function: called as a class is, but with code of its own, which tells the type checker the two apart."""

    __code__: CodeType

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


@overload
def scorer(target: type[C], /) -> type[C]: ...
@overload
def scorer(target: _Function, /) -> FunctionScorer: ...
@overload
def scorer(
    *,
    name: str | None = None,
    cheap: bool = False,
    reach: int | None = None,
    column_map: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., Any]], Any]: ...
def scorer(
    target: Any = None,
    /,
    *,
    name: str | None = None,
    cheap: bool = False,
    reach: int | None = None,
    column_map: Mapping[str, str] | None = None,
) -> Any:
    """Make a function, or a class with `score(...)`, a scorer.

    Use bare (`@scorer`) or with options (`@scorer(name="tone", cheap=True)`); see `Scorer` for the options.
    A function keeps working as a function; a class is returned as it is, marked.
    """

    def make(thing: Any) -> Any:
        if not isinstance(thing, type):
            return FunctionScorer(thing, name=name, cheap=cheap, reach=reach, column_map=column_map)
        if not callable(getattr(thing, "score", None)):
            msg = f"@scorer class {thing.__name__} has no score(...) method; add one"
            raise ConfigurationError(msg)
        marked: Any = thing
        marked.name = name or getattr(thing, "name", "") or thing.__name__
        marked.cheap = cheap or getattr(thing, "cheap", False)
        marked.column_map = column_map or getattr(thing, "column_map", {})
        marked.reach = reach if reach is not None else getattr(thing, "reach", None)
        return thing

    return make if target is None else make(target)


class BoundScorer:
    """A scorer with its parameters resolved once, so that a call costs a few dictionary look-ups."""

    __slots__ = (
        "cheap",
        "described",
        "everything",
        "is_async",
        "name",
        "open_tail",
        "parameters",
        "reach",
        "scorer",
        "target",
    )

    def __init__(self, scorer: Any, target: Callable[..., Any], name: str) -> None:
        self.scorer = scorer
        self.target = target
        self.name = name
        kind = type(scorer) if not isinstance(target, FunctionType) else target
        self.described = (kind.__module__, kind.__qualname__, str(getattr(scorer, "options", "")))
        self.cheap = bool(getattr(scorer, "cheap", False))
        self.reach = _reach(getattr(scorer, "reach", None), name)
        self.open_tail: Callable[[str], int] = getattr(scorer, "open_tail", None) or self._all_in_reach
        self.is_async = inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(
            getattr(target, "__call__", None)  # noqa: B004 - an object may be called as an async function is
        )
        signature = _signature(target, name)
        column_map: Mapping[str, str] = getattr(scorer, "column_map", None) or {}
        named = {p.name: p for p in signature.parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
        if not isinstance(column_map, Mapping):
            msg = f'column_map of scorer "{name}" is no mapping; write {{"parameter": "name in the call"}}'
            raise ConfigurationError(msg)
        unknown = [parameter for parameter in column_map if parameter not in named]
        if unknown:
            known = ", ".join(named)
            msg = f'column_map of scorer "{name}" names "{unknown[0]}", which is not one of its parameters: {known}'
            raise ConfigurationError(msg)
        if any(p.kind is p.POSITIONAL_ONLY for p in named.values()):
            msg = f'scorer "{name}" has positional-only parameters; remove the "/" so that they can be bound by name'
            raise ConfigurationError(msg)
        self.parameters = tuple((p.name, column_map.get(p.name, p.name), p.default is p.empty) for p in named.values())
        self.everything = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())

    def _all_in_reach(self, _: str) -> int:
        return max(1, self.reach or 0)  # a match at the very end may still grow

    def requires(self, source: str) -> bool:
        """Whether this scorer cannot run without the call's `source`."""
        return any(needed and wanted == source for _, wanted, needed in self.parameters)

    def __call__(self, available: Mapping[str, Any]) -> Any:
        """What the scorer returns (an awaitable if it is async) for what the call offers.

        Raises:
            ScorerInputError: if it asks for something that is not available.
        """
        return self.target(**self.arguments(available))

    def arguments(self, available: Mapping[str, Any]) -> dict[str, Any]:
        """What the scorer is to be called with.

        Raises:
            ScorerInputError: if it asks for something that is not available.
        """
        arguments = dict(available) if self.everything else {}
        for parameter, source, required in self.parameters:
            if source in available:
                arguments[parameter] = available[source]
            elif required:
                raise ScorerInputError(self._missing(parameter, source, available))
        return arguments

    def _missing(self, parameter: str, source: str, available: Mapping[str, Any]) -> str:
        return (
            f'scorer "{self.name}" asks for "{source}", which this call does not have; it has: '
            f'{", ".join(sorted(map(str, available)))}. Rename with column_map={{"{parameter}": "<one of these>"}} '
            "or give the parameter a default"
        )


def _signature(target: Callable[..., Any], name: str) -> inspect.Signature:
    try:
        return inspect.signature(target)
    except (TypeError, ValueError):
        msg = f'the parameters of scorer "{name}" cannot be read; wrap it in a function that names what it asks for'
        raise ConfigurationError(msg) from None


def _reach(reach: Any, name: str) -> int | None:
    if reach is None or (isinstance(reach, int) and reach >= 0):
        return reach
    msg = f'reach of scorer "{name}" is {reach!r}; give a number of characters, or None if it needs the whole text'
    raise ConfigurationError(msg)


def target_of(candidate: Any, method: str = "score") -> Any:
    """What is called to score: the function of `@scorer`, a method, or the callable itself."""
    if isinstance(candidate, FunctionScorer):
        return candidate.function
    return getattr(candidate, method, None) or (candidate if callable(candidate) else None)


def bind(candidate: Any, rule: str = "") -> BoundScorer:
    """Resolve a scorer: a function, an object with `score(...)`, or what `@scorer` made.

    A lambda has no name that is usable; then it goes by the name of its `rule`.

    Raises:
        ConfigurationError: if it is none of these, or its name is not usable.
    """
    if isinstance(candidate, type):
        msg = f"{candidate.__name__} is a class; pass an instance: {candidate.__name__}()"
        raise ConfigurationError(msg)
    if isinstance(candidate, FunctionType) and candidate.__module__.startswith("llmguard_middleware.scorers"):
        msg = f"{candidate.__name__} makes a scorer; call it: {candidate.__name__}()"
        raise ConfigurationError(msg)
    target = target_of(candidate)
    if not callable(target):
        msg = f"{type(candidate).__name__} is not a scorer: pass a function or an object with a score(...) method"
        raise ConfigurationError(msg)
    name = getattr(candidate, "name", "") or getattr(candidate, "__name__", "") or type(candidate).__name__
    nameless = bool(rule) and not (isinstance(name, str) and _NAME.match(name))
    return BoundScorer(candidate, target, check_name(rule if nameless else name, "scorer"))
