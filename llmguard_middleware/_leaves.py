"""The texts inside a value (arguments, structured output, parsed JSON), and the value with others in their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

__all__ = ["leaves", "with_leaves"]


def leaves(value: Any) -> list[str]:
    """Every text in `value`, however deep, in order: of mappings, sequences, sets, dataclasses and pydantic models.

    What else there is (numbers, bytes, objects of other kinds) holds no text that anybody could judge.
    """
    found: list[str] = []

    def note(text: str) -> str:
        found.append(text)
        return text

    _changed(value, note)
    return found


def with_leaves(value: Any, texts: Sequence[str]) -> Any:
    """`value` with its texts, in order, replaced, in copies of the same types; `value` itself if none is another.

    Raises:
        ValueError: (pydantic's) if a model does not take a text that was changed.
    """
    source: Iterator[str] = iter(texts)
    return _changed(value, lambda _: next(source))


def _changed(value: Any, change: Callable[[str], str]) -> Any:  # noqa: PLR0911 - one for each kind of value
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        items = [_changed(item, change) for item in value.values()]
        return value if _same(items, value.values()) else dict(zip(value, items, strict=True))
    if isinstance(value, (list, tuple, set, frozenset)):
        before = list(value)
        after = [_changed(item, change) for item in before]
        if _same(after, before):
            return value
        named = getattr(type(value), "_make", None)  # a named tuple takes its items one by one
        return named(after) if named is not None else type(value)(after)
    if is_dataclass(value) and not isinstance(value, type):
        old = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        new = _changed(old, change)
        return value if new is old else replace(value, **new)
    if callable(dump := getattr(value, "model_dump", None)) and not isinstance(value, type):
        old = dump()
        new = _changed(old, change)
        return value if new is old else type(value).model_validate(new)
    return value


def _same(after: Sequence[Any], before: Any) -> bool:
    return all(one is other for one, other in zip(after, before, strict=True))
