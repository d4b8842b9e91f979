"""Score: how whatever a scorer returns becomes one measurement."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, RootModel

from llmguard_middleware import Score, ScorerError, TextSpan
from llmguard_middleware._score import as_score


@pytest.mark.parametrize(
    ("raw", "score"),
    [
        (True, Score(flagged=True, result=True)),
        (False, Score(result=False)),
        (3, Score(value=3.0, result=3)),
        (0.25, Score(value=0.25, result=0.25)),
        ({}, Score(result={})),
        ({"score": 2}, Score(value=2.0, result={"score": 2})),
        ({"value": 2}, Score(value=2.0, result={"value": 2})),
        ({"passed": False}, Score(flagged=True, result={"passed": False})),
        ({"passed": True}, Score(result={"passed": True})),
        ({"length": 7, "flagged": 1}, Score(7.0, True, metadata={"length": 7}, result={"length": 7, "flagged": 1})),
        ({"a": 1, "b": 2}, Score(metadata={"a": 1, "b": 2}, result={"a": 1, "b": 2})),
        ({"score": None, "value": 2}, Score(value=2.0, result={"score": None, "value": 2})),
        ({"flagged": None, "passed": False}, Score(flagged=True, result={"flagged": None, "passed": False})),
        ({"flagged": None}, Score(result={"flagged": None})),
        ({"label": None, "reason": None}, Score(result={"label": None, "reason": None})),
        ({"label": "x", "reason": "y"}, Score(label="x", explanation="y", result={"label": "x", "reason": "y"})),
        ({"unscored": True, "score": 1}, Score(unscored=True, result={"unscored": True, "score": 1})),
        (
            {"spans": [(0, 2, "K")]},
            Score(flagged=True, spans=(TextSpan(0, 2, "K"),), result={"spans": [(0, 2, "K")]}),
        ),
        ({"spans": None, "metadata": None}, Score(result={"spans": None, "metadata": None})),
        ({"metadata": {"m": 1}, "x": "y"}, Score(metadata={"m": 1, "x": "y"}, result={"metadata": {"m": 1}, "x": "y"})),
    ],
)
def test_every_usual_result_is_read(raw: Any, score: Score) -> None:
    """A bool is a flag, a number a value, and a dict is read by the names that scorers use."""
    assert as_score(raw, "s") == score


@pytest.mark.parametrize(
    ("raw", "explanation", "modified"),
    [
        ({"modified": "m"}, "", "m"),
        ({"modified": ""}, "", ""),
        ({"modified": None}, "", None),
        ({"modified_output": "m", "modified": None}, "", "m"),
        ({"metadata": {"modified": "m", "explanation": "e"}}, "e", "m"),
        ({"passed": False, "metadata": {"reason": "r", "modified_output": "m"}}, "r", "m"),
        ({"reason": "r", "modified": "m", "metadata": {"reason": "x", "modified_output": "x"}}, "r", "m"),
        ({"metadata": {"reason": 3, "explanation": "", "modified": True}}, "", None),
        ({"metadata": {"explanation": "", "reason": "r"}}, "r", None),
    ],
)
def test_an_explanation_and_a_modified_text_are_found_in_metadata_too(
    raw: Any, explanation: str, modified: str | None
) -> None:
    """Reason and modified text count at the top level, else in the metadata, where what is no text is a mere note."""
    score = as_score(raw, "s")
    assert (score.explanation, score.modified, score.metadata) == (explanation, modified, raw.get("metadata", {}))


class Model(BaseModel):
    """What a scorer with pydantic returns."""

    passed: bool = False
    score: float = 2.0
    metadata: dict[str, str] = {"reason": "r", "modified_output": "m"}
    spans: list[tuple[int, int, str]] = [(0, 1, "K")]
    style: str = "noir"


@dataclass(frozen=True)
class Data:
    """The same as a dataclass."""

    passed: bool = False
    score: float = 2.0
    metadata: dict[str, str] = field(default_factory=lambda: {"reason": "r", "modified_output": "m"})
    spans: tuple[tuple[int, int, str], ...] = ((0, 1, "K"),)
    style: str = "noir"


class Named(NamedTuple):
    """The same as a named tuple."""

    passed: bool = False
    score: float = 2.0
    metadata: Any = {"reason": "r", "modified_output": "m"}  # noqa: RUF012 - nobody changes it
    spans: tuple[tuple[int, int, str], ...] = ((0, 1, "K"),)
    style: str = "noir"


@pytest.mark.parametrize("raw", [Model(), Data(), Named()])
def test_an_object_is_read_by_its_fields(raw: Any) -> None:
    """A pydantic model, a dataclass and a named tuple are read as a dict is; `result` is the object itself."""
    metadata = {"style": "noir", "reason": "r", "modified_output": "m"}
    assert as_score(raw, "s") == Score(
        2.0, True, "", "r", (TextSpan(0, 1, "K"),), metadata=metadata, result=raw, modified="m"
    )
    assert as_score(raw, "s").result is raw


class bool_:  # noqa: N801 - as numpy's is called
    """A bool that is no bool and no number."""

    def __init__(self, truth: bool) -> None:
        self.truth = truth

    def __bool__(self) -> bool:
        return self.truth


@pytest.mark.parametrize(("said", "means"), [(True, True), (False, False), (1, True), (0, False), (bool_(True), True)])
def test_a_verdict_is_a_bool_or_as_good_as_one(said: Any, means: bool) -> None:
    """0, 1 and numpy's bools are read as the bools that they mean, in `flagged` and in `passed`."""
    assert as_score({"flagged": said}, "s").flagged is means
    assert as_score({"passed": said}, "s").flagged is not means


