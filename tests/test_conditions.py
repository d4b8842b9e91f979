"""Conditions: when a score counts as flagged, and what is allowed all the same."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard_middleware import ConfigurationError, Guard, Guardrail, Score, ScorerError, VerdictCache
from llmguard_middleware.scorers import pii
from llmguard_middleware.testing import Flags, Returns


def outcome(score: Any, **options: Any) -> str:
    """What a blocking rule with these conditions makes of this score."""
    return Guard(Guardrail(Returns(score, cheap=True), stage="input", **options)).check("x", stage="input").outcome


@pytest.mark.parametrize(
    ("value", "options", "expected"),
    [
        (0.5, {"above": 0.5}, "passed"),
        (0.51, {"above": 0.5}, "blocked"),
        (0.5, {"below": 0.5}, "passed"),
        (0.49, {"below": 0.5}, "blocked"),
        (0.5, {"above": 0.9, "below": 0.1}, "passed"),
        (0.95, {"above": 0.9, "below": 0.1}, "blocked"),
        (0.05, {"above": 0.9, "below": 0.1}, "blocked"),
        (0.0, {"above": 0}, "passed"),
        (-1.0, {"below": 0}, "blocked"),
        (float("inf"), {"above": 1e308}, "blocked"),
        (0.5, {"above": 0.9, "when": lambda score: score.value == 0.5}, "blocked"),
        (0.5, {"when": lambda score: False}, "passed"),
    ],
)
def test_thresholds_are_strict_and_any_of_them_flags(value: float, options: dict[str, Any], expected: str) -> None:
    """Above and below are greater and less than; `when` is a third way."""
    assert outcome(value, **options) == expected


@given(st.floats(allow_nan=False), st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_thresholds_flag_what_numbers_say(value: float, above: float, below: float) -> None:
    """For all numbers."""
    flagged = value > above or value < below
    assert (outcome(value, above=above, below=below) == "blocked") == flagged


def test_a_condition_overrules_the_scorers_word() -> None:
    """With a condition the scorer's own flag does not count."""
    assert outcome(Score(value=0.1, flagged=True), above=0.5) == "passed"
    assert outcome(Score(value=0.9, flagged=False), above=0.5) == "blocked"
    assert outcome(Score(flagged=True), when=lambda score: False) == "passed"


def test_a_threshold_without_a_value_is_an_error() -> None:
    """A scorer that gives no number cannot be compared: the rule failed, it did not pass."""
    verdict = Guard(Guardrail(Returns(True, cheap=True), stage="input", above=0.5)).check("x", stage="input")
    assert verdict.outcome == "error"
    assert str(verdict.findings[0].error) == 'scorer "returns" gave no value to compare with a threshold'
    assert isinstance(verdict.findings[0].error, ScorerError)


@pytest.mark.parametrize("error", [ValueError, StopIteration, RecursionError])
def test_a_predicate_that_raises_is_an_error_of_its_rule(error: type[Exception]) -> None:
    """A mistake in `when` is not a pass."""

    def broken(score: Score) -> bool:
        raise error

    assert outcome(0.5, when=broken) == "error"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"above": "1"}, "above of rule \"returns\" is '1'; give a number to compare the score's value with"),
        ({"below": True}, 'below of rule "returns" is True; give a number to compare the score\'s value with'),
        ({"when": 1}, 'when of rule "returns" is int; give a function of the Score that returns a bool'),
        (
            {"allow": "a@b.co"},
            'allow of rule "returns" takes a list of texts and compiled patterns, for example allow=["a@b.com"]',
        ),
        (
            {"allow": [1]},
            'allow of rule "returns" takes a list of texts and compiled patterns, for example allow=["a@b.com"]',
        ),
    ],
)
def test_mistakes_are_told_when_the_rule_is_made(options: dict[str, Any], sentence: str) -> None:
    """Each is a ConfigurationError of one sentence."""
    with pytest.raises(ConfigurationError) as raised:
        Guardrail(Returns(1), stage="input", **options)
    assert str(raised.value) == sentence


class Fields(NamedTuple):
    """A value and no verdict, as an object."""

    value: float = 0.9
    flagged: bool | None = None


