"""topics: what a text must not be about, or what it must be about."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from .._score import Score
from .._scorer import Scorer
from ..errors import ConfigurationError, nearest
from ._lower import lower
from ._topics._lexicon import TOPICS, WITHIN, Lexicon, words_of

__all__ = ["Topics", "topics"]

_ELSEWHERE: Final = "off_topic"
Words = Mapping[str, float]
Classify = Callable[[str], Mapping[str, float]]


class Topics(Scorer):
    """Flags texts about a topic that is forbidden, or about none of those that are allowed; label says which."""

    def __init__(
        self, forbidden: Mapping[str, Words], allowed: Mapping[str, Words], classify: Classify | None, **limits: Any
    ) -> None:
        super().__init__(name="topics")
        by = getattr(classify, "__qualname__", type(classify).__name__)
        self.options = repr((sorted(forbidden.items()), sorted(allowed.items()), by, limits))
        self._forbidden, self._allowed, self._classify = tuple(forbidden), tuple(allowed), classify
        self._threshold, self._least = limits["threshold"], limits["least"]
        self._lexicon = Lexicon({**forbidden, **allowed})
        self.cheap = classify is None  # type: ignore[misc]  # a class attribute in the base; a callable may do anything
        if self.cheap and not allowed:
            self.extent = WITHIN  # what says that a text is off topic is all of it

    def score(self, text: str) -> Score:
        """How much speaks for the likeliest forbidden topic, from 0 to 1; of allowed ones alone, how little for any."""
        found = self._lexicon.find(lower(text)) if self._classify is None else self._classify(text)
        says = {name: min(1.0, float(found.get(name, 0.0))) for name in (*self._forbidden, *self._allowed)}
        there = [name for name in self._forbidden if says[name] >= self._threshold]
        value = max((says[name] for name in self._forbidden), default=0.0)
        if self._allowed and sum(map(str.isalnum, text)) >= self._least:
            best = max(says[name] for name in self._allowed)
            if best < self._threshold:
                there.append(_ELSEWHERE)
            value = max(value, 1.0 - best)
        metadata = {"topics": {name: round(much, 3) for name, much in says.items() if much}}
        return Score(value=round(value, 3), flagged=bool(there), label=",".join(there), metadata=metadata)


def topics(
    forbidden: Sequence[str] | Mapping[str, Any] = (),
    allowed: Sequence[str] | Mapping[str, Any] = (),
    *,
    threshold: float = 1.0,
    least: int = 40,
    classify: Classify | None = None,
    embed: Callable[[list[str]], Sequence[Sequence[float]]] | None = None,
) -> Topics:
    """Find what a text is about, by words that tell it, in English and Korean; no model, no network.

        topics(["politics", "gambling"])
        topics({"rivals": ["Globex", "글로벡스"], "prices": {"discount": 0.5, "할인": 0.5}})
        topics(allowed={"cooking": ["recipe", "oven", "요리"]})

    Words know no meaning: a topic that is spoken of in other words is missed. With `classify` or `embed`, a model of
    yours decides in their place.

    Args:
        forbidden: topics, by the names of built-in ones (politics, religion, violence, weapons, drugs, adult,
            self_harm, gambling, medical, legal, investment), or with words of your own, each with how much it says (1
            if nothing is said; what is found within 2,000 characters adds up).
        allowed: likewise; a text that is about none of these is flagged as "off_topic".
        threshold: how much must speak for a topic, above 0 and at most 1.
        least: letters and digits below which a text cannot be off topic: "Hello!" is about nothing.
        classify: takes a text, returns how much speaks for each topic, from 0 to 1. Then topics may have any names.
        embed: takes texts, returns a vector for each. Then the words of a topic are examples of it, and what speaks for
            it is the cosine of the nearest one; give a threshold, 0.5 for example.

    Raises:
        ConfigurationError: if no topic is given, a name is unknown, or a setting is out of its range.
    """
    if classify is not None and embed is not None:
        msg = "topics() takes classify or embed; give one of them"
        raise ConfigurationError(msg)
    free = classify is not None
    banned, wanted = _topics("forbidden", forbidden, free=free), _topics("allowed", allowed, free=free)
    if not banned and not wanted:
        msg = f'topics() needs topics, for example topics(["politics"]). Known: {", ".join(TOPICS)}'
        raise ConfigurationError(msg)
    if both := sorted(banned.keys() & wanted.keys()):
        msg = f'topic "{both[0]}" is both forbidden and allowed; leave one of them out'
        raise ConfigurationError(msg)
    given: object = threshold
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 < given <= 1:
        msg = f"threshold is {threshold!r}; it must be a number above 0 and at most 1"
        raise ConfigurationError(msg)
    few: object = least
    if isinstance(few, bool) or not isinstance(few, int) or few < 0:
        msg = f"least is {least!r}; it must be a whole number of letters from 0 up"
        raise ConfigurationError(msg)
    if embed is not None:
        classify = _Nearest({**banned, **wanted}, embed)
    return Topics(banned, wanted, classify, threshold=float(given), least=few)


def _topics(name: str, given: Any, *, free: bool) -> dict[str, Words]:
    said = f'{name} must name topics, for example {name}=["politics"] or {name}={{"rivals": ["Globex"]}}'
    if isinstance(given, Mapping):
        return {_name(topic, said): _weights(str(topic), words) for topic, words in given.items()}
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ConfigurationError(said)
    found: dict[str, Words] = {}
    for topic in given:
        if free:
            found[_name(topic, said)] = {}
        elif not isinstance(topic, str) or topic not in TOPICS:
            msg = f"topics() knows no topic {topic!r}: {nearest(str(topic), TOPICS)}"
            raise ConfigurationError(msg)
        else:
            found[topic] = words_of(topic)
    return found


def _name(topic: object, said: str) -> str:
    if not isinstance(topic, str) or not topic.strip() or topic == _ELSEWHERE:
        raise ConfigurationError(said)
    return topic


def _weights(topic: str, words: Any) -> Words:
    if words is None and topic in TOPICS:  # `politics:` in a file
        return words_of(topic)
    several = isinstance(words, (Mapping, Sequence)) and not isinstance(words, str)
    pairs: Any = (
        list(words.items()) if isinstance(words, Mapping) else [(word, 1.0) for word in words] if several else []
    )
    if not pairs or not all(isinstance(word, str) and word.strip() and _is_weight(much) for word, much in pairs):
        msg = f'topic "{topic}" needs words, for example ["Globex"], or words and weights, {{"discount": 0.5}}'
        raise ConfigurationError(msg)
    return {word.strip(): float(much) for word, much in pairs}


def _is_weight(much: object) -> bool:
    return isinstance(much, (int, float)) and not isinstance(much, bool) and 0 < much <= 1


class _Nearest:
    """What speaks for a topic: the cosine between the text and the nearest of the topic's examples."""

    def __init__(self, topics: Mapping[str, Words], embed: Callable[[list[str]], Sequence[Sequence[float]]]) -> None:
        self._examples = {name: list(words) for name, words in topics.items()}
        self._embed = embed
        self._vectors: dict[str, list[Sequence[float]]] = {}

    def __call__(self, text: str) -> Mapping[str, float]:
        if not self._vectors:
            every = [example for examples in self._examples.values() for example in examples]
            vectors = iter([_unit(vector) for vector in self._embed(every)])
            self._vectors = {name: [next(vectors) for _ in examples] for name, examples in self._examples.items()}
        (vector,) = self._embed([text])
        here = _unit(vector)
        return {
            name: max((sum(a * b for a, b in zip(here, one, strict=True)) for one in vectors), default=0.0)
            for name, vectors in self._vectors.items()
        }


def _unit(vector: Sequence[float]) -> Sequence[float]:
    numbers = [float(one) for one in vector]
    length = math.sqrt(sum(one * one for one in numbers)) or 1.0
    return [one / length for one in numbers]
