"""where=: which calls a rule is for."""

from __future__ import annotations

import subprocess
import sys
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard_middleware import Call, ConfigurationError
from llmguard_middleware._where import compile_where, describe_where

CALL = Call(
    "chat",
    name="answer",
    provider="openai",
    model="gpt-5-mini",
    attributes={"tenant.id": "acme", "tier": 2, "beta": True, "tags": ("a", "b")},
)


def matches(where: Any, call: Call = CALL) -> bool:
    """Whether a filter takes the call."""
    test = compile_where(where, "r")
    assert test is not None
    return test(call)


@pytest.mark.parametrize(
    ("where", "taken"),
    [
        ({"operation": "chat"}, True),
        ({"operation": "Chat"}, False),
        ({"operation": "cha"}, False),
        ({"operation": "ch[ae]t"}, True),
        ({"name": "ans?er", "provider": "open*"}, True),
        ({"model": ["claude-*", "gpt-*"]}, True),
        ({"model": ("claude-*", "llama*")}, False),
        ({"model": "gpt-*", "provider": "azure"}, False),
        ({"tenant.id": "acme"}, True),
        ({"tenant.id": {"acme", "other"}}, True),
        ({"tenant": "acme"}, False),
        ({"tier": 2}, True),
        ({"tier": 2.0}, True),
        ({"tier": "2"}, False),
        ({"tier": "*"}, False),
        ({"tier": ["2", 2]}, True),
        ({"beta": True}, True),
        ({"beta": 1}, False),
        ({"beta": False}, False),
        ({"tags": "a"}, False),
        ({"missing": "*"}, False),
        ({"missing": False}, False),
        (lambda call: call.model.endswith("mini"), True),
        (lambda call: call.attributes.get("none"), False),
    ],
)
def test_a_call_is_taken_if_all_of_it_matches(where: Any, taken: bool) -> None:
    """Keys are fields or attributes; values patterns, plain values or a list of those; all keys must match."""
    assert matches(where) is taken


def test_no_filter_takes_everything() -> None:
    """None is no filter, and is described by nothing."""
    assert compile_where(None, "r") is None
    assert describe_where(None) == ""


@given(st.text("ab*?[]!-.\n", max_size=6), st.text("ab-.\n", max_size=6), st.text("ab*", max_size=3))
def test_patterns_are_those_of_fnmatch(pattern: str, model: str, other: str) -> None:
    """A pattern matches what fnmatchcase says it matches, alone or in a list."""
    call = Call("chat", model=model)
    assert matches({"model": pattern}, call) is fnmatchcase(model, pattern)
    assert matches({"model": [pattern, other]}, call) is (fnmatchcase(model, pattern) or fnmatchcase(model, other))


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ({}, 'where of rule "r" is empty; leave it out, or say what to match: {"operation": "chat"}'),
        (
            {"model": []},
            (
                'where of rule "r" wants [] of "model"; give a pattern such as "gpt-*", a bool, a number, '
                "or a list of those"
            ),
        ),
        (
            {"model": [None]},
            (
                'where of rule "r" wants [None] of "model"; give a pattern such as "gpt-*", a bool, a number, '
                "or a list of those"
            ),
        ),
        (
            {1: "x"},
            'where of rule "r" has the key 1; give operation, name, provider, model or the name of an attribute',
        ),
        (
            "chat",
            (
                'where of rule "r" is str; give a mapping such as {"operation": "chat"} '
                "or a function of a Call that returns a bool"
            ),
        ),
        (
            Call,
            (
                'where of rule "r" is Call; give a mapping such as {"operation": "chat"} '
                "or a function of a Call that returns a bool"
            ),
        ),
    ],
)
def test_a_mistake_in_a_filter_is_told_at_once(where: Any, sentence: str) -> None:
    """Each mistake is a ConfigurationError of one sentence."""
    with pytest.raises(ConfigurationError) as caught:
        compile_where(where, "r")
    assert str(caught.value) == sentence


def by_tenant(call: Call) -> bool:
    """A filter with a name."""
    return call.attributes.get("tenant.id") == "acme"


class ByTenant:
    """A filter that is an object."""

    def __call__(self, call: Call) -> bool:
        """Whether it is ours."""
        return by_tenant(call)


def test_equal_filters_have_one_description() -> None:
    """The order of keys and values makes no difference, every other change does."""
    one = describe_where({"model": ["gpt-*", "claude-*"], "tier": 2})
    assert one == describe_where({"tier": [2], "model": ("claude-*", "gpt-*")})
    others = [{"model": "gpt-*", "tier": 2}, {"model": ["gpt-*", "claude-*"], "tier": "2"}, {"tier": 2}]
    assert len({one, *map(describe_where, others)}) == 4
    assert describe_where(by_tenant).endswith(".by_tenant")
    assert describe_where(ByTenant()).endswith(".ByTenant")
    assert describe_where(lambda call: True).endswith("<lambda>")


def test_a_description_is_the_same_in_every_process() -> None:
    """A set has another order in another process; its description has not."""
    where = {"tenant.id": {"a", "b", "c", "d", "e"}, "model": "m"}
    program = f"from llmguard_middleware._where import describe_where; print(describe_where({where!r}))"
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2", "3")
    }
    assert told == {describe_where(where)}
