"""What a judge's reply says: strictly, so that a score is never invented.

The grammar. A reply is read if it holds exactly one answer: a JSON object (RFC 8259, line breaks in texts allowed) with
the key `score`, a number or a text that is one, or `label`, one of those it was given. The object is

1. the whole reply, or all that stands in a fence of three backticks; or
2. somewhere in a chatty reply; then it has its `reasoning` too; or
3. with the extra `judge`, any of these in JSON that is slightly wrong and that `json-repair` can mend, if the key is
   there once, what follows it is complete and the object is closed: what was cut off is none.

Several objects must say the same, and so must any other score, rating or grade in the object, and any number that the
prose around it states as one. An object that is word for word in what was to be judged is no answer but an echo.
All else is no score, and a sentence without a word of the reply says why.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from ..._checks import is_number
from ._repair import repaired
from ._scale import Labels, Place, Scale

__all__ = ["Reading", "Unread", "read"]

_MOST = 50_000  # characters; an answer is a few hundred
_TRIES = 50  # braces that open no JSON
_RATING = re.compile(r"score|rating|grade")
_REASONS = ("reasoning", "reason", "explanation")
_FENCE = re.compile(r"```[\w-]*[ \t]*\n(.*?)```", re.DOTALL)
_NUMBER = r"[*\"'\u201c\u201d\u2018\u2019`(\[]*(-?\d+(?:[.,]\d+)?)"
_STATED = re.compile(
    rf"(?:score|rating|grade|점수|평점)\W{{0,6}}(?:(?:is|of|was|be|는|은|가|:|=)\W{{0,4}})*{_NUMBER}"
    r"|(\d+(?:[.,]\d+)?)\s*(?:/|out of|점)",
    re.IGNORECASE,
)


class Reading(NamedTuple):
    """What a reply says: where on the scale, the answer as it was given, and why."""

    place: Place
    answer: float | str
    reasoning: str
    mended: bool


class Unread(NamedTuple):
    """Why a reply says nothing: a word for programs, and a sentence."""

    reason: str
    sentence: str


class _Object(NamedTuple):
    """A JSON object in a reply: its pairs, where it is, and whether it stands alone."""

    pairs: Sequence[tuple[str, Any]]
    start: int
    end: int
    alone: bool

    def has(self, key: str) -> bool:
        """Whether it has this key, in whatever case."""
        return any(one.casefold() == key for one, _ in self.pairs)


def read(reply: Any, scale: Scale, material: str) -> Reading | Unread:
    """What this reply says on this scale, or why it says nothing; `material` is what was to be judged."""
    if isinstance(reply, Mapping):  # structured output, parsed by whoever made it
        given = [(key, value) for key, value in reply.items() if isinstance(key, str)]
        return _answer([_Object(given, 0, 0, alone=True)], scale, "", mended=False)
    text = reply.strip().removeprefix("\ufeff") if isinstance(reply, str) else ""
    if not text or len(text) > _MOST:
        return _no_text(reply)
    found = [one for one in _objects(text) if one.has(scale.key)]
    mended = None if found else repaired(text, scale)
    if mended is not None:
        start, end, pairs = mended
        found = [_Object(pairs, start, end, alone=(start, end) in _places(text))]
    answers = [one for one in found if one.alone or _reasoning(one.pairs)]
    if not answers:
        return Unread("no_answer", f'the reply holds no JSON object with a "{scale.key}" that can be read')
    if any(_squeezed(text[one.start : one.end]) in _squeezed(material) for one in answers):
        return Unread("echo", "the reply repeats what was to be judged")
    return _answer(answers, scale, _around(text, answers), mended=mended is not None)


def _no_text(reply: Any) -> Unread:
    if not isinstance(reply, str):
        return Unread("not_text", "the reply is neither a text nor an object")
    if len(reply) > _MOST:
        return Unread("too_long", f"the reply is longer than {_MOST} characters")
    return Unread("empty", "the reply is empty")


def _answer(objects: Sequence[_Object], scale: Scale, around: str, *, mended: bool) -> Reading | Unread:
    """What these objects say together."""
    given = [value for one in objects for key, value in one.pairs if key.casefold() == scale.key]
    if not given:
        return Unread("no_answer", f'the reply holds no "{scale.key}"')
    places = [scale.place(value) for value in given]
    if wrong := next((place for place in places if isinstance(place, str)), None):
        return Unread("not_on_scale", f"the reply was read and {wrong}")
    first = places[0]
    assert isinstance(first, Place)
    answer: float | str = first.label if isinstance(scale, Labels) else float(given[0])
    prose = () if isinstance(answer, str) else _stated(around)
    if (
        any(place != first for place in places)
        or _says_otherwise(objects, scale, answer, first)
        or any(number != answer for number in prose)
    ):
        return Unread("contradictory", "the reply says several things that differ")
    reasoning = next(filter(None, (_reasoning(one.pairs) for one in objects)), "")
    return Reading(first, answer, reasoning, mended)


def _says_otherwise(objects: Sequence[_Object], scale: Scale, answer: float | str, place: Place) -> bool:
    """Whether a number beside the answer that goes by a name such as "rating" is another.

    Beside a label it may be what the label stands for.
    """
    own = place.value if isinstance(scale, Labels) else answer
    beside = [value for one in objects for key, value in one.pairs if _RATING.search(key.casefold())]
    return any(is_number(value) and value != own for value in beside)


def _stated(prose: str) -> Iterator[float]:
    for found in _STATED.finditer(prose):
        yield float((found[1] or found[2]).replace(",", "."))


def _reasoning(pairs: Sequence[tuple[str, Any]]) -> str:
    said = next((value for key, value in pairs if key.casefold() in _REASONS and value), "")
    if isinstance(said, list):
        said = "\n".join(one for one in said if isinstance(one, str))
    return said.strip() if isinstance(said, str) else ""


def _around(text: str, objects: Sequence[_Object]) -> str:
    """What stands outside the objects."""
    kept, at = [], 0
    for one in objects:
        kept.append(text[at : one.start])
        at = one.end
    return "\n".join([*kept, text[at:]])


def _squeezed(text: str) -> str:
    return "".join(text.split())


# Finding JSON


def _objects(text: str) -> Iterator[_Object]:
    """The JSON objects in a text that are no part of another, be that broken."""
    places = _places(text)
    at = tries = depth = 0
    while tries < _TRIES and (start := text.find("{", at)) >= 0:
        depth = max(0, depth - text.count("}", at, start))
        try:
            pairs, end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            tries, depth, at = tries + 1, depth + 1, start + 1
            continue
        if depth == 0:
            yield _Object(pairs, start, end, alone=(start, end) in places)
        at = end


def _places(text: str) -> set[tuple[int, int]]:
    """From where to where an object stands alone: in the whole text, and in fences."""
    places = {(0, len(text))}
    for found in _FENCE.finditer(text):
        inside = found[1]
        start = found.start(1) + len(inside) - len(inside.lstrip())
        places.add((start, start + len(inside.strip())))
    return places


def _no_constant(_: str) -> NoReturn:
    msg = "NaN and Infinity are no JSON"
    raise ValueError(msg)


class _Pairs(list[tuple[str, Any]]):
    """An object with its keys as they came, twice if they came twice."""


_DECODER = json.JSONDecoder(object_pairs_hook=_Pairs, parse_constant=_no_constant, strict=False)
