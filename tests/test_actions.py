"""Actions: what takes the place of a flagged text, with their options and the mistakes one can make."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard_middleware import (
    Action,
    Block,
    ConfigurationError,
    Encrypt,
    Guard,
    Guardrail,
    GuardrailViolation,
    Hash,
    Log,
    Mask,
    Reask,
    Redact,
    Replace,
    Score,
    TextSpan,
    scorer,
)
from llmguard_middleware._actions import ACTIONS
from llmguard_middleware.scorers import pii
from llmguard_middleware.testing import Flags, Returns

KEY = "k" * 16


def edited(action: Any, text: str = "call 12345678 or 12345678", when: str = "12345678") -> str:
    """What an input rule makes of a text that holds numbers."""
    guard = Guard(Guardrail(Flags(when=when, kind="PHONE"), stage="input", action=action))
    return guard.check(text, stage="input").guarded


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("redact", "call <PHONE> or <PHONE>"),
        (Redact(), "call <PHONE> or <PHONE>"),
        ("mask", "call ******** or ********"),
        (Mask(char="#"), "call ######## or ########"),
        (Mask(keep_last=3), "call *****678 or *****678"),
        (Mask(keep_last=4), "call ******** or ********"),
        (Mask(keep_last=100), "call ******** or ********"),
        ("replace", "[removed]"),
        (Replace("No."), "No."),
        (Replace(""), ""),
        ("log", "call 12345678 or 12345678"),
        (Log(), "call 12345678 or 12345678"),
    ],
)
def test_what_each_action_makes_of_a_text(action: Any, expected: str) -> None:
    """Words and objects, with and without options."""
    assert edited(action) == expected


@pytest.mark.parametrize("action", ["block", Block(), "redact"])
def test_blocking_stops_and_editing_does_not(action: Any) -> None:
    """A blocked text is not changed, an edited one passes."""
    verdict = Guard(Guardrail(Flags(when="x"), stage="input", action=action)).check("x", stage="input")
    assert verdict.stops == (verdict.outcome == "blocked") == (action != "redact")


def test_a_hash_tells_values_apart_by_the_key_alone() -> None:
    """The same value has the same digest, another another; with another key all are others; bytes and text are one."""
    one = edited(Hash(key=KEY))
    first, second = re.findall(r"<PHONE:([a-z2-7]{16})>", one)
    assert first == second
    assert edited(Hash(key=KEY)) == one == edited(Hash(key=KEY.encode()))
    assert edited(Hash(key="l" * 16)) != one
    assert edited(Hash(key=KEY), "12345679", "12345679") != f"<PHONE:{first}>"


@given(st.text(min_size=1))
def test_a_hash_is_of_one_form(value: str) -> None:
    """Any text has a digest of letters and the digits 2 to 7, and the value is not in it."""
    assert re.fullmatch("<K:[a-z2-7]{16}>", Hash(key=KEY).replacement("K", value, None))


def test_who_has_the_key_gets_the_original_back() -> None:
    """What is encrypted shows nothing, each time something else; decrypt() undoes it with the same key alone."""
    encrypt = Encrypt(key=KEY)
    one, two = edited(encrypt), edited(encrypt)
    first, second = re.findall(r"<PHONE:([a-p]{64,})>", one)
    assert len({first, second, *re.findall(r"<PHONE:([a-p]{64,})>", two)}) == 4
    assert encrypt.decrypt(one) == encrypt.decrypt(two) == "call 12345678 or 12345678"
    assert Encrypt(key=KEY.encode()).decrypt(one) == encrypt.decrypt(one)
    assert Encrypt(key="l" * 16).decrypt(one) == one
    for other in (one.replace("PHONE", "EMAIL"), one.upper(), f"<PHONE:{'a' * 64}>", "<PHONE>", "<PHONE:>"):
        assert encrypt.decrypt(other) == other


@settings(deadline=None)  # the first loads the cipher
@given(st.text(), st.sampled_from(["K", "a b", "A:B", "\ud800"]), st.sampled_from([16, 24, 32]))
def test_any_text_can_be_encrypted(value: str, kind: str, size: int) -> None:
    """Half a surrogate pair as well; what comes of it holds nothing that a scan takes for a number."""
    encrypt = Encrypt(key=b"k" * size)
    told = encrypt.replacement(kind, value, None)
    assert re.fullmatch(f"<{kind}:[a-p]+>", told)
    assert encrypt.decrypt(f"<{told}>") == f"<{value}>"


@pytest.mark.parametrize(
    "action", [Mask(keep_last=2), Hash(key=KEY), Encrypt(key=KEY), Replace("x"), Reask(attempts=2), Block(), Log()]
)
def test_actions_are_values(action: Action) -> None:
    """They are equal if they do the same, can be pickled, and show no key."""
    assert pickle.loads(pickle.dumps(action)) == action
    assert KEY not in repr(action)


MISTAKES: list[tuple[Any, str]] = [
    (lambda: Hash(key="short"), 'action "hash" needs a secret key of at least 16 bytes: action=Hash(key=...)'),
    (lambda: Hash(key=7), 'action "hash" needs a secret key of at least 16 bytes: action=Hash(key=...)'),  # type: ignore[arg-type]
    (
        lambda: Encrypt(key=KEY + "k"),
        'action "encrypt" needs a secret key of 16, 24 or 32 bytes: action=Encrypt(key=...)',
    ),
    (lambda: Mask(char="**"), "char of Mask is '**'; give one character"),
    (lambda: Mask(char=""), "char of Mask is ''; give one character"),
    (lambda: Mask(char=1), "char of Mask is int; give a text"),  # type: ignore[arg-type]
    (lambda: Mask(keep_last=-1), "keep_last of Mask is -1; give a whole number, 0 or more"),
    (lambda: Replace(None), "text of Replace is NoneType; give a text"),  # type: ignore[arg-type]
    (lambda: Reask(attempts=0), "attempts of Reask is 0; give a whole number, 1 or more"),
    (lambda: Reask(feedback=1), "feedback of Reask is int; give a text"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("make", "sentence"), MISTAKES)
def test_mistakes_in_options_are_told_in_a_sentence(make: Any, sentence: str) -> None:
    """When the action is made."""
    with pytest.raises(ConfigurationError) as raised:
        make()
    assert str(raised.value) == sentence


@pytest.mark.parametrize(
    ("action", "stage", "sentence"),
    [
        ("hash", "input", 'action "hash" of rule "flags" needs a secret key: action=Hash(key=...)'),
        ("encrypt", "input", 'action "encrypt" of rule "flags" needs a secret key: action=Encrypt(key=...)'),
        ("redcat", "input", 'unknown action "redcat" in rule "flags": did you mean "redact"?'),
        (Redact, "input", "unknown action"),
        (None, "input", 'unknown action "None" in rule "flags"'),
        ("reask", "input", 'rule "flags" cannot reask at the input stage: only an answer can be asked for again'),
    ],
)
def test_mistakes_in_a_rules_action_are_told_in_a_sentence(action: Any, stage: Any, sentence: str) -> None:
    """When the rule is made; what there is, is listed."""
    with pytest.raises(ConfigurationError) as raised:
        Guardrail(Flags(when="x"), stage=stage, action=action)
    assert str(raised.value).startswith(sentence)


def test_every_word_is_an_action() -> None:
    """The words are block, redact, mask, hash, encrypt, pseudonymize, replace, reask and log."""
    assert sorted(ACTIONS) == ["block", "encrypt", "hash", "log", "mask", "pseudonymize", "reask", "redact", "replace"]


def test_the_strictest_acts_where_matches_overlap() -> None:
    """Redact, hash, encrypt, pseudonymize, mask, in this order; the kind is that of the match that starts first."""
    text = "abcdef"
    spans = {"A": (0, 4), "B": (2, 6)}

    def both(first: Any, second: Any) -> str:
        rules = [
            Guardrail(
                Returns(Score(flagged=True, spans=(TextSpan(*spans[kind], kind),)), cheap=True),
                stage="input",
                name=kind,
                action=action,
            )
            for kind, action in zip("AB", (first, second), strict=True)
        ]
        return Guard(*rules).check(text, stage="input").guarded

    assert both("mask", "redact") == "<A>"
    assert both("redact", "mask") == "<A>"
    assert re.fullmatch("<A:[a-z2-7]+>", both("mask", Hash(key=KEY)))
    assert re.fullmatch("<A:[a-z2-7]+>", both(Encrypt(key=KEY), Hash(key=KEY)))
    assert re.fullmatch("<A:[a-p]+>", both("pseudonymize", Encrypt(key=KEY)))
    assert re.fullmatch("<A_1_[0-9a-f]{8}>", both("mask", "pseudonymize"))
    assert re.fullmatch("<A:[a-z2-7]+>", both("pseudonymize", Hash(key=KEY)))
    assert both("mask", "mask") == "******"


def test_replacing_wins_over_every_edit_of_spans() -> None:
    """Of several that replace the text, the earliest does."""
    flags = Flags(when="x")
    guard = Guard(
        Guardrail(flags, stage="input", name="a", action="redact"),
        Guardrail(flags, stage="input", name="b", action=Replace("first")),
        Guardrail(flags, stage="input", name="c", action=Replace("second")),
    )
    verdict = guard.check("x y", stage="input")
    assert verdict.guarded == "first"
    assert verdict.outcome == "replaced"


@pytest.mark.parametrize("action", ["redact", "mask", "pseudonymize", Hash(key=KEY), Encrypt(key=KEY)])
def test_a_score_that_does_not_say_where_edits_everything(action: Any) -> None:
    """Without spans the whole text is the match, of the rule's name."""
    guarded = edited(action, "so secret", "")
    assert "secret" not in guarded


