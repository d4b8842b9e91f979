"""A scorer as rules hold it: its parameters resolved, its set-up run before its first score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

from ._fingerprint import fingerprint
from ._parameters import is_async, missing, read, unknown
from ._setup import Setup
from .errors import ConfigurationError

__all__ = ["BoundScorer"]


class BoundScorer:
    """A scorer with its parameters resolved once, so that a call costs a few dictionary look-ups."""

    __slots__ = (
        "cheap",
        "described",
        "everything",
        "extent",
        "is_async",
        "name",
        "of_call",
        "open_tail",
        "parameters",
        "reach",
        "ready",
        "scorer",
        "setup",
        "target",
        "text_only",
    )

    def __init__(self, scorer: Any, target: Callable[..., Any], name: str) -> None:
        self.scorer = scorer
        self.target = target
        self.name = name
        kind = type(scorer) if not isinstance(target, FunctionType) else target
        self.described = (kind.__module__, kind.__qualname__, _options(scorer, target))
        self.cheap = bool(getattr(scorer, "cheap", False))
        self.of_call = bool(getattr(scorer, "of_call", False))
        self.reach = _reach(getattr(scorer, "reach", None), name)
        extent = self.reach if self.reach is not None else getattr(scorer, "extent", None)
        self.extent = _reach(extent, name)
        self.open_tail: Callable[[str], int] = getattr(scorer, "open_tail", None) or self._all_in_reach
        self.is_async = is_async(target)
        self.parameters, self.everything = read(target, getattr(scorer, "column_map", None), name)
        # Then its score of a text is the same wherever the text appears.
        self.text_only = not self.everything and all(source in ("text", "output") for _, source, _ in self.parameters)
        setup = getattr(scorer, "setup", None)
        self.setup = Setup(scorer, setup, name, on_loop=self.is_async) if callable(setup) else None
        self.ready = self.setup is None

    def _all_in_reach(self, _: str) -> int:
        return max(1, self.reach or 0)  # a match at the very end may still grow

    def requires(self, source: str) -> bool:
        """Whether this scorer cannot run without the call's `source`."""
        return any(needed and wanted == source for _, wanted, needed in self.parameters)

    def warm(self) -> None:
        """Set the scorer up now if it is not; a scorer without `setup()` always is.

        Raises:
            ScorerError: if that fails; the next call tries again.
        """
        if self.setup is not None:
            self.setup.run()
            self.ready = self.setup.done

    async def awarm(self) -> None:
        """As `warm`, without holding up the event loop, on which an async scorer's async `setup()` runs.

        Raises:
            ScorerError: if that fails; the next call tries again.
        """
        if self.setup is not None:
            await self.setup.arun()
            self.ready = self.setup.done

    def __call__(self, available: Mapping[Any, Any], extra: Mapping[Any, Any] | None = None) -> Any:
        """What the scorer returns (an awaitable if it is async) for what the call offers.

        Raises:
            ScorerInputError: as for `arguments`.
            ScorerError: if its `setup()` fails.
        """
        return self.run(self.arguments(available, extra))

    def arguments(self, available: Mapping[Any, Any], extra: Mapping[Any, Any] | None = None) -> dict[str, Any]:
        """What the scorer is to be called with.

        `extra` are values by the names of the scorer's own parameters; they win over what the call offers.

        Raises:
            ScorerInputError: if it asks for something that is not available, or has no parameter of an extra's name.
        """
        arguments = {key: v for key, v in available.items() if isinstance(key, str)} if self.everything else {}
        for parameter, source, required in self.parameters:
            if source in available:
                arguments[parameter] = available[source]
            elif required and not (extra and parameter in extra):
                raise missing(self.name, parameter, source, available)
        if extra:
            arguments.update(self._checked(extra))
        return arguments

    def run(self, arguments: dict[str, Any]) -> Any:
        """What the scorer returns for these arguments, once it is set up.

        Raises:
            ScorerError: if its `setup()` fails.
        """
        return self.target(**arguments) if self.ready else self._first(arguments)

    def _checked(self, extra: Mapping[Any, Any]) -> Mapping[str, Any]:
        known = [parameter for parameter, _, _ in self.parameters]
        for given in extra:
            if not isinstance(given, str) or not (given in known or self.everything):
                raise unknown(self.name, given, known)
        return extra

    def _first(self, arguments: dict[str, Any]) -> Any:
        if self.is_async:
            return self._afirst(arguments)
        self.warm()
        return self.target(**arguments)

    async def _afirst(self, arguments: dict[str, Any]) -> Any:
        await self.awarm()
        return await self.target(**arguments)


def _options(scorer: Any, target: Any) -> str:
    """What tells this scorer from others of its kind: its own word, or a hash of what it was given."""
    own = getattr(scorer, "options", "")
    if isinstance(own, str) and own:
        return own
    return fingerprint(target) if getattr(target, "__self__", target) is scorer else fingerprint(scorer, target)


def _reach(reach: Any, name: str) -> int | None:
    if reach is None or (isinstance(reach, int) and reach >= 0):
        return reach
    msg = f'reach of scorer "{name}" is {reach!r}; give a number of characters, or None if it needs the whole text'
    raise ConfigurationError(msg)
