"""pii(): recall and precision on generated sentences in two languages, each beside one that only looks like it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from personal import CALLING, DECOYS, SENTENCES, card, decoy, email, iban, korean_phone, other_phone, resident

from llmguard_middleware import Guard, Guardrail
from llmguard_middleware.scorers import pii

SIZE = 1000


def measured(kind: str, made: Callable[[random.Random], str], sentences: tuple[str, ...]) -> tuple[float, float]:
    """Of data that were made, how many were found as they are; of those found of this kind, how many were any."""
    draw = random.Random(kind + made.__name__)
    right = found = 0
    for number in range(SIZE):
        datum, carrier = made(draw), draw.choice(sentences)
        beside = decoy(draw, number % 2)
        before = "" if draw.random() < 0.5 else f"{beside} "
        text = f"{before}{carrier.format(datum)}{'' if before else f' {beside}'}"
        start = len(before) + carrier.index("{}")
        spans = [span for span in pii().score(text).spans if span.kind == kind]
        right += (start, start + len(datum), kind) in spans
        found += len(spans)
    return right / SIZE, right / max(found, 1)


@pytest.mark.parametrize(
    ("kind", "made", "sentences", "recall", "precision"),
    [
        ("EMAIL_ADDRESS", email, SENTENCES, 0.98, 0.98),
        ("CREDIT_CARD", card, SENTENCES, 0.98, 0.98),
        ("IBAN_CODE", iban, SENTENCES, 0.98, 0.98),
        ("KR_RRN", resident, SENTENCES, 0.98, 0.98),
        ("PHONE_NUMBER", korean_phone, SENTENCES, 0.98, 0.98),
        ("PHONE_NUMBER", other_phone, CALLING, 0.9, 0.95),
    ],
    ids=["email", "card", "iban", "resident", "korean-phone", "other-phone"],
)
def test_each_is_found_beside_what_only_looks_like_it(
    kind: str, made: Callable[[random.Random], str], sentences: tuple[str, ...], recall: float, precision: float
) -> None:
    """The issue asks for 0.98 and 0.98, of other phones 0.60 and 0.80."""
    got = measured(kind, made, sentences)
    assert got[0] >= recall, got
    assert got[1] >= precision, got


@pytest.mark.parametrize("name", DECOYS)
def test_what_only_looks_like_it_is_left_alone(name: str) -> None:
    """Of 500 sentences with order numbers, ISBN, timestamps and their like, one in fifty at most is flagged."""
    draw = random.Random(name)
    made, sentences = DECOYS[name]
    texts = [sentences[number % 2].format(made(draw)) for number in range(500)]
    assert len([text for text in texts if pii().score(text).flagged]) <= 10


@pytest.mark.parametrize("seed", range(12))
def test_streams_find_the_same(seed: int) -> None:
    """However a long answer of such sentences is cut, it is redacted as the whole is."""
    draw = random.Random(seed)
    guard = Guard(Guardrail(pii(), stage="output", action="redact"))
    makers = (email, card, iban, resident, korean_phone, other_phone)
    text = ""
    for _ in range(40):
        told = draw.choice(SENTENCES + CALLING).format(draw.choice(makers)(draw))
        end = draw.choice((" ", "\n", ". ", "", " x12", " ext. 7", "-", " 5", "원", "\u200b", " \u200b"))
        text += draw.choice((told, decoy(draw, draw.randint(0, 1)))) + end
    size = draw.choice((1, 2, 3, 5, 11, 40))

    @guard.op
    def stream() -> Iterator[str]:
        """In pieces of about this size."""
        at = 0
        while at < len(text):
            step = draw.randint(1, 2 * size)
            yield text[at : at + step]
            at += step

    for _ in range(10):
        assert "".join(stream()) == guard.check(text, stage="output").guarded
