"""Scorers: what counts as one, and how its parameters are bound."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from llmguard_middleware import ConfigurationError, Score, Scorer, ScorerError, ScorerInputError, scorer
from llmguard_middleware._scorer import bind, check_name


@scorer
def length(output: str, style: str = "plain") -> dict[str, Any]:
    """A function scorer."""
    return {"length": len(output), "style": style}


@scorer(name="tone", cheap=True, reach=4)
async def async_tone(text: str) -> bool:
    """An async function scorer with options."""
    return "!" in text


@scorer
class Counting:
    """A class that becomes a scorer."""

    def score(self, text: str) -> int:
        """How long."""
        return len(text)


class Mapped(Scorer):
    """A scorer class with a base."""

    def score(self, prompt: str, reference: str = "") -> bool:
        """Whether the prompt is the reference."""
        return prompt == reference


def test_a_decorated_function_is_still_that_function() -> None:
    """@scorer keeps a function callable, with its name and docstring."""
    assert length("abc") == {"length": 3, "style": "plain"}
    assert (length.__name__, length.__doc__, length.name) == ("length", "A function scorer.", "length")  # type: ignore[attr-defined]


def test_score_normalises() -> None:
    """.score(...) of a function scorer gives a Score."""
    raw = {"length": 3, "style": "noir"}
    assert length.score("abc", style="noir") == Score(value=3.0, metadata=raw, result=raw)


async def test_score_of_an_async_function_is_awaitable() -> None:
    """.score(...) of an async function scorer gives an awaitable Score."""
    assert await async_tone.score("ha!") == Score(flagged=True, result=True)


def test_options_of_the_decorator_stay_on_the_scorer() -> None:
    """name, cheap and reach are attributes of what @scorer(...) makes."""
    assert (async_tone.name, async_tone.cheap, async_tone.reach) == ("tone", True, 4)


def test_a_decorated_class_is_that_class_marked() -> None:
    """@scorer on a class returns it, with a name."""
    assert Counting.name == "Counting"  # type: ignore[attr-defined]
    assert bind(Counting())({"text": "abc"}) == 3


def test_parameters_are_filled_by_name() -> None:
    """A scorer gets what it asks for, its own defaults where the call has nothing, and no more."""
    assert bind(length)({"output": "abc", "text": "x"}) == {"length": 3, "style": "plain"}
    assert bind(length)({"output": "abc", "style": "noir"}) == {"length": 3, "style": "noir"}


def test_column_map_renames() -> None:
    """column_map fills a parameter from another name of the call."""
    assert bind(Mapped(column_map={"prompt": "user_input"}))({"user_input": "a", "reference": "a"}) is True


def test_keyword_parameters_take_everything() -> None:
    """A scorer with **rest gets all that the call has."""

    def everything(text: str, **rest: Any) -> Any:
        return text, rest

    assert bind(everything)({"text": "a", "output": "b"}) == ("a", {"output": "b"})


def test_missing_input_says_what_there_is() -> None:
    """A scorer that asks for something else than the call has is told what the call has, by name only."""
    with pytest.raises(ScorerInputError) as caught:
        bind(Mapped())({"text": "user text", "inputs": {}, 3: "odd"})
    assert str(caught.value) == (
        'scorer "Mapped" asks for "prompt", which this call does not have; it has: 3, inputs, text. '
        'Rename with column_map={"prompt": "<one of these>"} or give the parameter a default'
    )


class AsyncCallable:
    """An object that is called as an async function is."""

    async def __call__(self, text: str) -> bool:
        """Whether there is any."""
        return bool(text)


@pytest.mark.parametrize(
    ("candidate", "is_async"),
    [
        (length, False),
        (async_tone, True),
        (Counting(), False),
        (AsyncCallable(), True),
        (functools.partial(async_tone.function), True),
        (functools.partial(length.function, style="x"), False),
    ],
)
def test_async_scorers_are_recognised(candidate: Any, is_async: bool) -> None:
    """Functions, objects, callable objects and partials: all are known for what they are."""
    assert bind(candidate).is_async is is_async


def test_a_lambda_goes_by_the_name_of_its_rule() -> None:
    """A lambda has no usable name, so its rule's name names it too."""
    assert bind(lambda text: not text, "my-rule").name == "my-rule"


@pytest.mark.parametrize("name", ["", " ", "-a", "_a", "a b", "a.b", "a\n", "한글", None, 3])
def test_a_name_is_letters_digits_dash_and_underscore(name: Any) -> None:
    """Every other name is refused, with one that would do."""
    with pytest.raises(
        ConfigurationError, match=r'(?s)^rule name ".*" is not usable: start with a letter or digit and use'
    ):
        check_name(name, "rule")


@pytest.mark.parametrize("name", ["a", "A-1_b", "0", "x" * 200])
def test_a_good_name_is_returned(name: str) -> None:
    """A usable name comes back."""
    assert check_name(name, "rule") == name


class WithoutScore(Scorer):
    """A subclass that forgot score()."""


def positional(text: str, /) -> bool:
    """A function that cannot be bound by name."""
    return bool(text)


@pytest.mark.parametrize(
    ("candidate", "sentence"),
    [
        (Counting, r"^Counting is a class; pass an instance: Counting\(\)$"),
        (3, r"^int is not a scorer: pass a function or an object with a score\(\.\.\.\) method$"),
        (None, r"^NoneType is not a scorer"),
        (WithoutScore(), r"^WithoutScore is not a scorer"),
        (positional, r'^scorer "positional" has positional-only parameters; remove the "/" so that'),
        (max, r'^the parameters of scorer "max" cannot be read; wrap it in a function'),
        (lambda text: True, r'^scorer name "<lambda>" is not usable: .* for example name="lambda"$'),
        (
            Mapped(column_map={"promt": "x"}),
            r'^column_map of scorer "Mapped" names "promt", which is not one of its parameters: prompt, reference$',
        ),
    ],
)
def test_what_is_no_scorer_is_refused(candidate: Any, sentence: str) -> None:
    """Each mistake is one ConfigurationError with one sentence that says what to write instead."""
    with pytest.raises(ConfigurationError, match=sentence):
        bind(candidate)


def test_a_class_without_score_is_refused_by_the_decorator() -> None:
    """@scorer on a class without score(...) raises at once."""

    class Empty:
        pass

    with pytest.raises(ConfigurationError, match=r"^@scorer class Empty has no score\(\.\.\.\) method; add one$"):
        scorer(Empty)


def test_a_function_scorer_that_returns_nonsense_raises() -> None:
    """.score(...) raises ScorerError for what is no score."""
    with pytest.raises(ScorerError, match='scorer "nonsense" returned str'):
        scorer(name="nonsense")(lambda: "high").score()
