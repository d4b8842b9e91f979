"""Fingerprint: digests tell apart what foreign code was given, in every process alike."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from llmguard_middleware import Call, Guard, Guardrail, Scorer, scorer
from llmguard_middleware._fingerprint import fingerprint


class Longer(Scorer):
    """Flags texts of more than `limit` characters; keeps what cannot be described, too."""

    name = "longer"

    def __init__(self, limit: Any = 1) -> None:
        super().__init__()
        self.limit = limit
        self.lock = threading.Lock()

    def score(self, text: str) -> dict[str, Any]:
        """Whether it is longer."""
        return {"flagged": len(text) > self.limit}


class Slotted:
    """The same without a dictionary."""

    __slots__ = ("limit",)
    name = "slotted"

    def __init__(self, limit: Any) -> None:
        self.limit = limit

    def __call__(self, text: str) -> bool:
        """Whether it is longer."""
        return len(text) > self.limit


class Level(Enum):
    """How much."""

    LOW = 1
    HIGH = 2


def closure(limit: Any) -> Any:
    """A scorer that is a function made by another."""

    @scorer
    def longer(text: str) -> bool:
        return len(text) > limit

    return longer


def local_class(limit: int) -> Any:
    """A scorer of a class made by a function."""

    class Local:
        name = "local"

        def score(self, text: str) -> bool:
            return len(text) > limit

    return Local()


def defaulted(limit: int) -> Any:
    """A lambda with a default."""
    return lambda text, _limit=limit: len(text) > _limit


def by_limit(text: str, limit: int) -> bool:
    """Needs its limit."""
    return len(text) > limit


class Named:
    """What partial lacks: a name."""

    def __init__(self, limit: int) -> None:
        self.score, self.name = partial(by_limit, limit=limit), "named"


MAKERS = [Longer, Slotted, closure, local_class, defaulted, Named]


def digest(made: Any, **options: Any) -> str:
    """That of a guard with this scorer alone."""
    return Guard(Guardrail(made, **{"stage": "input", "name": "rule", "above": 1, **options})).digest


@pytest.mark.parametrize("make", MAKERS)
def test_another_option_of_a_scorer_is_another_digest(make: Any) -> None:
    """However a scorer came by its limit, two limits are two policies, and one is one."""
    assert digest(make(1)) == digest(make(1))
    assert digest(make(1)) != digest(make(1000))


def test_a_predicate_is_told_by_its_code_and_what_it_closes_over() -> None:
    """Two lambdas of one place are two predicates; the filter of calls likewise."""

    def over(limit: float) -> Any:
        return lambda score: score.value > limit

    predicates = [lambda score: score.value > 1, lambda score: score.value > 2, lambda score: score.label > 2]
    found = [digest(Longer(), when=when) for when in (*predicates, over(1), over(2))]
    found += [digest(Longer(), where=where) for where in (lambda _: True, lambda _: False, Takes("a"), Takes("b"))]
    assert len(set(found)) == len(found)
    assert digest(Longer(), when=over(1)) == digest(Longer(), when=over(1))


class Takes:
    """A filter with an option."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, call: Call) -> bool:
        """Whether it is that call."""
        return call.name == self.name


def test_options_in_a_file_are_in_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    """`options: {limit: 1}` and `{limit: 1000}` are two configurations."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))

    def of(limit: int) -> str:
        spec = {"scorer": "test_fingerprint:Longer", "options": {"limit": limit}, "stage": "input"}
        return Guard.from_config({"guardrails": [spec]}, environ={}).digest

    assert of(1) == of(1) != of(1000)


VALUES: list[Any] = [
    None, True, 1, 1.0, "1", b"1", b"2", 2**70, 10**5000, Level.LOW, Level.HIGH, "\ud800", "",
    ["a"], ("a",), {"a"}, {"a", "b", "c"}, {"a": 1}, {"a": 2}, {"a": {"b": [1]}}, {"a": {"b": [2]}},
    re.compile("a"), re.compile("a", re.IGNORECASE), by_limit, partial(by_limit, limit=1), partial(by_limit, limit=2),
    Longer, object(), lambda: 1, lambda: 2,
]  # fmt: skip


def test_values_are_told_apart() -> None:
    """By type and content, deep inside lists and mappings; other objects by their type alone."""
    assert len({fingerprint(Longer(value)) for value in VALUES}) == len(VALUES)
    assert fingerprint(Longer(object())) == fingerprint(Longer(object()))
    assert fingerprint(Longer({"a": 1, "b": 2})) == fingerprint(Longer({"b": 2, "a": 1}))


def test_what_holds_itself_has_a_fingerprint() -> None:
    """A list in itself, a scorer that keeps its own method, a cell that is empty."""
    endless: list[Any] = []
    endless.append(endless)
    own = Longer()
    own.limit = own.score

    def early() -> Any:
        return late

    empty = fingerprint(early)
    late = 1
    assert len({fingerprint(Longer(endless)), fingerprint(own), empty, fingerprint(early)}) == 4


def all_digests() -> list[str]:
    """Of everything above."""
    return [*(fingerprint(Longer(value)) for value in VALUES), *(digest(make(3)) for make in MAKERS)]


def test_a_fingerprint_is_the_same_in_every_process(said_by_processes: Callable[[str], set[str]]) -> None:
    """Whatever the seed of its hashes, and wherever its objects lie."""
    assert len(said_by_processes("import test_fingerprint as t; print(t.all_digests())")) == 1


def test_no_option_can_be_read_from_a_description() -> None:
    """A key among the attributes is in no description."""
    rule = Guardrail(Longer("my very secret key"), stage="input", when=lambda score, key="secret too": bool(key))
    assert "secret" not in repr(rule.described())
