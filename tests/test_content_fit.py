"""Content cut to size, whatever it is: valid JSON within the limit that says that it was cut, and nothing raises."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, computed_field

from llmguard_middleware.telemetry import _content as content
from llmguard_middleware.telemetry._content._fit import SMALLEST, dumped, fitted
from llmguard_middleware.telemetry._content._plain import plain

SCHEMAS = {
    f"gen_ai.{name}": json.loads((Path(__file__).parent / f"data/semconv/schemas/gen-ai-{file}.json").read_text())
    for name, file in {
        "input.messages": "input-messages",
        "output.messages": "output-messages",
        "system_instructions": "system-instructions",
        "tool.definitions": "tool-definitions",
        "retrieval.documents": "retrieval-documents",
        "tool.call.arguments": "tool-call-arguments",
        "tool.call.result": "tool-call-result",
    }.items()
}
texts = st.text(st.characters(exclude_categories=())) | st.sampled_from(["\ud800", "\x00", "한국어" * 200, "x" * 5000])
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.binary(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=20,
)
parts = st.one_of(
    st.builds(content.text, texts),
    st.builds(content.reasoning, texts),
    st.builds(content.tool_call, texts, values, texts),
    st.builds(content.tool_call_response, values, texts),
    st.builds(content.blob, st.sampled_from(["image", "audio"]), st.none() | texts, st.none() | st.integers(0)),
    st.builds(content.uri, st.just("image"), texts),
    st.builds(content.file, st.just("document"), texts),
)
trees = st.one_of(
    st.tuples(
        st.just("gen_ai.input.messages"),
        st.lists(st.builds(content.message, st.sampled_from(["user", "tool"]), st.lists(parts, max_size=4))),
    ),
    st.tuples(
        st.just("gen_ai.output.messages"),
        st.lists(st.builds(content.output, st.lists(parts, max_size=4), texts)),
    ),
    st.tuples(st.just("gen_ai.system_instructions"), st.lists(st.builds(content.text, texts))),
    st.tuples(
        st.just("gen_ai.tool.definitions"),
        st.lists(st.fixed_dictionaries({"type": st.just("function"), "name": texts, "description": texts})),
    ),
    st.tuples(st.just("gen_ai.retrieval.documents"), st.lists(st.fixed_dictionaries({"id": texts, "content": texts}))),
    st.tuples(st.just("gen_ai.tool.call.arguments"), st.dictionaries(texts, values)),
    st.tuples(st.just("gen_ai.tool.call.result"), st.dictionaries(texts, values)),
)


@settings(deadline=None)  # on a busy machine each may take its time
@given(trees, st.integers(SMALLEST, 4000))
def test_any_content_in_any_limit_is_valid_and_fits(tree: tuple[str, Any], limit: int) -> None:
    """Whatever is said, its JSON has at most so many bytes, can be read, and is as the conventions' schema wants it."""
    name, value = tree
    told = dumped(fitted(name, plain(value), limit))
    assert len(told.encode()) <= limit
    jsonschema.validate(json.loads(told), SCHEMAS[name], jsonschema.Draft202012Validator)


@settings(deadline=None)
@given(trees)
def test_what_fits_is_whole(tree: tuple[str, Any]) -> None:
    """Content within the limit is as it was."""
    name, value = tree
    copied = plain(value)
    assert fitted(name, copied, 1 << 24) == copied


@settings(deadline=None)
@given(texts, st.integers(SMALLEST, 4000))
def test_a_bare_text_fits_as_well(text: str, limit: int) -> None:
    """A query is a text and no JSON; it has at most so many bytes too."""
    assert len(fitted("gen_ai.retrieval.query.text", plain(text), limit).encode()) <= limit


def test_a_long_text_says_that_it_was_cut() -> None:
    """The rest of a text gives way to a mark with its length; short ones beside it stay as they are."""
    said = [content.message("user", [content.text("x" * 10_000)]), content.message("user", [content.text("short")])]
    long, short = fitted("gen_ai.input.messages", said, 2048)
    assert long["parts"][0]["content"].endswith("… [cut: 10000 characters]")
    assert len(long["parts"][0]["content"]) > 1800
    assert short == said[1]


def test_many_messages_give_way_in_the_middle() -> None:
    """The first messages and the last ones stay; one in between says how many are gone."""
    said = [content.message("user", [content.text(f"message {number}")]) for number in range(500)]
    told = fitted("gen_ai.input.messages", said, 1000)
    gone = next(index for index, one in enumerate(told) if one["parts"][0]["type"] == "cut")
    assert told[gone]["parts"][0]["content"] == f"[cut: {500 - (len(told) - 1)} items]"
    assert told[:gone] == said[:gone]
    assert told[gone + 1 :] == said[len(said) - (len(told) - gone - 1) :]


class Shown(BaseModel):
    """Fields, one that is left out of dumps, and one that is computed."""

    said: str
    hidden: str = Field("h", exclude=True)

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own recipe
    @property
    def shout(self) -> str:
        """Computed."""
        return self.said.upper()


@dataclass
class Pair:
    """A dataclass."""

    one: str
    other: Any


class Opaque:
    """Nobody can look into it."""

    def __repr__(self) -> str:
        return "what it holds"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Shown(said="a"), {"said": "a", "hidden": "h"}),
        (Pair("a", Opaque()), {"one": "a", "other": "<Opaque>"}),
        (b"\x00\xff", "<bytes: 2>"),
        (float("nan"), "nan"),
        (10**40, "<int: 133 bits>"),
        ("\ud83d\ude00 \ud800", "😀 \N{REPLACEMENT CHARACTER}"),
        ({1: (2, {3})}, {"1": [2, [3]]}),
    ],
)
def test_any_value_has_a_plain_form(value: Any, told: Any) -> None:
    """Objects are told by the fields that guardrails see, never by what they choose to show."""
    assert plain(value) == told


class Hostile:
    """Raises whatever it is asked."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError


def test_a_hostile_object_is_told_by_its_type() -> None:
    """What an object raises when it is looked at stays inside."""
    assert plain([Hostile()]) == ["<Hostile>"]


def test_a_value_that_holds_itself_ends() -> None:
    """A cycle is cut at some depth, and a wide one at some number of values."""
    loop: list[Any] = []
    loop += [loop] * 10
    assert len(dumped(plain(loop))) < 1_000_000
