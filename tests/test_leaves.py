"""The texts inside values, and values with other texts in their place."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from llmguard_middleware._leaves import leaves, with_leaves

Pair = namedtuple("Pair", "one two")  # noqa: PYI024 - the plain kind is what must survive

values = st.recursive(
    st.text(max_size=5) | st.integers() | st.none() | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.tuples(inner, inner)
        | st.builds(Pair, inner, inner)
    ),
)


def test_texts_can_be_read_and_replaced_in_order() -> None:
    """Texts however deep are found in order, and replaced in copies of the same types."""
    value = {"a": ["x", {"b": "y"}], "n": 1, "c": ("z",), "d": {"w"}}
    assert leaves(value) == ["a", "x", "b", "y", "n", "c", "z", "d", "w"]
    assert with_leaves(value, list("A1B2NC3D4")) == {"A": ["1", {"B": "2"}], "N": 1, "C": ("3",), "D": {"4"}}
    assert value == {"a": ["x", {"b": "y"}], "n": 1, "c": ("z",), "d": {"w"}}


@given(values)
def test_replacing_texts_by_themselves_changes_nothing(value: Any) -> None:
    """A value whose texts all stay is returned as it is, the very object."""
    assert with_leaves(value, leaves(value)) is value


@given(values)
def test_every_text_is_replaced_where_it_stood(value: Any) -> None:
    """What was put in is what is found again, in values of the same types."""
    marked = [f"<{text}>" for text in leaves(value)]
    changed = with_leaves(value, marked)
    assert (leaves(changed), type(changed)) == (marked, type(value))
