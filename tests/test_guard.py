"""Guard: the rules that belong together, checked when it is made."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard_middleware import (
    ConfigurationError,
    Finding,
    Guard,
    Guardrail,
    Monitor,
    Score,
    TextSpan,
    UnenforceableError,
    Verdict,
    scorer,
)
from llmguard_middleware._edits import Edit
from llmguard_middleware.scorers import pii, prompt_injection, secrets
from llmguard_middleware.testing import Flags


@scorer
def truthful(text: str, question: str) -> bool:
    """A scorer that needs more than the text."""
    return question not in text


@pytest.mark.parametrize(
    ("rules", "options", "sentence"),
    [
        (
            (Flags(),),
            {},
            r'Flags is not a rule: wrap a scorer as Guardrail\(scorer, stage="input"\) or Monitor\(scorer\)',
        ),
        ((Guardrail,), {}, "type is not a rule: .*"),
        (
            (Guardrail(Flags(), stage="input"), Monitor(Flags())),
            {},
            'two rules are called "flags"; give one of them another name, for example name="flags-2"',
        ),
        ((), {"name": "my guard"}, 'guard name "my guard" is not usable: .* for example name="my-guard"'),
        (
            (),
            {"unenforceable": "warning"},
            'unknown unenforceable "warning" in Guard: did you mean "warn"\\? Known: raise, warn',
        ),
    ],
)
def test_a_mistake_in_a_guard_is_told_at_once(rules: Any, options: Any, sentence: str) -> None:
    """Each mistake is a ConfigurationError of one sentence, when the guard is made."""
    with pytest.raises(ConfigurationError, match=f"^{sentence}$"):
        Guard(*rules, **options)


async def test_an_unknown_stage_is_refused() -> None:
    """Check and acheck name the stages there are."""
    sentence = '^unknown stage "inputs": did you mean "input"\\? Known: input, output, retrieval, .*$'
    with pytest.raises(ConfigurationError, match=sentence):
        Guard().check("x", stage="inputs")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=sentence):
        await Guard().acheck("x", stage="inputs")  # type: ignore[arg-type]


def test_check_returns_the_whole_verdict() -> None:
    """check() gives outcome, text, findings with their scores, edits, and whose policy it was."""
    guard = Guard(Guardrail(pii("EMAIL_ADDRESS"), stage="input", action="redact"), name="web")
    verdict = guard.check("mail a@b.co", stage="input")
    score = Score(value=1.0, flagged=True, label="EMAIL_ADDRESS", spans=(TextSpan(5, 11, "EMAIL_ADDRESS"),))
    finding = Finding("pii", "redact", "redacted", score, seconds=verdict.findings[0].seconds)
    assert verdict == Verdict(
        "redacted",
        "input",
        "mail a@b.co",
        (finding,),
        (Edit(5, 11, "<EMAIL_ADDRESS>"),),
        "web",
        guard.digest,
    )
    assert verdict.guarded == "mail <EMAIL_ADDRESS>"


def test_only_rules_of_the_stage_are_run() -> None:
    """A guardrail judges its own stage only."""
    guard = Guard(Guardrail(Flags(), stage="output"))
    assert guard.check("x", stage="input") == Verdict("passed", "input", "x", guard="default", digest=guard.digest)


def test_inputs_are_there_for_scorers() -> None:
    """What a scorer asks for besides the text comes from `inputs`."""
    guard = Guard(Guardrail(truthful, stage="output"))
    assert guard.check("an answer", stage="output", inputs={"question": "q"}).outcome == "blocked"
    assert guard.check("a q answer", stage="output", inputs={"question": "q"}).outcome == "passed"


def test_roles_decide_which_rules_apply() -> None:
    """Redaction covers every message; blocking what users and tools say, not system or assistant."""
    block, redact = Guardrail(Flags(), stage="input"), Guardrail(pii(), stage="input", action="redact")
    guard = Guard(block, redact)
    assert guard.rules("input") == guard.rules("input", role="tool") == (block, redact)
    assert guard.rules("input", role="system") == guard.rules("input", role="assistant") == (redact,)


def test_the_digest_is_the_policy() -> None:
    """Equal rules give equal digests, in any process; every change of a rule gives another."""
    base = Guard(Guardrail(Flags(), stage="input")).digest
    assert Guard(Guardrail(Flags(), stage="input"), name="other").digest == base
    others = [
        Guard(),
        Guard(Guardrail(Flags(), stage="output")),
        Guard(Guardrail(Flags(), stage="input", action="log")),
        Guard(Guardrail(Flags(), stage="input", on_error="allow")),
        Guard(Guardrail(Flags(), stage="input", timeout=1)),
        Guard(Guardrail(Flags(), stage="input", name="x")),
        Guard(Guardrail(Flags(name="x"), stage="input", name="flags")),
        Guard(Monitor(Flags())),
        Guard(Monitor(Flags(), sample=0.5)),
    ]
    digests = {base, *(guard.digest for guard in others)}
    assert len(digests) == 1 + len(others)
    assert all(len(digest) == 12 and int(digest, 16) >= 0 for digest in digests)


def test_without_leaves_the_guard_as_it_was() -> None:
    """without() gives a guard that lacks the rules and shares the rest; the original keeps them."""
    block, log = Guardrail(Flags(), stage="input"), Guardrail(Flags(name="b"), stage="input", action="log")
    guard = Guard(block, log)
    rest = guard.without([block])
    assert (rest.rules("input"), guard.rules("input")) == ((log,), (block, log))
    assert (rest.digest, rest.emitter, rest.workers) == (guard.digest, guard.emitter, guard.workers)


def test_unenforceable_rules_are_refused() -> None:
    """refuse() raises for a rule that acts, and names where it would be enforced."""
    guard = Guard(Guardrail(pii(), stage="output", action="redact"))
    with pytest.raises(UnenforceableError) as caught:
        guard.refuse(guard.rules("output"), "A callback", "use protect(model, guard)")
    assert str(caught.value) == (
        'A callback cannot enforce guardrail "pii" (redact at the output stage): use protect(model, guard), '
        'or build the guard with unenforceable="warn" to go on without it'
    )


def test_unenforceable_rules_may_be_warned_about() -> None:
    """With unenforceable="warn" refuse() warns, once for each acting rule."""
    rules = (Guardrail(pii(), stage="output", action="redact"), Guardrail(Flags(), stage="output"))
    guard = Guard(*rules, unenforceable="warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        guard.refuse(rules, "A callback", "use protect")
    assert [str(w.message).split(" (")[0] for w in caught] == [
        'A callback cannot enforce guardrail "pii"',
        'A callback cannot enforce guardrail "flags"',
    ]


def test_shadow_rules_are_never_unenforceable() -> None:
    """A rule that only logs asks for nothing that an attachment point could fail to do."""
    guard = Guard(Guardrail(Flags(), stage="output", action="log"))
    guard.refuse(guard.rules("output"), "A callback", "use protect")


def test_a_guard_shows_its_rules() -> None:
    """The repr of a guard names rules and guard."""
    guard = Guard(Guardrail(pii(), stage="input"), Monitor(Flags()), name="web")
    assert repr(guard) == "Guard(pii, flags, name='web')"


everything = Guard(
    Guardrail(prompt_injection(), stage="input", action="log"),
    Guardrail(pii(), stage="input", action="redact"),
    Guardrail(secrets(), stage="input", action="redact"),
)


@settings(max_examples=200)
@given(st.text())
def test_redaction_is_complete(text: str) -> None:
    """What redaction leaves holds nothing that it would redact again, for any text."""
    verdict = everything.check(text, stage="input")
    assert everything.check(verdict.guarded, stage="input").edits == ()
