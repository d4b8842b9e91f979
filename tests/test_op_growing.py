"""Ops whose items repeat what was said so far, each time longer: nothing of what is edited leaves before its end."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard_middleware import Guard, Guardrail, GuardrailViolation
from llmguard_middleware._items import extends
from llmguard_middleware.testing import Flags

SECRET = "90817263"  # no digit twice, and none anywhere else
PLAIN = st.text("abc é", max_size=6)


@dataclass
class Said:
    """An answer as far as it is known."""

    text: str
    done: bool = False


SHAPES: dict[str, tuple[Any, Any]] = {
    "dict": (lambda text, last: {"role": "assistant", "text": text, "state": "done" if last else "open"}, "text"),
    "list": (lambda text, last: ["said", text], 1),
    "nested": (lambda text, last: {"parts": [{"text": text}, *(["end"] if last else [])]}, ("parts", 0, "text")),
    "object": (Said, None),
}


def told(item: Any, where: Any) -> str:
    """The text of an item."""
    if where is None:
        return str(item.text)
    for key in where if isinstance(where, tuple) else (where,):
        item = item[key]
    return str(item)


def guarded(**options: Any) -> Guard:
    """A guard that redacts the secret in what comes out."""
    rule = Flags(when=SECRET, name="secret", cheap=True, reach=len(SECRET), **options)
    return Guard(Guardrail(rule, stage="output", action="redact"))


def grown(text: str, cuts: list[int]) -> list[str]:
    """The text up to each of these places, and all of it."""
    return [*(text[:cut] for cut in sorted(cut for cut in cuts if cut < len(text))), text]


async def asked(guard: Guard, items: list[Any], *, is_async: bool) -> list[Any]:
    """What leaves of these items."""
    if not is_async:

        @guard.op
        def answer() -> Any:
            yield from items

        return list(answer())

    @guard.op
    async def answers() -> Any:
        for item in items:
            yield item

    return [item async for item in answers()]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("is_async", [False, True])
@given(head=PLAIN, tail=PLAIN, cuts=st.lists(st.integers(0, 20), max_size=12))
async def test_no_item_shows_a_part_of_what_its_end_hides(
    shape: str, is_async: bool, head: str, tail: str, cuts: list[int]
) -> None:
    """Each item is a beginning of the edited end: no digit of the secret leaves, wherever the items stopped."""
    make, where = SHAPES[shape]
    texts = grown(head + SECRET + tail, cuts)
    items = [make(text, index == len(texts) - 1) for index, text in enumerate(texts)]
    left = [told(item, where) for item in await asked(guarded(), items, is_async=is_async)]
    assert not set("".join(left)) & set(SECRET)
    assert len(left) == len(texts)
    whole = f"{head}<FAKE>{tail}"
    if len({*texts} - {""}) > 2:
        assert left[-1] == whole
        assert all(whole.startswith(text) for text in left)


@given(head=PLAIN, tail=PLAIN, cuts=st.lists(st.integers(0, 20), max_size=12))
async def test_what_hides_nothing_leaves_as_it_came(head: str, tail: str, cuts: list[int]) -> None:
    """Growing items without anything to edit are the very same."""
    items = [{"text": text} for text in grown(head + tail, cuts)]
    assert await asked(guarded(), items, is_async=False) == items


@given(texts=st.lists(st.tuples(PLAIN, PLAIN, st.lists(st.integers(0, 20), max_size=6)), min_size=1, max_size=3))
async def test_one_answer_after_the_other_is_hidden_likewise(texts: list[tuple[str, str, list[int]]]) -> None:
    """Items that begin anew, with the next answer, hide each one's secret at all its lengths."""
    items = [{"text": text} for head, tail, cuts in texts for text in grown(f"{head}{SECRET}{tail}", cuts)]
    left = await asked(guarded(), items, is_async=False)
    assert not set("".join(item["text"] for item in left)) & set(SECRET)


@given(head=PLAIN, tail=PLAIN, cuts=st.sets(st.integers(1, 19)))
async def test_pieces_are_still_one_text_cut_anywhere(head: str, tail: str, cuts: set[int]) -> None:
    """Items whose texts are meant to be put together hide what lies across them, and nothing of it is left."""
    text = head + SECRET + tail
    places = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    pieces = [text[start:end] for start, end in pairwise(places)]
    left = "".join(item["text"] for item in await asked(guarded(), [{"text": one} for one in pieces], is_async=False))
    assert not set(left) & set(SECRET)
    if not any(after.startswith(before) for before, after in pairwise(pieces)):  # which may be meant either way
        assert left == f"{head}<FAKE>{tail}"


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_block_stops_growing_items(is_async: bool) -> None:
    """A rule that blocks is asked about what the items come to, and nothing leaves."""
    guard = Guard(Guardrail(Flags(when=SECRET), stage="output"))
    with pytest.raises(GuardrailViolation):
        await asked(guard, [{"text": text} for text in grown(f"a {SECRET}", [1, 4, 6])], is_async=is_async)


async def test_pseudonyms_come_back_in_growing_items() -> None:
    """Originals come back where an item has all of a placeholder; one that stops within it ends before it."""
    guard = Guard(Guardrail(Flags(when=SECRET, name="secret"), stage="input", action="pseudonymize"))

    @guard.op
    def answer(text: str) -> Any:
        for cut in (2, 5, 9, len(text)):
            yield {"text": text[:cut]}

    left = [item["text"] for item in answer(f"I, {SECRET}")]
    assert left == ["I,", "I, ", "I, ", f"I, {SECRET}"]


@pytest.mark.parametrize(
    ("before", "after", "does"),
    [
        ({"a": "x"}, {"a": "xy", "b": "z"}, True),
        ({"a": "x"}, {"b": "x"}, False),
        (["x"], ["x", "y"], True),
        (["x", "y"], ["x"], False),
        ({"a": ["x"], "b": "z"}, {"a": ["x", "y"], "b": "z"}, True),
        ({}, {"a": "x"}, True),
    ],
)
def test_a_value_extends_another_place_by_place(before: Any, after: Any, does: bool) -> None:
    """One value says all that another one says if each text at its place begins with the other's."""
    assert extends(before, after) is does
