"""What guardrails took out is in no content of the same run, in whatever form it stands there, and at what cost."""

from __future__ import annotations

import json
import string
from random import Random
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard_middleware.telemetry._content import Ledger


def ledger(*passages: str) -> Ledger:
    """Of which these were taken out."""
    made = Ledger()
    made.take((passage, "<X>") for passage in passages)
    return made


def test_passages_that_overlap_leave_nothing_of_either() -> None:
    """The end of one that begins inside of another goes, too."""
    told = ledger("alice smith", "smith london")
    assert told.without("by alice smith london!") == "by <X>!"
    assert told.without("alice smith, smith london") == "<X>, <X>"


@pytest.mark.parametrize("many", [0, 100])
@given(st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=5), st.text("abc", max_size=30))
def test_no_passage_is_left_whether_there_are_few_or_many(many: int, passages: list[str], text: str) -> None:
    """Every character that a passage covers is gone, and every other stays, in order."""
    covered = {
        at + i for one in passages for at in range(len(text)) if text.startswith(one, at) for i in range(len(one))
    }
    told = Ledger()
    told.take([(one, "-") for one in passages] + [(f"other {n}", "-") for n in range(many)])
    left = told.without(text)
    assert left.replace("-", "") == "".join(text[at] for at in range(len(text)) if at not in covered)


@pytest.mark.parametrize("secret", ['say "open\nsesame"', "Zoë Müller", "back\\slash", "half \ud800 here", "a\tb"])
def test_a_passage_is_found_inside_of_json_that_is_a_text(secret: str) -> None:
    """What a tool gave or is asked with as JSON shows it neither as it is nor escaped."""
    for text in (secret, json.dumps({"x": secret}), json.dumps({"x": secret}, ensure_ascii=False)):
        assert "<X>" in ledger(secret).without(text)
    assert ledger(secret).without(json.dumps({"x": secret})) == '{"x": "<X>"}'


def test_a_number_that_was_taken_out_of_a_text_is_no_number_elsewhere() -> None:
    """A card's number is not told as an integer either; other numbers and truth values stay."""
    told = ledger("4111111111111111", "1")
    assert told.outside({"card": 4111111111111111, "size": 100, "ok": True, "none": None}) == {
        "card": "<X>", "size": 100, "ok": True, "none": None,
    }  # fmt: skip


def test_a_word_of_the_schema_that_was_redacted_leaves_messages_in_shape() -> None:
    """Roles, types and the keys of messages stay, whatever word was taken out of what was said."""
    said = [{"role": "user", "parts": [{"type": "text", "content": "the user said text"}]}]
    assert ledger("user", "text", "parts", "role").outside(said) == [
        {"role": "user", "parts": [{"type": "text", "content": "the <X> said <X>"}]}
    ]


def test_names_of_things_are_looked_through() -> None:
    """A key that holds what was taken out does not show it."""
    assert ledger("alice").outside({"of alice": {"alice": 1}}) == {"of <X>": {"<X>": 1}}


def test_a_ledger_with_too_much_in_it_closes() -> None:
    """Ten thousand passages are taken in the time of two thousand, and then nothing is told."""
    told = ledger(*(f"passage {number}" for number in range(10_000)))
    assert told.closed
    assert told.empty


@pytest.mark.parametrize("alphabet", [string.digits, "user-0"])
def test_a_large_ledger_costs_no_more_than_a_look_at_each_character(alphabet: str) -> None:
    """A megabyte under nearly two thousand passages of the same beginning takes seconds at most, not minutes."""
    random = Random(1)
    start = alphabet[:4]
    passages = [start + "".join(random.choices(alphabet, k=12)) for _ in range(1900)]
    text = "".join(random.choices([*alphabet, start, passages[0]], k=400_000))[: 1 << 20]
    told = ledger(*passages)
    begun = perf_counter()
    left = told.without(text)
    assert perf_counter() - begun < 10
    assert passages[0] not in left


def test_a_long_passage_that_repeats_itself_takes_no_time() -> None:
    """Half a million times the same character, in twice as many: at most a short end is left."""
    begun = perf_counter()
    assert len(ledger("a" * 500_000).without("a" * 1_000_000)) < 300
    assert perf_counter() - begun < 10
