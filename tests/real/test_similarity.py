"""embedding_similarity() with a real model."""

from __future__ import annotations

import pytest

from llmguard_middleware import Guard, Guardrail
from llmguard_middleware.scorers import embedding_similarity, levenshtein

from ._minilm import MiniLM

pytestmark = pytest.mark.real

# Expected, the same in other words, something else with words of it.
ANSWERS = [
    ("The shop opens at nine in the morning.", "We open at 9 am.", "The bread of the shop is baked at night."),
    ("You can return the goods within 30 days.", "Returns are accepted for 30 days.", "The goods weigh 30 kilograms."),
    ("The capital of France is Paris.", "Paris is France's capital city.", "France exports a lot of cheese."),
    ("Water boils at 100 degrees Celsius.", "At 100 °C, water starts to boil.", "Water covers most of the planet."),
    ("Your order was shipped yesterday.", "We sent out your order yesterday.", "Your order cannot be changed online."),
    ("The meeting was moved to Friday.", "They rescheduled the meeting to Friday.", "Friday's lunch is fish."),
    ("He wrote the novel in 1925.", "The novel was written by him in 1925.", "He has never read a novel."),
    ("Please restart the router.", "Turn the router off and on again.", "The router has four ports."),
    ("The battery lasts ten hours.", "One charge is enough for ten hours.", "The battery is under the seat."),
    ("Payment is due in two weeks.", "You have to pay within 14 days.", "Two weeks of holidays are paid."),
]


def test_meaning_tells_what_letters_do_not() -> None:
    """By default MiniLM finds eight of ten answers in other words and none of ten others; letters find neither."""
    for scorer, expected in ((embedding_similarity(MiniLM()), (8, 0)), (levenshtein(), (0, 0))):
        same = [scorer.score(said, reference=reference) for reference, said, _ in ANSWERS]
        other = [scorer.score(said, reference=reference) for reference, _, said in ANSWERS]
        assert tuple(sum(not score.flagged for score in scores) for scores in (same, other)) == expected


def test_a_guard_blocks_what_means_something_else() -> None:
    """As a guardrail of the output, with a fixed reference whose vector is made once."""
    expected, same, other = ANSWERS[1]
    guard = Guard(Guardrail(embedding_similarity(MiniLM(), reference=expected), stage="output"))
    assert guard.check(same, stage="output").outcome == "passed"
    assert guard.check(other, stage="output").outcome == "blocked"