@pytest.mark.parametrize("said", ["false", "no", "", "0", 2, 0.5, [], b""])
@pytest.mark.parametrize("name", ["flagged", "passed"])
def test_a_verdict_that_is_no_bool_is_refused(name: str, said: Any) -> None:
    """The text "false" is true to Python; whoever returns it means something else."""
    with pytest.raises(ScorerError, match='"flagged" and "passed" are bools'):
        as_score({name: said}, "s")


def test_a_repr_quotes_nothing() -> None:
    """The repr of a score shows what was found, and nothing that may quote the scored text."""
    raw = {
        "flagged": True,
        "reason": "user text",
        "modified": "user text",
        "quote": "user text",
        "spans": [(0, 1, "K")],
    }
    assert repr(as_score(raw, "s")) == (
        "Score(value=None, flagged=True, label='', spans=(TextSpan(start=0, end=1, kind='K'),), unscored=False)"
    )


def test_a_score_stays_as_it_is() -> None:
    """A scorer that returns a Score is taken by its word."""
    score = Score(value=1.0, spans=(TextSpan(0, 1, "K"),), metadata={"a": 1})
    assert as_score(score, "s") == score


@pytest.mark.parametrize("raw", [math.nan, {"score": math.nan}, Score(value=math.nan)])
def test_nan_is_unscored(raw: Any) -> None:
    """NaN is no number: the score is unscored and has no value."""
    score = as_score(raw, "s")
    assert (score.unscored, score.value, score.flagged) == (True, None, False)


class Ambiguous:
    """A value that cannot be a truth value, like an array."""

    def __bool__(self) -> bool:
        msg = "ambiguous user text"
        raise ValueError(msg)


@pytest.mark.parametrize(
    "raw",
    [
        None,
        "text",
        b"",
        [],
        object(),
        10**400,
        {"score": "high"},
        {"score": "1 of user text"},
        {"spans": 3},
        {"spans": [(0, 1)]},
        {"spans": [("a", "b", "c")]},
        {"spans": [(2, 1, "K")]},
        {"spans": [(1, 1, "K")]},
        {"spans": [(-1, 1, "K")]},
        {"spans": [(0, 1, None)]},
        {"metadata": 3},
        {"flagged": Ambiguous()},
        {"passed": Ambiguous()},
        {"reason": Ambiguous()},
        {"modified": 3},
        {"modified_output": ["user text"]},
        {"metadata": ["user text"]},
        Score(modified=3),  # type: ignore[arg-type]
        RootModel[str]("user text"),
        Data,
        Model,
        TextSpan(0, 1, "K"),
        (False, 2.0),
        Score(spans=((0, 1),)),  # type: ignore[arg-type]
        Score(value="high"),  # type: ignore[arg-type]
    ],
)
def test_nonsense_is_a_scorer_error(raw: Any) -> None:
    """Whatever cannot be read is a ScorerError that names the scorer and quotes nothing of the value."""
    with pytest.raises(ScorerError, match='scorer "s" returned ') as caught:
        as_score(raw, "s")
    assert "user text" not in str(caught.value)


def test_plain_tuples_in_a_score_become_spans() -> None:
    """Spans given as plain tuples or a list are as good as TextSpans."""
    assert as_score(Score(spans=[(0, 1, "K")]), "s").spans == (TextSpan(0, 1, "K"),)  # type: ignore[arg-type]


def test_an_awaitable_is_refused_and_closed() -> None:
    """A sync function that returns a coroutine is told to be async, and the coroutine is not left unawaited."""

    async def late() -> bool:
        return True

    with pytest.raises(ScorerError, match='scorer "s" returned an awaitable; declare it with "async def"'):
        as_score(late(), "s")


def test_not_scored_is_not_zero() -> None:
    """not_scored() has an explanation and no value."""
    assert Score.not_scored("no reference") == Score(unscored=True, explanation="no reference")


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.dictionaries(st.text(), x) | st.lists(x)
    )
)
def test_reading_gives_a_score_or_a_scorer_error(raw: Any) -> None:
    """For every value there is: a Score whose value is a number or None, or a ScorerError."""
    try:
        score = as_score(raw, "s")
    except ScorerError:
        return
    assert isinstance(score, Score)
    assert score.value is None or not math.isnan(score.value)
