"""A prompt with places for what a call has, filled in a single pass: what is put in is never looked at again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..._call import Message
from ...errors import ConfigurationError
from ._render import rendered

__all__ = ["Template"]

_PLACE = re.compile(r"\{\{|\}\}|\{([^{}\n]*)\}|\{")
_PATH = re.compile(r"([^\W\d]\w*)((?:\.[^\W\d]\w*|\[-?\d+\])*)\Z")
_STEP = re.compile(r"\.(\w+)|\[(-?\d+)\]")
_ROLES = ("system", "user", "assistant", "tool")
_EXAMPLE = 'for example "Is {output} a truthful answer to {question}?"'


class _Place(NamedTuple):
    """Where something is put: `name` in the call, and the steps into it."""

    name: str
    steps: tuple[str | int, ...]


class Filled(NamedTuple):
    """A prompt, and what of it is the call's and not the application's own words."""

    prompt: str
    given: str


class Template:
    """A prompt and the names of the call's values that it asks for.

    `{name}` stands for a value of the call, `{name.key}` and `{name[0]}` for what that holds, `{messages.user}` for all
    that users say in it; `{{` and `}}` stand for braces.

    Attributes:
        names: what it asks for, in order.

    Raises:
        ConfigurationError: if it is no text, asks for nothing, or has a brace that opens no name.
    """

    def __init__(self, text: str) -> None:
        given: object = text
        if not isinstance(given, str) or not given.strip():
            msg = f"the prompt of a judge is a text that names what it is about, {_EXAMPLE}"
            raise ConfigurationError(msg)
        self._parts = tuple(_parts(text))
        self.names = tuple(dict.fromkeys(part.name for part in self._parts if isinstance(part, _Place)))
        if not self.names:
            msg = f"the prompt of a judge names nothing of the call; put in what is to be judged, {_EXAMPLE}"
            raise ConfigurationError(msg)
        if "call" in self.names:
            msg = "the prompt of a judge asks for {call}, which is no text; name what it holds, for example {output}"
            raise ConfigurationError(msg)

    def fill(self, values: Mapping[str, Any]) -> Filled:
        """The prompt with these values, which has one for each of `names`.

        Raises:
            LookupError: if a value does not have what a place steps into.
        """
        told, given = [], []
        for part in self._parts:
            if isinstance(part, _Place):
                given.append(rendered(_reached(values[part.name], part.steps)))
                told.append(given[-1])
            else:
                told.append(part)
        return Filled("".join(told), "\n".join(given))


def _parts(text: str) -> Iterator[str | _Place]:
    at = 0
    for found in _PLACE.finditer(text):
        yield text[at : found.start()]
        at = found.end()
        yield found[0][0] if found[0] in ("{{", "}}") else _place(found[1])
    yield text[at:]


def _place(inside: str | None) -> _Place:
    path = None if inside is None else _PATH.match(inside)
    if path is None:
        what = "a brace that is not closed" if inside is None else f'"{{{inside}}}"'
        msg = f'the prompt of a judge has {what}; write {{name}} for a value of the call and "{{{{" for a brace'
        raise ConfigurationError(msg)
    steps = tuple(name or int(index) for name, index in _STEP.findall(path[2]))
    return _Place(path[1], steps)


def _reached(value: Any, steps: Sequence[str | int]) -> Any:
    """What lies there: keys of mappings, items of sequences, messages of a role. A prompt reads no attributes."""
    for step in steps:
        value = _step(value, step)
    return value


def _step(value: Any, step: str | int) -> Any:
    if isinstance(value, Mapping):
        return value[step]
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        if isinstance(step, int):
            return value[step]
        if step in _ROLES and value and all(isinstance(one, Message) for one in value):
            return [one.text for one in value if one.role == step]
    raise LookupError(step)
