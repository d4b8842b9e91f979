"""Texts that belong to one thing are judged together, and each gets what was decided about it."""

from __future__ import annotations

from functools import partial

import pytest

from llmguard_middleware import Guard, Guardrail, Message, Replace
from llmguard_middleware._call import Call
from llmguard_middleware._drive import drive
from llmguard_middleware._edits import Edit, split
from llmguard_middleware._flow import AskAgain, Flow
from llmguard_middleware._together import judged_call, judged_lines, judged_run, judged_text, judged_value
from llmguard_middleware.errors import GuardrailViolation
from llmguard_middleware.scorers import pii, secrets
from llmguard_middleware.testing import Flags


class Asks:
    """Has texts judged by one rule; remembers which."""

    def __init__(self, when="ab", action="redact"):
        self.scorer = Flags(when=when, cheap=True)
        self.flow = Flow(Guard(Guardrail(self.scorer, stage="output", action=action)), Call("chat"))

    def __call__(self, text, **how):
        """Have one text judged."""
        return self.flow.edits(text, "output", **how)

    def drive(self, plan):
        """Carry out a plan."""
        return drive(plan, self.flow.guard.workers)


@pytest.mark.parametrize(
    ("lines", "told", "seen"),
    [
        (["xab", "y"], ["x<FAKE>", "y"], ["xab\ny", "x<FAKE>y"]),
        (["xa", "by"], ["x<FAKE>", "y"], ["xa\nby", "xaby"]),
        (["ab"], ["<FAKE>"], ["ab"]),
        (["", "c", ""], ["", "c", ""], ["c"]),
        ([], [], []),
    ],
)
def test_lines_are_judged_at_once_and_run_together(lines, told, seen):
    """A match is found in one line and across two; nothing is asked about nothing."""
    asks = Asks()
    assert asks.drive(judged_lines(lines, asks)) == told
    assert asks.scorer.seen == seen


def test_a_match_that_takes_the_space_between_lines_is_removed_from_both():
    """What is put in for a match over the end of a line is in one of them, and no line is lost."""
    asks = Asks(when="a\nb")
    assert asks.drive(judged_lines(["xa", "by"], asks)) == ["x<FAKE>", "y"]
    asks = Asks(when="\nb")
    assert asks.drive(judged_lines(["xa", "by"], asks)) == ["xa", "<FAKE>y"]


def test_parts_of_one_text_are_judged_by_themselves_and_together():
    """A part is judged before the next one can hide where a match ends."""
    asks = Asks()
    assert asks.drive(judged_run(["ab", "", "xa", "b"], asks)) == ["<FAKE>", "", "x<FAKE>", ""]


@pytest.mark.parametrize(
    "arguments", [{"a": "ab", "n": 1.50, "z": [None, True]}, '{"a":"ab",  "n":1.50, "z":[null,true]}']
)
def test_arguments_say_the_same_as_a_value_and_as_json(arguments):
    """A call is judged by the same texts in both forms, and keeps its form."""
    asks = Asks()
    name, told = asks.drive(judged_call("f", arguments, asks))
    assert name == "f"
    expected = {"a": "<FAKE>", "n": 1.5, "z": [None, True]}
    assert told == (expected if isinstance(arguments, dict) else arguments.replace("ab", "<FAKE>"))
    assert asks.scorer.seen[0].split("\n")[:3] == ["f", "a", "ab"]


def test_what_is_replaced_keeps_its_keys():
    """A rule that replaces all puts its text in the first value and empties the others."""
    asks = Asks(action=Replace("no"))
    assert asks.drive(judged_call("f", {"k": "ab", "n": 5}, asks)) == ("f", {"k": "no", "n": ""})
    assert asks.drive(judged_text('{"k": "ab"}', asks)) == "no"
    assert asks.drive(judged_text('{"k": "\\u0061b", "l": "m"}', asks)) == "no"


def test_keys_that_become_the_same_are_told_apart():
    """Two keys that are both removed keep their values, and one key keeps one name."""
    guard = Guard(Guardrail(pii(), stage="output", action="redact"))
    flow = Flow(guard, Call("chat"))
    mails = [{"a@b.co": 1, "c": 2, "d@b.co": 3}, {"a@b.co": 4}]
    _, told = drive(judged_call("", mails, lambda text: flow.edits(text, "output")), guard.workers)
    assert told == [{"<EMAIL_ADDRESS>": 1, "c": 2, "<EMAIL_ADDRESS> 2": 3}, {"<EMAIL_ADDRESS>": 4}]


def test_a_value_that_is_no_json_is_judged_by_its_leaves():
    """Objects keep their types."""
    asks = Asks()
    assert asks.drive(judged_value({"m": (Message("user", "ab"), {1, 2})}, asks)) == {
        "m": (Message("user", "<FAKE>"), {1, 2})
    }


