"""The texts inside a JSON text are found and changed in place, and nothing else of it changes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard_middleware._edits import Edit
from llmguard_middleware._json_text import edited, is_json, may_become_json, tokens, with_tokens

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
containers = st.lists(values) | st.dictionaries(st.text(), values)
dumped = st.tuples(containers, st.booleans(), st.sampled_from([None, 1])).map(
    lambda it: json.dumps(it[0], ensure_ascii=it[1], indent=it[2])
)


def said(value):
    """Keys, strings and numbers of a value, in order."""
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in (key, *said(item))]
    if isinstance(value, list):
        return [text for item in value for text in said(item)]
    return (
        [value] if isinstance(value, str) else [] if value is None or isinstance(value, bool) else [json.dumps(value)]
    )


@given(dumped)
def test_the_tokens_are_what_the_value_says(text):
    """Every key, string and number of a JSON text is found, decoded, in order."""
    assert [token.text for token in tokens(text)] == said(json.loads(text))


@given(dumped, st.text())
def test_what_is_put_in_is_all_that_changes(text, new):
    """The text stays JSON and says what was put in; with its own texts it is itself, to the letter."""
    found = tokens(text)
    assert with_tokens(text, found, [token.text for token in found]) == text
    changed = with_tokens(text, found, [new if token.quoted and not token.key else token.text for token in found])
    assert json.loads(changed) == put(json.loads(text), new)


def put(value, new):
    """The value with another text for each of its strings, keys aside."""
    if isinstance(value, dict):
        return {key: put(item, new) for key, item in value.items()}
    if isinstance(value, list):
        return [put(item, new) for item in value]
    return new if isinstance(value, str) else value


@given(dumped, st.integers(0, 200), st.integers(1, 50))
def test_an_edit_anywhere_leaves_json(text, start, length):
    """Whatever stretch of a JSON text is edited, it stays JSON, if the stretch touches a string or number."""
    start = start % len(text)
    end = min(len(text), start + length)
    if any(token.start < end and token.end > start for token in tokens(text)):
        assert is_json(edited(text, [Edit(start, end, '<"X">')]))


@given(dumped)
def test_every_beginning_of_json_may_become_json(text):
    """No beginning of a JSON object or array is taken for something else."""
    assert is_json(text)
    assert all(may_become_json(text[:end]) for end in range(len(text) + 1))


@pytest.mark.parametrize("text", ["a", "{name}", "[link](to)", "[1] says", "[12] says", "[note", "[-", '"a"', "12"])
def test_most_prose_shows_early_that_it_is_no_json(text):
    """Brackets alone do not make JSON."""
    assert may_become_json(text) is (text == "[-")


def test_keys_stay_where_an_edit_is_in_several_tokens():
    """What an edit puts in goes to the first value that it touches; to a key only if it touches nothing else."""
    text = '{"name": "a", "mail": "b", "n": 12}'
    assert edited(text, [Edit(10, 24, "X")]) == '{"name": "X", "mail": "", "n": 12}'
    assert edited(text, [Edit(3, 5, "X")]) == '{"nXe": "a", "mail": "b", "n": 12}'
    assert edited(text, [Edit(32, 34, "X")]) == '{"name": "a", "mail": "b", "n": "X"}'


def test_an_escape_is_never_cut():
    """An edit that begins or ends inside an escape takes all of it."""
    assert edited(r'["a\u0068b", 1]', [Edit(5, 10, "X")]) == '["aX", 1]'
    assert edited(r'["a\nb", 1]', [Edit(4, 6, "X")]) == '["aX", 1]'


def test_what_is_cut_off_is_read_as_far_as_it_goes():
    """An object that ends in the middle of a string says what is there."""
    assert [token.text for token in tokens(r'{"a": "b\u0063", "d": "e\u006')] == ["a", "bc", "d", r"e\u006"]
    assert with_tokens('{"a": "bc', tokens('{"a": "bc'), ["a", 'X"']) == '{"a": "X\\"'