def test_a_scorers_own_text_takes_the_place_of_the_whole() -> None:
    """A score with a modified text and no spans gives that text to an editing rule; a blocking rule ignores it."""
    proposes = Returns({"flagged": True, "modified_output": "better"})
    assert Guard(Guardrail(proposes, stage="input", action="redact")).check("bad", stage="input").guarded == "better"
    assert Guard(Guardrail(proposes, stage="input")).check("bad", stage="input").stops


def proposing(word: str, instead: str) -> Any:
    """A scorer that flags texts with this word and proposes them without it."""

    @scorer(name=f"no-{word}")
    def proposes(text: str) -> dict[str, Any]:
        return {"flagged": word in text, "modified": text.replace(word, instead)}

    return proposes


@pytest.mark.parametrize("mode", ["check", "acheck"])
@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_a_scorers_own_text_is_as_the_other_rules_let_it_pass(mode: str, order: tuple[int, ...]) -> None:
    """What one rule proposes for the whole undoes no redaction of another, nor what a third proposes."""
    rules = [
        Guardrail(proposing("Kim", "{NAME}"), stage="input", action="redact"),
        Guardrail(Flags(when="900101"), stage="input", action="redact"),
        Guardrail(proposing("Seoul", "{CITY}"), stage="input", action="redact"),
    ]
    guard = Guard(*(rules[index] for index in order))
    given = "Kim, 900101, Seoul"
    verdict = guard.check(given, stage="input") if mode == "check" else await guard.acheck(given, stage="input")
    assert verdict.guarded == "{NAME}, <FAKE>, {CITY}"
    assert [finding.outcome for finding in verdict.findings] == ["redacted"] * 3


