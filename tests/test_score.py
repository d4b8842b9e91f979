"""Score: how whatever a scorer returns becomes one measurement."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
        ({"label": None, "reason": None}, Score(result={"label": None, "reason": None})),
        ({"label": "x", "reason": "y"}, Score(label="x", explanation="y", result={"label": "x", "reason": "y"})),
        ({"unscored": True, "score": 1}, Score(unscored=True, result={"unscored": True, "score": 1})),
        ({"spans": [(0, 2, "K")]}, Score(spans=(TextSpan(0, 2, "K"),), result={"spans": [(0, 2, "K")]})),
        ({"spans": None, "metadata": None}, Score(result={"spans": None, "metadata": None})),
        ({"metadata": {"m": 1}, "x": "y"}, Score(metadata={"m": 1, "x": "y"}, result={"metadata": {"m": 1}, "x": "y"})),
    ],
)
def test_every_usual_result_is_read(raw: Any, score: Score) -> None:
    """A bool is a flag, a number a value, and a dict is read by the names that scorers use."""
    assert as_score(raw, "s") == score


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
