"""Guardrail and Monitor: a scorer and what to do with its score."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard_middleware import Breaker, ConfigurationError, Guard, Guardrail, Monitor, Scorer, VerdictCache, scorer
from llmguard_middleware._edits import Edit, Found, apply, edit_of, merge
from llmguard_middleware.scorers import pii
from llmguard_middleware.testing import Flags


@scorer
def length(output: str) -> int:
    """A scorer of answers."""
    return len(output)


class Tone(Scorer):
    """A scorer of answers that can be mapped."""

    def score(self, output: str) -> bool:
        """Whether it shouts."""
        return output.isupper()


def test_a_guardrail_blocks_by_default() -> None:
    """Without an action a guardrail blocks, and fails closed."""
    rule = Guardrail(Flags(), stage="input")
    assert (rule.action, rule.on_error, rule.acts, rule.edits, rule.name) == ("block", "block", True, False, "flags")


def test_a_shadow_rule_fails_open() -> None:
    """A guardrail that only logs never stops a call by failing, unless told to."""
    assert Guardrail(Flags(), stage="input", action="log").on_error == "allow"
    assert Guardrail(Flags(), stage="input", action="log", on_error="block").on_error == "block"


def test_a_rule_has_a_name_of_its_own() -> None:
    """`name` names the rule; the scorer keeps its name."""
    rule = Guardrail(Flags(), stage="input", name="first")
    assert (rule.name, rule.bound.name) == ("first", "flags")


def test_output_may_be_mapped_to_text() -> None:
    """A scorer of answers serves any stage once column_map maps its output to text."""
    assert Guardrail(Tone(column_map={"output": "text"}), stage="input").stage == "input"


def test_the_window_of_a_local_redaction_is_its_reach() -> None:
    """Only a cheap, sync, local scorer that redacts is run in a window; all others see the whole answer."""
    local = Guardrail(Flags(reach=13, cheap=True), stage="output", action="redact")
    assert local.window == 13
    assert Guardrail(pii(), stage="output").window is None
    assert Guardrail(Flags(cheap=True), stage="output", action="redact").window is None
    assert Guardrail(Flags(reach=4), stage="output", action="redact").window is None
    assert Guardrail(Flags(reach=4, cheap=True, use_async=True), stage="output", action="redact").window is None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"stage": "inptu"}, 'unknown stage "inptu" in rule "flags": did you mean "input"\\? Known: input, output, .*'),
        ({"stage": None}, 'unknown stage "None" in rule "flags": Known: .*'),
        (
            {"stage": "input", "action": "blok"},
            'unknown action "blok" .* did you mean "block"\\? Known: block, redact, .*',
        ),
        (
            {"stage": "input", "on_error": "alow"},
            'unknown on_error "alow" .* did you mean "allow"\\? Known: block, allow',
        ),
        ({"stage": "input", "name": "a b"}, 'rule name "a b" is not usable: .* for example name="a-b"'),
        ({"stage": "input", "timeout": -1}, 'timeout of rule "flags" is -1; give seconds greater than 0'),
        ({"stage": "input", "timeout": 0}, 'timeout of rule "flags" is 0; give seconds greater than 0'),
        ({"stage": "input", "timeout": math.nan}, 'timeout of rule "flags" is nan; give seconds greater than 0'),
        ({"stage": "input", "timeout": "5"}, "timeout of rule \"flags\" is '5'; give seconds greater than 0"),
        ({"stage": "input", "timeout": None}, 'timeout of rule "flags" is None; give seconds greater than 0'),
    ],
)
def test_a_mistake_in_a_guardrail_is_told_at_once(arguments: dict[str, Any], sentence: str) -> None:
    """Each mistake is a ConfigurationError of one sentence, when the rule is made."""
    with pytest.raises(ConfigurationError, match=f"^{sentence}$"):
        Guardrail(Flags(), **arguments)


@pytest.mark.parametrize("stage", ["input", "retrieval", "tool_call", "tool_result", "embedding"])
def test_output_is_refused_where_there_is_none(stage: Any) -> None:
    """A scorer that asks for the output is refused at all other stages, with the two ways out."""
    with pytest.raises(ConfigurationError) as caught:
        Guardrail(length, stage=stage)
    assert str(caught.value) == (
        f'scorer "length" asks for "output", which the {stage} stage does not have: ask for "text" '
        '(the text under judgement at any stage) or map it: column_map={"output": "text"}'
    )


@pytest.mark.parametrize("sample", [2, -0.1, math.nan, "all", None, True])
def test_a_sample_is_a_share(sample: Any) -> None:
    """A share of calls is between 0 and 1."""
    with pytest.raises(ConfigurationError, match=r'^sample of monitor "flags" is .*; give a share between 0 and 1$'):
        Monitor(Flags(), sample=sample)


@given(st.floats(0, 1), st.integers(0, 2**128 - 1))
def test_sampling_is_decided_by_the_trace_id_alone(sample: float, trace_id: int) -> None:
    """Two monitors of one share, in any process, take the same traces; a greater share takes all of them too."""
    takes = Monitor(Flags(), sample=sample).takes(trace_id)
    assert takes is Monitor(Flags(name="other"), sample=sample).takes(trace_id)
    assert not takes or Monitor(Flags(), sample=min(1.0, sample * 1.5)).takes(trace_id)


@pytest.mark.parametrize("sample", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_sampling_takes_its_share(sample: float) -> None:
    """Of many random traces a monitor takes about its share: none at 0 and all at 1."""
    monitor, random = Monitor(Flags(), sample=sample), Random(7)
    share = sum(monitor.takes(random.getrandbits(128)) for _ in range(2000)) / 2000
    assert abs(share - sample) <= (0.08 if 0 < sample < 1 else 0)


spans = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 12), st.sampled_from("ABC")).map(
        lambda s: Found(s[0], s[0] + s[1], s[2])
    )
)


@given(spans)
def test_merged_spans_cover_the_same_characters(found: list[Found]) -> None:
    """Merging keeps exactly the covered characters, in order, without overlap, whatever order they came in."""
    merged = merge(found)
    assert {i for s in merged for i in range(s.start, s.end)} == {i for s in found for i in range(s.start, s.end)}
    assert all(one.end <= other.start for one, other in itertools.pairwise(merged))
    assert merged == merge(reversed(found)) == merge(merged)


def compose(found: Iterable[Found], text: str) -> tuple[Edit, ...]:
    """The edits of these spans."""
    return tuple(edit_of(one, text, None) for one in merge(found))


@given(st.lists(spans, max_size=4), st.text("xyz", min_size=60, max_size=60))
def test_redactions_compose_on_the_offsets_of_the_original(by_rule: list[list[Found]], text: str) -> None:
    """The spans of several rules give one redacted text, in which every other character is left where it was."""
    edits = compose((span for found in by_rule for span in found), text)
    pieces = [text[a.end : b.start] for a, b in itertools.pairwise(edits)]
    assert apply(text, edits) == (
        text[: edits[0].start]
        + "".join(e.replacement + p for e, p in zip(edits, [*pieces, text[edits[-1].end :]], strict=True))
        if edits
        else text
    )
    assert compose((span for found in reversed(by_rule) for span in found), text) == edits


ALLOW = 'allow of rule "flags" takes a list of texts and compiled patterns, for example allow=["a@b.com"]'
ROLES = "give a list of some of system, user, assistant, tool"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"cache": True}, 'cache of rule "flags" is bool; give VerdictCache(...) or None'),
        ({"cache": VerdictCache}, 'cache of rule "flags" is the class VerdictCache; give VerdictCache(...) or None'),
        ({"breaker": False}, 'breaker of rule "flags" is bool; give Breaker(...) or None'),
        ({"breaker": Breaker}, 'breaker of rule "flags" is the class Breaker; give Breaker(...) or None'),
        ({"active": "false"}, "active of guardrail \"flags\" is 'false'; give True or False"),
        ({"race": 1}, 'race of rule "flags" is 1; give True or False'),
        ({"description": 1}, 'description of guardrail "flags" is int; give a text'),
        ({"allow": None}, ALLOW),
        ({"allow": 1}, ALLOW),
        ({"allow": (text for text in "ab")}, ALLOW),
        ({"allow": [re.compile(b"a")]}, ALLOW),
        ({"roles": 1}, f'roles of rule "flags" is 1; {ROLES}'),
        ({"roles": "user"}, f"roles of rule \"flags\" is 'user'; {ROLES}"),
        ({"roles": {"user": 1}}, f"roles of rule \"flags\" is {{'user': 1}}; {ROLES}"),
        ({"roles": []}, f'roles of rule "flags" is []; {ROLES}'),
        ({"roles": [["user"]]}, f"roles of rule \"flags\" is [['user']]; {ROLES}"),
    ],
)
def test_an_option_of_the_wrong_kind_is_told_when_the_rule_is_made(options: dict[str, Any], sentence: str) -> None:
    """Each is a ConfigurationError of one sentence that says what to give."""
    with pytest.raises(ConfigurationError) as raised:
        Guardrail(Flags(), stage="input", **options)
    assert str(raised.value) == sentence


async def test_what_a_guard_is_asked_with_is_checked() -> None:
    """Inputs are values by name, a time to wait is a number."""
    guard = Guard(Guardrail(Flags(), stage="input"))
    told = 'inputs of check\\(\\) is list; give values by name, such as {"name": value}'
    with pytest.raises(ConfigurationError, match=told):
        guard.check("x", stage="input", inputs=[1])  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(ConfigurationError, match=told):
        await guard.acheck("x", stage="input", inputs=[1])  # type: ignore[arg-type]  # the mistake under test
    for wrong in ("5", None, -1, math.nan):
        with pytest.raises(ConfigurationError, match=r"timeout of flush\(\) is .*; give seconds, 0 or more"):
            guard.flush(wrong)  # type: ignore[arg-type]  # the mistake under test
