"""pii(): the pattern that goes through a run of digits leaves out no place where a number begins."""

from __future__ import annotations

import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmguard_middleware._edits import merge_spans
from llmguard_middleware.scorers import pii
from llmguard_middleware.scorers._pii._sight import Sight
from llmguard_middleware.scorers.pii import _KINDS, _before

NUMBERS = [(kind.name, number) for kind in _KINDS for number in kind.numbers]
RUN = re.compile(r"[0-9](?<![0-9][0-9])(?=(?:[ ./()\-]{0,3}[0-9]){5})[0-9]*(?:[ ./()\-]{1,3}[0-9]+)*")


def at_every_group(text: str) -> list[tuple[int, int, str]]:
    """What is found by asking for every kind at every group, whatever its form."""
    sight = Sight(text)
    found = []
    for run in RUN.finditer(sight.text):
        last = -3
        for group in re.finditer("[0-9]+", run[0]):
            start, size = run.start() + group.start(), len(group[0])
            apart = group.start() - last >= 3
            last = group.end()
            if not apart and size == 1:
                continue
            for name, number in NUMBERS:
                ends = size in number.groups and apart >= number.apart and number.ends(sight, start)
                if ends:
                    found.append((*sight.places(_before(sight.text, start, ends), ends), name))
                    break
    return found


PARTS = st.sampled_from(
    [
        *("0", "1", "4", "61", "010", "02", "031", "0502", "12", "123", "650", "253", "0000", "1111", "4111", "5678"),
        *("900101", "1234567", "124", "81", "00998", "78", "05", "1120", "912", "70", "345678", "3782", "822463"),
        *("078051120", "9001011234567", "4111111111111111", "01012345678", "1248100998", "112034567890", "12345678"),
        *(
            "card ",
            "카드 ",
            "call ",
            "번호 ",
            "ssn ",
            "계좌 ",
            "사업자 ",
            "면허 ",
            "\uff11\uff12\uff13",
            "\u200b",
            "+",
            "x12",
            "a",
        ),
    ]
)
SIGNS = st.sampled_from(["", " ", "-", ".", "/", "(", ")", ") ", " - ", "  ", "   ", "\n", ","])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(PARTS, SIGNS), min_size=1, max_size=40).map(lambda parts: "".join(map("".join, parts))))
@example("번호 " + "1" * 70 + " 018 7424 1590")
@example("card 41 11 11 11 11 11 11 11 " + "12 " * 40 + "900101-1234567")
def test_nothing_is_left_out(text: str) -> None:
    """The same is found as by asking for every kind at every group."""
    found: list[tuple[int, int, str]] = []
    pii()._find_numbers(Sight(text), found)
    assert list(merge_spans(found)) == list(merge_spans(at_every_group(text)))
