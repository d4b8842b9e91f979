"""Every text of a message, wherever its provider keeps it, and the message with others in their place.

What is no text of anybody (ids, types, what is encrypted) is known by its name; all that is not known counts as text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from ._known_fields import ARGUMENTS, MEDIA, REASONING, is_binary, is_fact, media_of

__all__ = ["DROP", "Kind", "TextWalk"]

Kind = Literal["text", "reasoning", "other", "name", "call", "value", "unscanned"]
"""`text`: a part of what the message says; `reasoning`: of what the model thought; `other`: any other text; `name`: who
says it; `call`: name and arguments of a tool call, the arguments as JSON or as a value; `value`: a value with texts in
it; `unscanned`: the name of a kind of content that nobody can look at (image, audio, video, file)."""

# What a tool or a model states as a value, in which numbers say something, too.
_STATED = frozenset(("output", "parsed", "json", "structured_content"))

_LONG = 10**11  # from which on a number in a content block is no count

DROP: Any = object()  # what a change returns for something that is to be left out


class TextWalk:
    """One way through what a provider says (mappings, lists, texts), on which each text may be changed.

    What stays the same is not copied. An adapter's subclass knows its framework's messages.

    Attributes:
        path: where it is: field, keys, and the `index` of content blocks.
    """

    def __init__(self, change: Callable[[Kind, Any], Any]) -> None:
        self._change = change
        self._media: list[str] = []
        self.path: list[Any] = []

    def mapping(self, given: Mapping[str, Any]) -> Any:
        """What a provider says beside a message, with its texts changed."""
        self.path = ["mapping"]
        return self._dict(given, "other")

    def content(self, content: Any) -> Any:
        """The content of a message: a string, or blocks."""
        if isinstance(content, str):
            return self._change("text", content)
        return self._list(content, self._block)

    def _block(self, block: Any) -> Any:
        if isinstance(block, str):
            return self._change("text", block)
        return self._dict(block, "text")

    def _list(self, items: Any, each: Callable[[Any], Any]) -> Any:
        after: list[Any] = []
        for item in items:
            self.path.append(item.get("index") if isinstance(item, Mapping) else None)
            after.append(each(item))
            self.path.pop()
        if all(one is other for one, other in zip(after, items, strict=True)):
            return items
        return [one for one in after if one is not DROP]

    def _dict(self, given: Mapping[str, Any], inside: Kind) -> Any:
        """`inside` is the kind of a text here; `text` at the top of a content block, where only its `text` is one."""
        said = str(given.get("type") or "")
        media = media_of(given, said)
        if media:
            self._change("unscanned", media)
        own: Kind = "reasoning" if said in REASONING else inside
        if media:
            self._media.append(media)
        after = dict(self._call(given)) if isinstance(given.get("name"), str) else {}
        for key, value in given.items():
            if key not in after:
                self.path.append(key)
                kind: Kind = "other" if own == "text" and key != "text" else own
                after[key] = self._item(key, value, given, kind)
                self.path.pop()
        if media:
            self._media.pop()
        if all(after[key] is value for key, value in given.items()):
            return given
        return {key: after[key] for key in given if after[key] is not DROP}

    def _call(self, given: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
        """Name and arguments of a tool call, which belong together."""
        arguments = [key for key in ARGUMENTS if key in given and given[key] is not None]
        if not arguments and "id" not in given:
            return
        for key in arguments or [""]:
            changed = self._change("call", (given["name"], given.get(key, "")))
            if changed is DROP:
                changed = DROP, DROP
            yield "name", changed[0]
            if key:
                yield key, changed[1]

    def _item(self, key: str, value: Any, of: Mapping[str, Any], kind: Kind) -> Any:  # noqa: PLR0911 - one question after the other
        if key in _STATED and not isinstance(value, (str, bool, type(None))) and not _is_block(value):
            return self._change("value", value)
        if type(value) in (int, float) and abs(value) >= _LONG and self.path[:1] == ["content"]:
            return self._change("value", value)
        if is_fact(key, value):
            return value
        if isinstance(value, bytes):
            return value if self._media else self._change("value", value)
        if key in ARGUMENTS and (key != "input" or not isinstance(value, list)):
            changed = self._change("call", ("", value)) if value else value
            return changed[1] if isinstance(changed, tuple) else changed
        if isinstance(value, str):
            return self._text(key, value, of, kind)
        if isinstance(value, Mapping):
            if (media := MEDIA.get(key)) and media not in self._media:
                self._change("unscanned", media)
            self._media.append(media or "")
            after = self._dict(value, "reasoning" if key in REASONING else _nested(kind))
            self._media.pop()
            return after
        if isinstance(value, (list, tuple)):
            inner: Kind = "reasoning" if key in REASONING else _nested(kind)
            return self._list(value, lambda item: self._item(key, item, {}, inner))
        return self._object(value, kind)

    def _object(self, value: Any, kind: Kind) -> Any:
        """A value of a type of its own."""
        return self._change("value", value)

    def _text(self, key: str, value: str, of: Mapping[str, Any], kind: Kind) -> Any:
        media = next((one for one in reversed(self._media) if one), "")
        if not value or (kind != "text" and is_binary(key, value, of, media)):  # what is said is no file
            return value
        return self._change("reasoning" if key in REASONING else kind, value)


def _is_block(value: Any) -> bool:
    """Whether this is a content block or several, which are looked into by the names of what is in them."""
    first = value[0] if isinstance(value, (list, tuple)) and value else value
    return isinstance(first, Mapping) and "type" in first


def _nested(kind: Kind) -> Kind:
    return "reasoning" if kind == "reasoning" else "other"