@pytest.mark.parametrize(
    "raw", [0.99, 1, {}, {"score": 0.99}, {"is_toxic": True}, {"flagged": None}, {"passed": None}, Fields()], ids=repr
)
@pytest.mark.parametrize("action", ["block", "redact", "replace"])
def test_a_value_without_a_verdict_is_an_error_of_a_rule_that_acts(raw: Any, action: str) -> None:
    """With nothing to compare it with, such a rule would let everything pass."""
    guard = Guard(Guardrail(Returns(raw, cheap=True), stage="output", name="tox", action=action))
    verdict = guard.check("x", stage="output")
    assert (verdict.outcome, verdict.stops) == ("error", True)
    assert str(verdict.cause.error) == (
        'scorer "returns" gave a value and no verdict; give the guardrail above= or below=, or return "flagged"'
    )


@pytest.mark.parametrize(
    ("raw", "options"),
    [
        (0.1, {"above": 0.5}),
        (0.1, {"below": 0.0}),
        ({}, {"when": lambda score: False}),
        (False, {}),
        (Score(value=0.9), {}),
        ({"score": 0.9, "flagged": False}, {}),
        ({"score": 0.9, "passed": True}, {}),
        ({"score": 0.9, "spans": []}, {}),
        (Fields(flagged=False), {}),
    ],
)
def test_what_says_a_verdict_or_is_compared_is_none(raw: Any, options: dict[str, Any]) -> None:
    """A condition, `flagged`, `passed` and `spans` decide; a Score is taken as it is; a cached score likewise."""
    assert outcome(raw, **options) == "passed"
    guard = Guard(Guardrail(Returns(raw), stage="input", cache=VerdictCache(), **options))
    assert [guard.check("x", stage="input").outcome for _ in range(2)] == ["passed"] * 2


def test_a_shadow_rule_needs_no_verdict() -> None:
    """What only records may record values alone."""
    assert outcome(0.99, action="log") == "passed"


def redacted(text: str, *allow: Any) -> str:
    """The text after personal data was removed, except what is allowed."""
    return Guard(Guardrail(pii(), stage="input", action="redact", allow=allow)).check(text, stage="input").guarded


def test_allowed_values_stay() -> None:
    """A value is compared as a whole and without case; all other matches are edited."""
    text = "to Info@Firm.example and me@firm.example"
    assert redacted(text, "info@firm.example") == "to Info@Firm.example and <EMAIL_ADDRESS>"
    assert redacted(text, "firm.example", "info@firm") == "to <EMAIL_ADDRESS> and <EMAIL_ADDRESS>"


def test_allowed_patterns_stay() -> None:
    """A pattern must match the whole of the match, in its own case."""
    text = "to Info@Firm.example and me@firm.example"
    assert redacted(text, re.compile(r".*@firm\.example")) == "to <EMAIL_ADDRESS> and me@firm.example"
    assert redacted(text, re.compile(r".*@firm\.example", re.IGNORECASE)) == text
    assert redacted(text, re.compile("firm")) == "to <EMAIL_ADDRESS> and <EMAIL_ADDRESS>"


def test_a_text_whose_matches_are_all_allowed_passes() -> None:
    """The rule has not flagged then; also a rule that blocks."""
    guard = Guard(Guardrail(pii(), stage="input", allow=["a@b.co"]))
    assert guard.check("mail a@b.co", stage="input").outcome == "passed"
    assert guard.check("mail a@b.co c@d.eu", stage="input").outcome == "blocked"


def test_a_whole_text_is_allowed_where_the_scorer_does_not_say_where() -> None:
    """Without spans the text itself is compared."""
    guard = Guard(Guardrail(Flags(when=""), stage="input", allow=["Good Morning", re.compile(r"\d+")]))
    said = [guard.check(text, stage="input").outcome for text in ("good morning", "42", "good morning!", "4 2")]
    assert said == ["passed", "passed", "blocked", "blocked"]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_what_only_begins_like_an_allowed_value_is_removed_from_a_stream(size: int) -> None:
    """A longer match that starts as an allowed one is edited whole, however the answer is cut."""
    guard = Guard(Guardrail(pii(), stage="output", action="redact", allow=["a@b.co"]))

    @guard.op
    def stream(text: str) -> Any:
        """In pieces."""
        yield from (text[at : at + size] for at in range(0, len(text), size))

    text = "x " * 30 + "a@b.com and a@b.co " + "y " * 40
    assert "".join(stream(text)) == text.replace("a@b.com", "<EMAIL_ADDRESS>")
