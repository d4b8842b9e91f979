"""prompt_injection: attempts to override the instructions of an application, direct or inside documents."""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from operator import itemgetter
from os import PathLike, fspath
from typing import Any, Final, NamedTuple

from .._score import Score, as_score, says_verdict
from .._scorer import BoundScorer, Scorer, bind
from ..errors import ConfigurationError
from ._injection._about import share
from ._injection._classifier import Classifier
from ._injection._groups import ONLY_BESIDE, group_of
from ._injection._marks import MARKS
from ._injection._outline import Outline
from ._injection._plain import plain, readings
from ._injection._signals import phrases_for

__all__ = ["AsyncJudgedInjection", "JudgedInjection", "ModelInjection", "PromptInjection", "prompt_injection"]

_TEXT_NAMES: Final = frozenset(("text", "output", "input", "prompt", "question"))
_BARE: Final = 0.5  # a judge that returns a number, and no verdict, means yes from here on
_STRETCH, _LONGEST = 300, 80  # words that are looked at together, and those of the longest phrase
_WORDS_APART, _APART = 50, 300  # as close as that, the same family is found once
_BEYOND_DOUBT: Final = 3.5  # so much is no report
_WITHIN: Final = 70  # words in which signals count together; a long document says much that is harmless
_EXTENT: Final = 2000  # characters, as good as always more than that many words


class PromptInjection(Scorer):
    """Flags a text that tries to override instructions; label is the family of what says most."""

    name = "prompt_injection"
    cheap = True
    extent: int | None = _EXTENT

    def __init__(self, threshold: float) -> None:
        super().__init__(name="prompt_injection")
        self.threshold = threshold
        self.options = f"{threshold:g}"

    def score(self, text: str) -> Score:
        """Value from 0 to 1: the sum of the weights of what is found close together."""
        return self.local(text)

    def local(self, text: str) -> Score:
        """What phrases and structure say, without asking anybody."""
        lower = plain(text)
        words = Outline(lower)
        best, label = _strongest(words, lower)
        if best < 1:
            for disguise, reading in readings(text, lower, words):
                value, family = _strongest(Outline(reading), reading)
                # Who takes the pains to hide such words means them.
                if value >= min(1.0, self.threshold) and value > best:
                    best, label = value, f"{disguise}:{family}"
        value = min(1.0, round(best, 2))
        flagged = value >= self.threshold
        return Score(value=value, flagged=flagged, label=label if flagged else "")


class ModelInjection(PromptInjection):
    """The same; and what phrases do not flag, a classifier may."""

    cheap = False
    extent = None

    def __init__(self, threshold: float, classifier: Classifier, model_threshold: float, options: str) -> None:
        super().__init__(threshold)
        self._classifier, self._model_threshold = classifier, model_threshold
        self.options = options

    def setup(self) -> None:
        """Load the model."""
        self._classifier.load()

    def local(self, text: str) -> Score:
        """The greater of what phrases and the model say; what phrases flag, the model is not asked about."""
        said = super().local(text)
        if said.flagged:
            return said
        probability = self._classifier.probability(text)
        flagged = probability >= self._model_threshold
        value = max(said.value or 0.0, round(probability, 4))
        return replace(said, value=value, flagged=flagged, label="model" if flagged else "")


class JudgedInjection(Scorer):
    """The same; and where that is uncertain, a judge decides."""

    name = "prompt_injection"

    def __init__(self, first: PromptInjection, judge: BoundScorer, uncertain: tuple[float, float]) -> None:
        super().__init__(name="prompt_injection")
        self._first, self._judge, self._uncertain = first, judge, uncertain
        self._names = _names(judge)
        self.options = f"{first.options}; judge {judge.described}, {uncertain}"

    def setup(self) -> None:
        """Load the model, if there is one; the judge has a set-up of its own."""
        if isinstance(self._first, ModelInjection):
            self._first.setup()

    def score(self, text: str) -> Score:
        """What is found locally, or the judge's word on it."""
        said = self._first.local(text)
        return self._decided(said, self._judge.run(self._asked(text))) if self._is_uncertain(said) else said

    def _is_uncertain(self, said: Score) -> bool:
        low, high = self._uncertain
        return said.value is not None and low <= said.value < high

    def _asked(self, text: str) -> dict[str, Any]:
        """The text, by whichever name the judge asks for it."""
        return self._judge.arguments(dict.fromkeys(self._names, text))

    def _decided(self, said: Score, raw: Any) -> Score:
        judged = as_score(raw, self._judge.name)
        if judged.unscored:
            return Score.not_scored("this text is uncertain, and the judge could not score it")
        flagged = judged.flagged or (not says_verdict(raw) and (judged.value or 0.0) >= _BARE)
        label = judged.label or "judge"
        return replace(said, flagged=flagged, label=label if flagged else "", metadata={"judge": judged.value})


