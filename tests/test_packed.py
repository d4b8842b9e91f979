"""Many spans as one value: what was a tuple of them looks like one."""

from __future__ import annotations

import copy
import gc
import pickle

from hypothesis import given
from hypothesis import strategies as st

from llmguard_middleware import Guard, Guardrail, Score, TextSpan
from llmguard_middleware._packed import Packed
from llmguard_middleware.scorers import pii

spans = st.lists(st.builds(TextSpan, st.integers(0, 9), st.integers(0, 9), st.sampled_from("ab")), max_size=5)


@given(spans, st.slices(5))
def test_packed_spans_are_the_tuple_of_them(some: list[TextSpan], part: slice) -> None:
    """Length, items, slices, iteration, equality, hash, membership, pickle and copies are a tuple's."""
    packed, plain = Packed(TextSpan, map(tuple, some)), tuple(some)
    assert (len(packed), list(packed), packed[part]) == (len(plain), list(plain), plain[part])
    assert (packed == plain, plain == packed, hash(packed), repr(packed)) == (True, True, hash(plain), repr(plain))
    assert packed == Packed(TextSpan, map(tuple, some))
    assert (packed != [*plain], packed != (*plain, "more")) == (True, True)
    assert all(type(one) is TextSpan and one in packed for one in packed)
    assert [packed[at] for at in range(-len(plain), len(plain))] == [*plain, *plain]
    assert pickle.loads(pickle.dumps(packed)) == copy.deepcopy(packed) == plain


def test_a_verdict_on_a_long_text_leaves_the_garbage_collector_little_to_do() -> None:
    """Ten thousand redactions do not stay in memory as ten thousand objects that each full collection walks over."""
    text = "write to hong@example.com now. " * 10_000
    guard = Guard(Guardrail(pii(), stage="input", action="redact"))
    guard.check(text, stage="input")
    gc.collect()
    before = len(gc.get_objects())
    verdict = guard.check(text, stage="input")
    gc.collect()
    assert len(gc.get_objects()) - before < 100
    assert len(verdict.edits) == 10_000
    assert verdict.guarded == "write to <EMAIL_ADDRESS> now. " * 10_000


def test_a_score_of_packed_spans_is_equal_to_one_of_a_tuple() -> None:
    """Whoever compares scores need not know how their spans are kept."""
    kept = (TextSpan(1, 2, "A"), TextSpan(3, 4, "B"))
    assert Score(flagged=True, spans=Packed(TextSpan, [(1, 2, "A"), (3, 4, "B")])) == Score(flagged=True, spans=kept)