def test_what_a_scorer_proposes_is_judged_by_all_rules_that_act() -> None:
    """Also by those that had nothing against the original: nobody has seen the new text."""
    proposes = Guardrail(proposing("rewrite", "Kim is toxic"), stage="input", action="redact")
    redacts = Guardrail(Flags(when="Kim"), stage="input", action="redact", name="names")
    blocks = Guardrail(Flags(when="toxic"), stage="input", name="tone")
    assert Guard(proposes, redacts).check("rewrite", stage="input").guarded == "<FAKE> is toxic"
    verdict = Guard(proposes, redacts, blocks).check("rewrite", stage="input")
    assert (verdict.stops, verdict.cause.rule) == (True, "tone")
    assert Guard(proposes, redacts, blocks).check("Kim", stage="input").guarded == "<FAKE>"


def test_a_fixed_text_is_the_whole_whatever_a_scorer_proposes() -> None:
    """`Replace` first, or one that still flags what was proposed."""
    fixed = Guardrail(Flags(when="x"), stage="input", action=Replace("Gone."))
    proposes = Guardrail(proposing("Kim", "{NAME}"), stage="input", action="redact")
    assert Guard(fixed, proposes).check("Kim x", stage="input").guarded == "Gone."
    assert Guard(proposes, fixed).check("Kim x", stage="input").guarded == "Gone."


