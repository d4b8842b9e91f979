"""Scorers: what counts as one, and how its parameters are bound by name to what a call offers."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import update_wrapper
from types import CodeType, FunctionType
from typing import Any, ClassVar, Protocol, TypeVar, overload

from ._bound import BoundScorer
from ._score import Score, as_score
from .errors import ConfigurationError

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
        options: what tells this scorer from another of the same name; a guard's digest changes with it. Where it is
            empty, a hash of the plain values among the attributes stands for it.
        cheap: linear in the text, no I/O, so safe to run inline on the caller's thread without a time-out.
        of_call: about how a call of a model ended, not about a text. As a guardrail of the output it is asked once for
            each answer, with `call`, and for a call that failed, with `call` and `error`, the exception; what it finds
            then is recorded, and the caller gets that exception all the same. Such a scorer is cheap and not async.
        extent: for a cheap scorer that is not local, the longest stretch that makes it flag, in characters: then
            long texts can be looked at in pieces. One that has neither is run on a thread for texts of more than 16 KB.
        reach: for a local scorer, the number of characters beyond a character that can decide whether it belongs
            to a match, in either direction; None for a scorer that must see the whole text.

    A local scorer may also have a method `open_tail(text) -> int`: how many characters at the end of a text may belong
    to a match that is not complete yet. Streams then hold back only these, not `reach` characters.

    Any scorer may have a method `setup()`, sync or async, for what is slow to load: guards run it once per scorer
    object, before its first score, and again at the next score if it fails. An async one of an async scorer runs on
    the event loop of that score; as other loops may score later, it should open nothing that belongs to one loop.
    Whoever calls `score` without a guard calls `setup` too.
    """

    name: str = ""
    options: str = ""
    cheap: ClassVar[bool] = False
    of_call: ClassVar[bool] = False
    reach: int | None = None
    extent: int | None = None
    column_map: Mapping[str, str]

    def __init__(self, *, column_map: Mapping[str, str] | None = None, name: str | None = None) -> None:
        self.column_map = {} if column_map is None else column_map  # checked when a rule binds it
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
