"""Scorers: what counts as one, and how its parameters are bound."""

from __future__ import annotations

import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard_middleware import ConfigurationError, Score, Scorer, ScorerError, ScorerInputError, TextSpan, scorer
from llmguard_middleware._score import as_score
from llmguard_middleware._scorer import bind, check_name
from llmguard_middleware.scorers import pii


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
    assert (length.__name__, length.__doc__, length.name) == ("length", "A function scorer.", "length")  # type: ignore[attr-defined]  # a function


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
    assert Counting.name == "Counting"  # type: ignore[attr-defined]  # given by the decorator
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


def test_keyword_parameters_take_what_can_be_a_name() -> None:
    """A call's inputs may be called by what is no text; a scorer with **rest goes without these."""
    assert bind(lambda **rest: rest, "all")({"text": "a", 3: "odd"}) == {"text": "a"}


def test_column_map_may_name_what_keyword_parameters_take() -> None:
    """A scorer with **rest takes any name, so column_map may rename to any; then the call must have it."""

    @scorer(column_map={"prompt": "user_input"})
    def everything(**rest: Any) -> Any:
        return rest["prompt"]

    assert bind(everything)({"user_input": "a"}) == "a"
    with pytest.raises(ScorerInputError, match=r'^scorer "everything" asks for "user_input", which this call does not'):
        bind(everything)({"text": "a"})


def test_extra_arguments_win() -> None:
    """Extra values go to the parameters of their names, whatever column_map and the call say."""
    bound = bind(Mapped(column_map={"prompt": "user_input", "reference": "style"}))
    call = {"user_input": "a", "style": "b"}
    assert bound(call, {"reference": "a"}) is True
    assert bound(call, {"prompt": "b"}) is True
    assert bound({}, {"prompt": "b", "reference": "b"}) is True
    assert bound(call, {}) is False
    assert bind(lambda **rest: rest, "all")(call, {"style": "c", "new": 1}) == {**call, "style": "c", "new": 1}


@pytest.mark.parametrize("extra", [{"user_input": "user text"}, {3: "user text"}])
def test_an_unknown_extra_is_told(extra: Any) -> None:
    """An extra that is no parameter of the scorer is an error that names those there are, and no value."""
    bound = bind(Mapped(column_map={"prompt": "user_input"}))
    with pytest.raises(ScorerInputError) as caught:
        bound({"user_input": "a"}, extra)
    (given,) = extra
    assert str(caught.value) == f'scorer "Mapped" has no parameter "{given}": Known: prompt, reference'


NAMES = st.dictionaries(st.sampled_from(["text", "output", "prompt", "question", "context", "style"]), st.integers())


@given(NAMES, NAMES)
def test_any_subset_of_names_will_do(available: dict[str, int], extra: dict[str, int]) -> None:
    """Whatever a call has and a caller adds: extra wins, then the call, then the default; nothing else is passed."""

    def asks(text: int = -1, output: int = -2, *, prompt: int = -3, question: int = -4) -> dict[str, int]:
        return {"text": text, "output": output, "prompt": prompt, "question": question}

    defaults = asks()
    bound = bind(asks)
    if strangers := extra.keys() - defaults.keys():
        with pytest.raises(ScorerInputError, match=r"Known: text, output, prompt, question$"):
            bound(available, extra)
    known = {key: value for key, value in extra.items() if key not in strangers}
    assert bound(available, known) == {key: {**available, **known}.get(key, defaults[key]) for key in defaults}


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
        (
            scorer(name="rest")(lambda *texts: True),
            r'^scorer "rest" takes positional arguments only; name what it asks',
        ),
        (Mapped(column_map=[("prompt", "x")]), r'^column_map of scorer "Mapped" is no mapping; write'),  # type: ignore[arg-type]
        (Mapped(column_map={"prompt": 3}), r'^column_map of scorer "Mapped" maps a text to a text; write'),  # type: ignore[dict-item]
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


def read(raw: Any) -> Score:
    """What a scorer that is called directly returned, as a score."""
    return as_score(raw, "s")


def plain(text: str) -> bool:
    """A scorer that is a mere function."""
    return "@" in text


class Later:
    """An async scorer class without a base or a decorator."""

    async def score(self, text: str) -> bool:
        """Whether there is an address."""
        return "@" in text


async def test_a_scorer_works_without_a_guard() -> None:
    """Functions, classes and built-in scorers, sync and async, are called by themselves, by name or position."""
    text = "mail to a@example.com"
    found = [
        plain(text),
        read(scorer(plain).score(text=text)).flagged,
        (await async_tone.score(text=text + "!")).flagged,
        await Later().score(text=text),
        pii().score(text=text).flagged,
        read(Counting().score(text)).value == len(text),
    ]
    assert found == [True] * 6
    assert pii().score(text=text).spans == (TextSpan(8, 21, "EMAIL_ADDRESS"),)


def test_one_scorer_serves_many_threads() -> None:
    """One scorer object, bound by two rules and called directly, gives the same score in all threads at once."""
    shared = pii()
    bindings = [bind(shared), bind(shared)]
    texts = [f"{'x' * i} {i}@example.com" for i in range(200)]
    everybody = threading.Barrier(4)

    def score(index: int) -> list[Any]:
        everybody.wait(30)
        return [bindings[index % 2]({"text": text}).spans if index < 3 else shared.score(text).spans for text in texts]

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(score, range(4))
    assert [spans[0].start for spans in first] == [i + 1 for i in range(200)]
    assert others == [first] * 3
