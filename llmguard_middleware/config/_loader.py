"""Loader: a source -> a policy and its variants, again and again; what did not change in between stays as it is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from .._call import Call
from .._guard import Guard
from .._monitoring import MonitorQueue
from .._policy import Policy
from ..errors import ConfigurationError
from ._build import Builder, Built, Objects
from ._merge import chain, merge
from ._problems import Problems
from ._source import Reader

__all__ = ["Compiled", "Loader", "Source"]

Source = str | PathLike[str] | Mapping[str, Any]
G = TypeVar("G", bound=Guard)
Variant = tuple[Callable[[Call], bool], Policy]


@dataclass(frozen=True)
class Compiled:
    """A configuration without a mistake.

    Attributes:
        rules: those of calls that belong to no tenant.
        tenants: those of each tenant.
        options: of the guard itself.
        fingerprint: changes with anything of this.
    """

    rules: tuple[Built, ...]
    tenants: Mapping[str, tuple[Built, ...]]
    policy: Policy
    variants: tuple[Variant, ...]
    options: Mapping[str, Any]
    fingerprint: str
    objects: Objects


class Loader:
    """Compiles one source.

    Attributes:
        current: what is in force, the last that was kept.
        seen: a hash of each file that the last attempt read; None for one that could not be read.
    """

    def __init__(self, source: Source, environ: Mapping[str, str]) -> None:
        if not isinstance(source, (str, PathLike, Mapping)):
            msg = f"a configuration is a path or a mapping, and this is of type {type(source).__name__}"
            raise ConfigurationError(msg)
        self.path = None if isinstance(source, Mapping) else Path(source)
        self._mapping = source if isinstance(source, Mapping) else {}
        self._environ = environ
        self.current: Compiled | None = None
        self.seen: dict[Path, str | None] = {}

    def compile(self) -> Compiled:
        """Read everything and build the rules; nothing is in force yet.

        Raises:
            ConfigurationError: with a line for each problem.
        """
        problems = Problems()
        reader = Reader(self._environ, problems)
        document = reader.mapping(self._mapping) if self.path is None else reader.read(self.path)
        documents = [] if document is None else chain(document, self.path, reader)
        self.seen = reader.seen
        if document is None:
            problems.check()
        merged = merge(documents, self._environ, problems)
        kept = Objects() if self.current is None else self.current.objects
        builder = Builder(self._environ, problems, kept)
        rules = builder.build(merged.rules.values())
        tenants = {name: builder.build(one.values()) for name, one in merged.tenants.items()}
        if not problems and not (rules or any(tenants.values())):
            problems.add(documents[-1].at(()), 'has no rule; list some under "guardrails" or "monitors"')
        problems.check()
        variants = tuple(
            (_is_for(str(merged.attribute.value), name), _policy(built))
            for name, built in tenants.items()
            if merged.attribute is not None
        )
        options = {name: given.value for name, given in merged.guard.items()}
        if "queue" in options:
            options["queue"] = MonitorQueue(**options["queue"])
        everything = (
            [one.identity for one in rules],
            [(name, [one.identity for one in built]) for name, built in tenants.items()],
            merged.attribute and merged.attribute.value,
        )
        fingerprint = hashlib.sha256(repr(everything).encode("utf-8", "surrogatepass")).hexdigest()
        return Compiled(rules, tenants, _policy(rules), variants, options, fingerprint, builder.made)

    def guard(self, kind: type[G], options: Mapping[str, Any]) -> G:
        """A guard with these rules; `options` win over those of the source."""
        compiled = self.compile()
        guard = kind(*(built.object for built in compiled.rules), **{**compiled.options, **options})
        if compiled.variants:
            guard.swap(compiled.policy, compiled.variants)
        self.current = compiled
        return guard


def _policy(built: tuple[Built, ...]) -> Policy:
    return Policy([one.object for one in built])


def _is_for(attribute: str, tenant: str) -> Callable[[Call], bool]:
    return lambda call: str(call.attributes.get(attribute)) == tenant