def test_edits_of_a_flow_raise_what_its_rules_decide():
    """Flow.edits stops the call, or asks the model again if it may."""
    asks = Asks(action="block")
    with pytest.raises(GuardrailViolation):
        asks.drive(asks("ab"))
    asks = Asks(action="reask")
    with pytest.raises(AskAgain):
        asks.drive(asks.flow.edits("ab", "output", reask=True))
    with pytest.raises(GuardrailViolation):
        asks.drive(asks.flow.edits("ab", "output"))


KEY = "sk-" + "A1b2C3d4" * 5
LEAKY = [(KEY, "<OPENAI_API_KEY>"), ("bob@example.com", "<EMAIL_ADDRESS>"), ("4111-1111-1111-1111", "<CREDIT_CARD>")]


@pytest.mark.parametrize(("secret", "told"), LEAKY)
@pytest.mark.parametrize("judge", [judged_run, lambda parts, ask: judged_lines(parts, ask, one_text=True)])
def test_what_is_found_in_one_part_takes_its_other_half_along(secret, told, judge):
    """A key or an address over two parts of a text goes whole, also where one of the parts has enough to be found."""
    guard = Guard(*(Guardrail(by(), stage="output", action="redact") for by in (secrets, pii)))
    for at in range(1, len(secret)):
        flow = Flow(guard, Call("chat"))
        parts = [f"x {secret[:at]}", f"{secret[at:]} y"]
        assert "".join(drive(judge(parts, partial(flow.edits, stage="output")), guard.workers)) == f"x {told} y"


def test_what_is_found_in_a_part_and_in_the_whole_is_told_once():
    """The parts are judged by themselves and as one text, and a span that both have is one redaction."""
    asks = Asks()
    assert asks.drive(judged_run(["xab", "y"], asks)) == ["x<FAKE>", "y"]
    assert asks.scorer.seen == ["xab", "y", "xaby"]
    assert sum(len(verdict.edits) for verdict in asks.flow.verdicts) == 1


def test_values_beside_each_other_do_not_become_one():
    """A name that stands before an address is no part of it."""
    guard = Guard(Guardrail(pii(), stage="output", action="redact"))
    flow = Flow(guard, Call("chat"))
    plan = judged_lines(["Amy", "amy@example.com"], partial(flow.edits, stage="output"))
    assert drive(plan, guard.workers) == ["Amy", "<EMAIL_ADDRESS>"]


def test_numbers_inside_objects_are_judged():
    """A number is a text to its reader, in a value that is no JSON as in one that is."""
    guard = Guard(Guardrail(pii(), stage="output", action="redact"))
    flow = Flow(guard, Call("chat"))
    value = Call("chat", attributes={"card": 4111111111111111, "count": 3, "right": True})
    told = drive(judged_value(value, partial(flow.edits, stage="output")), guard.workers)
    assert told.attributes == {"card": "<CREDIT_CARD>", "count": 3, "right": True}


def test_many_parts_with_many_edits_cost_as_much_each_as_few():
    """Edits are found for their parts in one pass, however many there are."""

    class Counted(list):
        looked = 0

        def __getitem__(self, at):
            Counted.looked += 1
            return super().__getitem__(at)

    def looked(size):
        Counted.looked = 0
        edits = Counted(Edit(3 * i, 3 * i + 2, "x") for i in range(size))
        assert split(["ab"] * size, edits, 1) == [[Edit(0, 2, "x")]] * size
        return Counted.looked / size

    assert looked(1000) <= 1.1 * looked(10)


def test_an_edit_that_covers_parts_and_what_is_between_them_puts_in_once():
    """What an edit puts in goes where it starts, or behind the space that it starts with."""
    parts = ["ab", "cd", "ef"]
    assert split(parts, [Edit(1, 7, "x")], 1) == [[Edit(1, 2, "x")], [Edit(0, 2, "")], [Edit(0, 1, "")]]
    assert split(parts, [Edit(2, 4, "x")], 1) == [[], [Edit(0, 1, "x")], []]
    assert split(parts, [Edit(2, 3, "x")], 1) == [[], [], []]
    touching = [Edit(1, 3, "x"), Edit(3, 4, "y")]
    assert split(parts, touching) == [[Edit(1, 2, "x")], [Edit(0, 1, ""), Edit(1, 2, "y")], []]


def test_what_only_the_whole_shows_is_told_beside_a_known_edit():
    """A shadow rule that flags what lies across parts is on record, though all that was to be edited is known."""
    guard = Guard(
        Guardrail(Flags(when="ab", cheap=True), stage="output", action="redact", name="edits"),
        Guardrail(Flags(when="yz", cheap=True), stage="output", action="log", name="shadow"),
    )
    flow = Flow(guard, Call("chat"))
    told = drive(judged_run(["ab y", "z"], partial(flow.edits, stage="output")), guard.workers)
    assert told == ["<FAKE> y", "z"]
    found = [one.rule for verdict in flow.verdicts for one in verdict.findings if one.outcome == "flagged"]
    assert found == ["shadow"]
    assert sum(len(verdict.edits) for verdict in flow.verdicts) == 1
