"""Guards in copies and pickles of what they are around: always the guard itself, or its like, or an error."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import pytest

from llmguard_middleware import Guard, Guardrail
from llmguard_middleware.scorers import pii

LOAD = """
import pickle, sys
from llmguard_middleware import ConfigurationError, Guard, Guardrail
from llmguard_middleware.scorers import pii
older = Guard(Guardrail(pii(), stage="input"), name=sys.argv[1])
kept = Guard(Guardrail(pii(), stage="input"), name=sys.argv[1])
try:
    print(pickle.load(sys.stdin.buffer) is kept)
except ConfigurationError as error:
    print(error)
"""


def test_a_guard_is_shared_by_copies_and_pickles_of_one_process() -> None:
    """Two guards with one name and the same rules are not mistaken for each other."""
    guard, twin = (Guard(Guardrail(pii(), stage="input"), name="shop") for _ in range(2))
    for same in (copy.copy(guard), copy.deepcopy([guard])[0], pickle.loads(pickle.dumps(guard))):
        assert same is guard
    assert pickle.loads(pickle.dumps(twin)) is twin


@pytest.mark.parametrize(("name", "said"), [("shop", "True\n"), ("other", 'this was guarded by guard "shop" with ')])
def test_another_process_takes_its_own_guard_or_none(name: str, said: str) -> None:
    """The last one made there with that name and those rules; if there is none, a sentence says what to do."""
    given = pickle.dumps(Guard(Guardrail(pii(), stage="input"), name="shop"))
    told = subprocess.run([sys.executable, "-c", LOAD, name], input=given, capture_output=True, check=True)
    assert told.stdout.decode().startswith(said)


def test_a_guard_without_some_rules_is_loaded_with_all() -> None:
    """What an adapter leaves to others in one place is no rule less in a pickle."""
    guard = Guard(Guardrail(pii(), stage="input"), name="shop")
    assert pickle.loads(pickle.dumps(guard.without(guard.guardrails))) is guard