def test_a_rule_that_fails_on_what_was_proposed_stops_the_call() -> None:
    """As it would on the original: what could not be judged does not pass."""

    @scorer
    def fragile(text: str) -> dict[str, Any]:
        if "{NAME}" in text:
            raise RuntimeError
        return {"flagged": True, "spans": [(0, 1, "FIRST")]}

    guard = Guard(
        Guardrail(proposing("Kim", "{NAME}"), stage="input", action="redact"),
        Guardrail(fragile, stage="input", action="redact"),
    )
    verdict = guard.check("Kim", stage="input")
    assert (verdict.outcome, verdict.stops, verdict.cause.rule) == ("error", True, "fragile")


def test_a_shadow_rule_says_what_would_have_been() -> None:
    """action="log" records the flag and changes nothing, whatever another rule does."""
    guard = Guard(
        Guardrail(Flags(when="x"), stage="input", action="log", name="shadow"),
        Guardrail(Flags(when="y"), stage="input", action="redact", name="real"),
    )
    verdict = guard.check("x y", stage="input")
    assert verdict.guarded == "x <FAKE>"
    assert [finding.outcome for finding in verdict.findings] == ["flagged", "redacted"]


@pytest.mark.parametrize(("attempts", "calls"), [(1, 2), (3, 4)])
def test_reask_ends_in_a_block(attempts: int, calls: int) -> None:
    """A function that never learns is asked `attempts` times again, told why, and then stopped."""
    why = Returns({"flagged": True, "reason": "It shouts."})
    guard = Guard(Guardrail(why, stage="output", action=Reask(feedback="Be kind.", attempts=attempts)))
    told: list[str] = []

    @guard.op
    def answer(question: str, feedback: str = "") -> str:
        """Shouts."""
        told.append(feedback)
        return "AH"

    with pytest.raises(GuardrailViolation):
        answer("x")
    assert told == ["", *["Be kind. It shouts."] * (calls - 1)]


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_an_encrypted_stream_is_that_of_the_whole(sizes: list[int]) -> None:
    """However the answer is cut; and a second scan finds nothing in it."""
    encrypt = Encrypt(key=KEY)
    guard = Guard(Guardrail(pii(), stage="output", action=encrypt), name="g")
    answer = "mail a@b.co, 전화 010-1234-5678로 " * 3

    @guard.op
    def stream(text: str) -> Iterator[str]:
        """In pieces of these sizes."""
        at = turn = 0
        while at < len(text):
            yield text[at : at + sizes[turn % len(sizes)]]
            at, turn = at + sizes[turn % len(sizes)], turn + 1

    told = "".join(stream(answer))
    assert not pii().score(told).flagged
    assert re.findall("<([A-Z_]+):[a-p]+>", told) == ["EMAIL_ADDRESS", "PHONE_NUMBER"] * 3
    assert encrypt.decrypt(told) == answer


def test_reask_without_anybody_to_ask_is_a_block() -> None:
    """A function that takes no feedback, or check(), is stopped at once; so is one that another rule stopped."""
    asks = Guardrail(Flags(when="bad"), stage="output", action="reask", name="asks")
    assert Guard(asks).check("bad", stage="output").stops
    guard = Guard(Guardrail(Flags(when="bad", name="stops", cheap=True), stage="output"), asks)
    calls: list[int] = []

    @guard.op
    def answer(question: str, feedback: str = "") -> str:
        """Bad."""
        calls.append(1)
        return "bad"

    with pytest.raises(GuardrailViolation):
        answer("x")
    assert len(calls) == 1
