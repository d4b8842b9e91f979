"""The error tree: what each error is, says, and keeps to itself."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from llmguard_middleware import Finding, Guard, Guardrail, GuardrailViolation, Score, Verdict, errors, scorer
from llmguard_middleware.errors import nearest
from llmguard_middleware.testing import Flags, Raises

SECRET = "my password is 1234"


@scorer
def relevant(text: str, question: str) -> bool:
    """A scorer that needs a question."""
    return question in text


def violation(scorer: Any, **options: Any) -> GuardrailViolation:
    """What one guardrail raises for the secret."""
    return GuardrailViolation(
        Guard(Guardrail(scorer, stage="input", **options), name="web").check(SECRET, stage="input")
    )


def test_the_tree_is_as_drawn() -> None:
    """Each error has the bases that the module's docstring draws."""
    assert {name: getattr(errors, name).__mro__[1].__name__ for name in errors.__all__} == {
        "ConfigurationError": "LLMGuardError",
        "GuardrailViolation": "LLMGuardError",
        "LLMGuardError": "Exception",
        "ScorerError": "LLMGuardError",
        "ScorerInputError": "ScorerError",
        "ScorerServiceError": "ScorerError",
        "ScorerTimeoutError": "ScorerError",
        "ScorerUnavailableError": "ScorerError",
        "UnenforceableError": "ConfigurationError",
    }
    assert issubclass(errors.ConfigurationError, ValueError)


def test_a_violation_says_who_and_where() -> None:
    """A blocked call names guardrail, guard and stage, with a stable code, and is not worth a retry."""
    raised = violation(Flags(when="password"))
    assert str(raised) == 'guardrail "flags" of guard "web" blocked the input'
    assert raised.to_dict() == {
        "code": "blocked",
        "guard": "web",
        "guardrail": "flags",
        "message": 'guardrail "flags" of guard "web" blocked the input',
        "retryable": False,
        "stage": "input",
    }


def test_a_guardrail_that_failed_is_worth_a_retry() -> None:
    """A guardrail that could not judge stops the call with a code of its own; a foreign error is told by its type."""
    raised = violation(Raises(ValueError(SECRET)))
    assert str(raised) == 'guardrail "raises" could not judge the input, so the call was stopped: ValueError'
    assert (raised.code, raised.retryable) == ("guardrail_failed", True)


def test_a_scorer_that_asks_for_too_much_is_told_what_there_is() -> None:
    """A missing input is no passing trouble: the message lists what the call has, by name only."""
    raised = violation(relevant)
    assert str(raised) == (
        'guardrail "relevant" could not judge the input, so the call was stopped: scorer "relevant" asks for '
        '"question", which this call does not have; it has: text. '
        'Rename with column_map={"question": "<one of these>"} or give the parameter a default'
    )
    assert (raised.code, raised.retryable) == ("guardrail_failed", False)


def test_a_guardrail_out_of_time_says_so() -> None:
    """Our own errors are repeated in the violation."""
    finding = Finding(
        "slow", "block", "error", None, errors.ScorerTimeoutError('scorer "x" took longer than 2 s'), stops=True
    )
    raised = GuardrailViolation(Verdict("error", "output", SECRET, (finding,)))
    assert str(raised).endswith('so the call was stopped: scorer "x" took longer than 2 s')


def leaky(text: str) -> dict[str, Any]:
    """A scorer that quotes what it reads, everywhere it can."""
    return {
        "flagged": True,
        "score": 1,
        "reason": text,
        "spans": [(0, 2, "PW")],
        "quote": text,
        "metadata": {text: text},
    }


@pytest.mark.parametrize("make", [leaky, Raises(ValueError(SECRET)), Flags(when="password"), relevant])
def test_a_violation_pickles_and_keeps_content_to_itself(make: Any) -> None:
    """Through pickle or not, str, repr, args and to_dict hold no user content; the verdict in it has the text."""
    raised = violation(make)
    for one in (raised, pickle.loads(pickle.dumps(raised))):
        shown = f"{one} {one!r} {one.args} {json.dumps(one.to_dict())} {one.verdict!r}"
        assert "password" not in shown
        assert one.verdict.text == SECRET
        assert one.to_dict() == raised.to_dict()
        assert isinstance(one.verdict.cause.score, Score) or one.verdict.cause.error is not None


def test_the_cause_is_the_rule_that_stopped_the_call() -> None:
    """An earlier rule that failed but is allowed to is not blamed."""
    rules = (
        Guardrail(Raises(ValueError), stage="input", on_error="allow"),
        Guardrail(Flags(), stage="input"),
    )
    verdict = Guard(*rules).check("x", stage="input")
    assert verdict.cause.rule == "flags"
    assert GuardrailViolation(verdict).code == "blocked"


def test_the_nearest_word_is_suggested() -> None:
    """An error about an unknown word offers the closest known one, if any is close, and lists all."""
    assert nearest("blok", ["block", "log"]) == 'did you mean "block"? Known: block, log'
    assert nearest("x", ["block", "log"]) == "Known: block, log"
