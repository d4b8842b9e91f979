"""The texts inside a value (arguments, structured output, parsed JSON), and the value with others in their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

__all__ = ["leaves", "texts_in", "with_leaves", "with_texts"]


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