class AsyncJudgedInjection(JudgedInjection):
    """The same with a judge that has to be awaited."""

    async def score(self, text: str) -> Score:  # type: ignore[override]  # a scorer is sync or async, as its judge is
        """What is found locally, or the judge's word on it."""
        said = await asyncio.to_thread(self._first.local, text)
        if not self._is_uncertain(said):
            return said
        return self._decided(said, await self._judge.run(self._asked(text)))


class _Found(NamedTuple):
    at: int
    name: str
    weight: float


def _strongest(words: Outline, lower: str) -> tuple[float, str]:
    """The largest sum of weights of the families that are found within a stretch, and the heaviest of them."""
    found = list(_phrases(words.letters))
    lines = f"\n{lower}"  # so that each begins with one
    marks = [
        _Found(match.start(), mark.name, mark.weight)
        for mark in MARKS
        if mark.sign in lower and any(trigger in lower for trigger in mark.triggers)
        for match in _apart(mark.pattern, lines, _APART, mark.counts)
    ]
    places = _Places(words, lower)
    if marks:
        found += [one._replace(at=bisect_right(places.starts, one.at)) for one in marks]
    found.sort()
    return _heaviest(found, places)


class _Places:
    """Where in the text what is found stands, and how much of it counts there; few texts are asked about."""

    def __init__(self, words: Outline, lower: str) -> None:
        self._words, self._lower = words, lower
        self._shares: dict[tuple[int, bool], float] = {}

    @cached_property
    def starts(self) -> list[int]:
        """The place of each letter of the outline."""
        return self._words.starts()

    def counted(self, one: _Found) -> _Found:
        """What speaks of attacks says as much as they do, and means less."""
        order = one.weight >= 1
        if (one.at, order) not in self._shares:
            # A phrase may begin with the end of the sentence before it, hence the next word.
            place = self.starts[min(one.at + 1, len(self.starts) - 1)]
            self._shares[one.at, order] = share(self._lower, place, order=order)
        return one._replace(weight=one.weight * self._shares[one.at, order])


def _phrases(letters: str) -> Iterator[_Found]:
    """Where in an outline which families are: stretch by stretch, since few phrases can be in one."""
    for begin in range(0, len(letters), _STRETCH):
        end = begin + _STRETCH
        for phrase in phrases_for(frozenset(letters[begin : end + _LONGEST])):
            search = phrase.pattern.search
            match = search(letters, begin, end + _LONGEST)
            while match is not None and match.start() < end:
                yield _Found(match.start(), phrase.name, phrase.weight)
                match = search(letters, match.start() + _WORDS_APART, end + _LONGEST)


def _heaviest(found: list[_Found], places: _Places) -> tuple[float, str]:
    """The stretch that says most, and what of it weighs most."""
    best, label, first, most = 0.0, "", 0, 0.0
    for last, (at, _, weight) in enumerate(found):
        most += weight
        while at - found[first].at > _WITHIN:
            most -= found[first].weight
            first += 1
        if most <= best or (last + 1 < len(found) and found[last + 1].at - found[first].at <= _WITHIN):
            continue  # it cannot say more, or the next stretch has all of this one
        total, heaviest = _together(found[first : last + 1])
        if max(1.0, best) <= total < _BEYOND_DOUBT:
            total, heaviest = _together([places.counted(one) for one in found[first : last + 1]])
        if total > best:
            best, label = total, heaviest
            if best >= _BEYOND_DOUBT:
                break
    return best, label


