"""380 replies of a model of 135 million parameters, which gets the form of an answer wrong in every way there is.

SmolLM2-135M-Instruct (Apache-2.0) said them all to a judge's own prompts: `python -m tests.real.record_judge_replies`.
What each one says was noted by hand, by reading it, before it was read by the judge: `said` is the value that the reply
states, as the top-level verdict, in an object that is complete and with nothing in the reply that states another; null
is all else: prose, however clear, objects that were cut off or never closed, numbers off the scale, several verdicts.
A reply without a brace was not looked at again: there is no object in it. Reading them made two rules stricter (objects
that were never closed, a rating beside the score), before the judge was run on any.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from llmguard_middleware.scorers import judge

FILE = Path(__file__).parent / "data/judge_replies.jsonl"
ASKED = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
REPLIES = [(one["prompt"], one["scale"], reply) for one in ASKED for reply in one["replies"]]


def scored(prompt: str, scale: Any, reply: str) -> Any:
    """The score of a judge whose model gives this reply to this question."""
    return judge("{output}", model=lambda _: reply, scale=scale).score(output=prompt)


def test_three_hundred_malformed_replies_make_no_score() -> None:
    """None of them raises anything, none is given a value, each says why."""
    malformed = [(prompt, scale, reply) for prompt, scale, reply in REPLIES if reply["said"] is None]
    scores = [scored(prompt, scale, reply["reply"]) for prompt, scale, reply in malformed]
    assert len(malformed) == 363
    assert [reply["id"] for (_, _, reply), score in zip(malformed, scores, strict=True) if not score.unscored] == []
    assert {score.value for score in scores} == {None}
    assert all(score.explanation.startswith("not scored: ") for score in scores)
    assert Counter(score.metadata["reason"] for score in scores).keys() <= {
        "no_answer",
        "empty",
        "not_on_scale",
        "contradictory",
        "echo",
    }


def test_what_the_others_say_is_read_or_left_and_never_something_else() -> None:
    """Of seventeen that a person can read, ten: the judge is stricter, and wrong about none."""
    readable = [(prompt, scale, reply) for prompt, scale, reply in REPLIES if reply["said"] is not None]
    scores = [(reply["said"], scored(prompt, scale, reply["reply"])) for prompt, scale, reply in readable]
    assert [(said, score.value) for said, score in scores if score.value not in (None, said)] == []
    assert (len(readable), sum(score.value is not None for _, score in scores)) == (17, 10)


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 8])
def test_a_reply_that_is_cut_anywhere_never_says_something_else(cut: int) -> None:
    """The first part of each reply, wherever it ends, says what the whole says, or nothing."""
    for prompt, scale, reply in REPLIES:
        text = reply["reply"]
        if "{" in text:
            part = scored(prompt, scale, text[: len(text) * cut // 9])
            assert part.value in (None, reply["said"]), reply["id"]
