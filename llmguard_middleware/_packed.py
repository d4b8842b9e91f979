"""Many small named tuples as one value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar, overload

__all__ = ["Packed", "rows"]

T = TypeVar("T", bound=tuple[Any, ...])


class Packed(Sequence[T]):
    """Rows of which each becomes a named tuple of type `kind` when it is asked for; equal to a tuple of them.

    The garbage collector leaves plain tuples of numbers and strings alone, and walks over every live named tuple in
    each of its full collections: for a hundred thousand of them an event loop waits ten milliseconds and more.
    """

    __slots__ = ("_kind", "_rows")

    def __init__(self, kind: type[T], rows: Iterable[tuple[Any, ...]]) -> None:
        self._kind: Any = kind
        self._rows = tuple(rows)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, at: int) -> T: ...

    @overload
    def __getitem__(self, at: slice) -> Packed[T]: ...

    def __getitem__(self, at: int | slice) -> T | Packed[T]:
        if isinstance(at, slice):
            return Packed(self._kind, self._rows[at])
        one: T = self._kind(*self._rows[at])
        return one

    def __iter__(self) -> Iterator[T]:
        return map(self._kind._make, self._rows)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Packed):
            return bool(self._kind is other._kind and self._rows == other._rows)
        return tuple(self) == other if isinstance(other, tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._rows)

    def __repr__(self) -> str:
        return repr(tuple(self))


def rows(many: Sequence[T]) -> Sequence[tuple[Any, ...]]:
    """The same as plain tuples where they are so already, for whoever looks at all of them."""
    return many._rows if isinstance(many, Packed) else many  # noqa: SLF001 - same module, one noun
