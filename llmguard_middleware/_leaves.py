"""The texts inside a value (arguments, structured output, parsed JSON), and the value with others in their place."""

from __future__ import annotations

import copy
from collections import UserString, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from .errors import ConfigurationError

__all__ = [
    "Path",
    "leaves",
    "numbers",
    "opaque",
    "paths",
    "texts_in",
    "with_leaves",
    "with_numbers",
    "with_texts",
]

Path = tuple[Any, ...]  # of keys, indexes and names of fields
_PLAIN = (bool, int, float, complex, Decimal, date, time, timedelta, UUID, range, type(None), type(...))


def leaves(value: Any) -> list[str]:
    """Every text in `value`, however deep, in order.

    Of texts and bytes (as UTF-8), keys and values of mappings, sequences, sets, dataclasses, and pydantic models. What
    else there is (objects of other kinds) is `opaque`.

    Raises:
        ConfigurationError: if the value contains itself, or is nested too deeply to be looked at.
    """
    return [text for _, text in paths(value)]


def paths(value: Any) -> list[tuple[Path, str]]:
    """Every text in `value` with where it is."""
    found: list[tuple[Path, str]] = []

    def note(path: Path, text: str) -> str:
        found.append((path, text))
        return text

    _Walk(note).start(value)
    return found


def opaque(value: Any) -> list[str]:
    """The names of the types inside `value` that may hold texts which nobody can find."""
    walk = _Walk(lambda _, text: text)
    walk.start(value)
    return walk.opaque


def with_leaves(value: Any, texts: Sequence[str]) -> Any:
    """`value` with its texts, in order, replaced, in copies of the same types; `value` itself if none is another.

    What was changed is not validated again: a redacted address is no address.
    """
    source: Iterator[str] = iter(texts)
    return _Walk(lambda _, __: next(source)).start(value)


def numbers(value: Any) -> list[str]:
    """Every number in `value` that keys are not, in order, as it is written."""
    found: list[str] = []

    def note(number: str) -> str:
        found.append(number)
        return number

    _Numbers(note).start(value)
    return found


def with_numbers(value: Any, texts: Sequence[str]) -> Any:
    """`value` with its numbers, in order, replaced by a text where that is another one, in copies."""
    source: Iterator[str] = iter(texts)
    return _Numbers(lambda _: next(source)).start(value)


_KEYS = (str, bytes, tuple, frozenset)  # of mappings, that hold texts


class _Walk:
    """One way through a value, in which each text may be changed."""

    def __init__(self, change: Callable[[Path, str], str]) -> None:
        self._change = change
        self._above: list[int] = []
        self.opaque: list[str] = []

    def start(self, value: Any) -> Any:
        try:
            return self._at((), value)
        except RecursionError:
            msg = "a value is nested too deeply for its texts to be judged; pass its parts one by one"
            raise ConfigurationError(msg) from None

    def _at(self, path: Path, value: Any) -> Any:
        if isinstance(value, str):
            text = str.__str__(value)
            changed = self._change(path, text)
            return value if changed == text else changed
        if isinstance(value, _PLAIN):
            return self._plain(value)
        if isinstance(value, bytes):
            text = value.decode("utf-8", "surrogateescape")
            changed = self._change(path, text)
            return value if changed == text else changed.encode("utf-8", "surrogateescape")
        if isinstance(value, (UserString, PurePath)):
            changed = self._change(path, str(value))
            return value if changed == str(value) else type(value)(changed)
        if isinstance(value, Enum):
            return value  # a constant of the program
        if id(value) in self._above:
            msg = "a value contains itself, so its texts cannot be judged; pass its parts one by one"
            raise ConfigurationError(msg)
        self._above.append(id(value))
        try:
            return self._inside(path, value)
        finally:
            self._above.pop()

    def _plain(self, value: Any) -> Any:
        return value

    def _inside(self, path: Path, value: Any) -> Any:
        if isinstance(value, Mapping):
            return self._mapping(path, value)
        if isinstance(value, (list, tuple, set, frozenset, deque)):
            return self._sequence(path, value)
        if is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in fields(value) if hasattr(value, field.name)]
            changes = self._fields(path, {name: getattr(value, name) for name in names})
            return _with_attributes(value, changes) if changes else value
        if callable(copied := getattr(value, "model_copy", None)) and not isinstance(value, type):
            # By its own fields, not by model_dump(), which leaves out what is excluded and what a subclass adds.
            extra = getattr(value, "__pydantic_extra__", None) or {}
            changes = self._fields(path, {**vars(value), **extra})
            return copied(update=changes) if changes else value
        self.opaque.append(type(value).__name__)
        return value

    def _mapping(self, path: Path, value: Mapping[Any, Any]) -> Any:
        items = [
            (self._at((*path, "key", key), key) if isinstance(key, _KEYS) else key, self._at((*path, key), item))
            for key, item in value.items()
        ]
        if all(a is key and b is item for (a, b), (key, item) in zip(items, value.items(), strict=True)):
            return value
        if not isinstance(value, dict):
            return dict(items)
        changed = copy.copy(value)  # keeps what a subclass has besides its items
        changed.clear()
        changed.update(items)
        return changed

    def _sequence(self, path: Path, value: Any) -> Any:
        before = list(value)
        after = [self._at((*path, index), item) for index, item in enumerate(before)]
        if all(one is other for one, other in zip(after, before, strict=True)):
            return value
        if isinstance(value, (list, deque, set)):
            changed = copy.copy(value)
            changed.clear()
            (changed.update if isinstance(changed, set) else changed.extend)(after)
            return changed
        named = getattr(type(value), "_make", None)  # a named tuple takes its items one by one
        return named(after) if named is not None else type(value)(after)

    def _fields(self, path: Path, before: Mapping[str, Any]) -> dict[str, Any]:
        after = {name: self._at((*path, name), item) for name, item in before.items()}
        return {name: item for name, item in after.items() if item is not before[name]}


class _Numbers(_Walk):
    """The same, in which each number may be changed."""

    def __init__(self, change: Callable[[str], str]) -> None:
        super().__init__(lambda _, text: text)
        self._change_number = change

    def _plain(self, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
            return value
        changed = self._change_number(str(value))
        return value if changed == str(value) else changed


def _with_attributes(value: Any, changes: Mapping[str, Any]) -> Any:
    changed = copy.copy(value)
    for name, item in changes.items():
        object.__setattr__(changed, name, item)  # also where it is frozen
    return changed


def texts_in(value: Any) -> list[str]:
    """Every text in `value`, however deep, as `with_texts` finds them."""
    found: list[str] = []

    def keep(text: str) -> str:
        found.append(text)
        return text

    with_texts(value, keep)
    return found


def with_texts(value: Any, edit: Callable[[str], str]) -> Any:
    """`value` with `edit` made to every text in it, however deep.

    Numbers and None are as they were. An object is taken by its fields (`model_dump()`), or else, since nobody can tell
    which texts it holds, replaced by the name of its type.
    """
    if isinstance(value, str):
        return edit(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {key: with_texts(item, edit) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [with_texts(item, edit) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if callable(dump := getattr(value, "model_dump", None)):
        return with_texts(dump(), edit)
    return f"<{type(value).__name__}>"