def _together(found: list[_Found]) -> tuple[float, str]:
    """The sum of the groups' heaviest families, and the heaviest of all."""
    heaviest: dict[str, tuple[float, str]] = {}
    for _, name, weight in found:
        group = group_of(name)
        if group not in heaviest or heaviest[group][0] < weight:
            heaviest[group] = weight, name
    for group, others in ONLY_BESIDE.items():
        if group in heaviest and heaviest.keys().isdisjoint(others):
            del heaviest[group]
    if not heaviest:
        return 0.0, ""
    return sum([weight for weight, _ in heaviest.values()]), max(heaviest.values(), key=itemgetter(0))[1]


def _apart(
    pattern: re.Pattern[str], text: str, distance: int, counts: Callable[[re.Match[str]], bool]
) -> Iterator[re.Match[str]]:
    """Where the pattern matches and that counts; once is enough within a distance."""
    match = pattern.search(text)
    while match is not None:
        if counts(match):
            yield match
            match = pattern.search(text, match.start() + distance)
        else:
            match = pattern.search(text, match.end())


def prompt_injection(
    *,
    threshold: float = 1.0,
    model: str | PathLike[str] | None = None,
    labels: Sequence[str] = (),
    model_threshold: float = 0.5,
    judge: Any = None,
    uncertain: tuple[float, float] = (0.4, 1.0),
) -> PromptInjection | JudgedInjection:
    """Find attempts to override the application's instructions, by phrase and structure; no model, no network.

    For what users say (stage "input") and for what comes from elsewhere: documents ("retrieval") and results of tools
    ("tool_result"). English and Korean; letters of other scripts that look alike, characters that nobody sees, spread
    letters, Base64, hexadecimal, ROT13 and percent encoding are seen through.

    With a model or a judge it is no longer `cheap`: guards run it on a thread, or on the loop.

    Args:
        threshold: flagged from this value on, above 0 and at most 1. Lower finds more, and more that is harmless.
        model: a folder with a text classifier exported to ONNX (`model.onnx`, `tokenizer.json`, `config.json`), asked
            about what phrases do not flag; long texts in windows. Extra `[onnx]`; loaded by `setup()`.
        labels: the model's classes that are attacks; those called INJECTION, JAILBREAK, MALICIOUS and the like, unless
            said.
        model_threshold: flagged from this probability on, above 0 and at most 1.
        judge: a scorer, or a function of a text, sync or async: asked if the value is uncertain, and then it decides,
            a bare number from 0.5 on. If it cannot score, neither can this one.
        uncertain: from which value on and below which value that is.

    Raises:
        ConfigurationError: if a number is out of its range, the folder holds no such model, or the judge is no scorer.
    """
    _check("threshold", threshold)
    if model is None:
        first = PromptInjection(float(threshold))
    else:
        _check("model_threshold", model_threshold)
        options = f"{threshold:g}; model {fspath(model)}, {','.join(labels)}, {model_threshold:g}"
        classifier = Classifier(fspath(model), tuple(labels))
        first = ModelInjection(float(threshold), classifier, float(model_threshold), options)
    if judge is None:
        return first
    low, high = _band(uncertain)
    bound = bind(judge, "judge")
    return (AsyncJudgedInjection if bound.is_async else JudgedInjection)(first, bound, (low, high))


def _names(judge: BoundScorer) -> frozenset[str]:
    """What of a call the judge may ask for: a text. A function of one thing gets it, whatever it is called."""
    needed = [source for _, source, required in judge.parameters if required]
    if len(needed) <= 1:
        return _TEXT_NAMES.union(needed)
    if strange := [source for source in needed if source not in _TEXT_NAMES]:
        msg = f'judge "{judge.name}" asks for "{strange[0]}"; it is given the text alone, called "text" or "output"'
        raise ConfigurationError(msg)
    return _TEXT_NAMES


def _check(name: str, given: object) -> None:
    """A setting in a file may be anything."""
    if not isinstance(given, (int, float)) or isinstance(given, bool) or not 0 < given <= 1:
        msg = f"{name} is {given!r}; it must be a number above 0 and at most 1"
        raise ConfigurationError(msg)


def _band(given: object) -> tuple[float, float]:
    if isinstance(given, (tuple, list)) and len(given) == 2 and all(type(one) in (int, float) for one in given):  # noqa: PLR2004 - a pair
        low, high = given
        if 0 <= low < high <= 1:
            return float(low), float(high)
    msg = f"uncertain is {given!r}; give two numbers from 0 to 1, the lower one first, for example (0.4, 1.0)"
    raise ConfigurationError(msg)
