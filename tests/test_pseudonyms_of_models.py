"""Pseudonymize, model, restore: 10,000 generated texts, and a model that does to placeholders what models do."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Iterator

import pytest
from growth import growth

from llmguard_middleware import Guard, Guardrail
from llmguard_middleware._placeholders import put_back, unfinished
from llmguard_middleware.scorers import pii

TEXTS = 10_000
PLACEHOLDER = re.compile(r"<[A-Z_]+_\d+_[0-9a-f]{8}>")
SENTENCES = (
    *(
        "Write to {} today.",
        "메일은 {}입니다. ",
        "({}), please",
        "{}",
        "a < b, <b>{}</b> > c",
        "고객님의 정보는 '{}'이며 ",
    ),
    *("<EMAIL_ADDRESS_1> is no {}", "값={};", "\n- {}\n", "I said <{}>!", "No data here. ", "< <EMAIL_ADDRESS_"),
)


def datum(draw: random.Random) -> str:
    """Something that pii() finds."""
    number = draw.randint(1000, 9999)
    return draw.choice(
        (
            f"user{number}@example.com",
            f"Hong.{number % 7}@mail.example.co.kr",
            f"010-{number}-{draw.randint(1000, 9999)}",
            "4111-1111-1111-1111",
            f"{number % 100:02}0101-1{draw.randint(100000, 999999)}",
            f"48.90.{number % 256}.{draw.randint(0, 255)}",
        )
    )


def text_of(draw: random.Random) -> tuple[str, list[str]]:
    """A text and the data in it, in order; some of them twice."""
    known = [datum(draw) for _ in range(3)]
    text, data = "", []
    for sentence in draw.choices(SENTENCES, k=draw.randint(1, 4)):
        if "{}" in sentence:
            data.append(draw.choice(known))
        text += sentence.format(data[-1] if data else "") + " "
    return text, data


def as_is(name: str, draw: random.Random) -> str:
    """The placeholder as it was given."""
    return name


def in_other_letters(name: str, draw: random.Random) -> str:
    """In small letters, in capitals, or in a mixture."""
    return draw.choice(
        (name.lower(), name.upper(), name.title(), "".join(draw.choice((c, c.swapcase())) for c in name))
    )


def split(name: str, draw: random.Random) -> str:
    """With a space or a line break where a model broke it, and with Markdown's escapes."""
    at = draw.randint(1, len(name) - 1)
    between = draw.choice((" ", "\n", "\u200b", "\r\n  "))
    return draw.choice((name[:at] + between + name[at:], name.replace("_", r"\_"), name.replace("_", " ")))


def answer_of(text: str, data: list[str], draw: random.Random) -> tuple[str, str]:
    """What a model makes of a text, and what its reader should see."""
    names = PLACEHOLDER.findall(text)
    assert len(names) == len(data)
    pairs = list(zip(names, data, strict=True)) * draw.randint(1, 3)  # repeated
    draw.shuffle(pairs)  # in another order
    said = shown = draw.choice(("", "Sure: ", "네, ", "<", "<<b>"))
    for name, value in pairs:
        between = draw.choice((", ", "", "이고 ", " <", "\n", "<EMAIL", "> "))
        said += draw.choice((as_is, as_is, in_other_letters, split))(name, draw) + between
        shown += value + between
    return said, shown


def pieces(text: str, draw: random.Random) -> Iterator[str]:
    """A text in pieces: letters, tokens, lines, all at once, with empty ones in between."""
    sizes = draw.choice(((1,), (1, 2, 3), (4,), (3, 17, 1), (64,), (len(text) + 1,), (0, 5)))
    at = 0
    while at < len(text):
        size = draw.choice(sizes)
        yield text[at : at + size]
        at += size


GUARD = Guard(Guardrail(pii(), stage="input", action="pseudonymize"))


class Model:
    """Answers with the placeholders that it was given, in its own way; `shown` is what its reader should see."""

    def __init__(self, number: int) -> None:
        self.draw = random.Random(number)
        self.text, self.data = text_of(self.draw)
        self.shown = ""

    def answer(self, text: str) -> str:
        """What it says to a text."""
        said, self.shown = answer_of(text, self.data, self.draw)
        return said


@pytest.mark.slow
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_every_original_comes_back(streamed: bool) -> None:
    """The answer to each of 10,000 texts holds each original where the model put its placeholder, and nothing else."""
    models: list[Model] = []

    @GUARD.op
    def whole(text: str) -> str:
        """The answer."""
        return models[-1].answer(text)

    @GUARD.op
    def in_pieces(text: str) -> Iterator[str]:
        """The answer in pieces."""
        yield from pieces(models[-1].answer(text), models[-1].draw)

    for number in range(TEXTS):
        models[:] = [model] = [Model(number)]
        got = "".join(in_pieces(model.text)) if streamed else whole(model.text)
        assert got == model.shown, (number, model.text)


def test_every_original_comes_back_to_async_readers() -> None:
    """Of the first 1,000 texts, streamed to an event loop."""
    models: list[Model] = []

    @GUARD.op
    async def in_pieces(text: str) -> AsyncIterator[str]:
        """The answer in pieces."""
        for piece in pieces(models[-1].answer(text), models[-1].draw):
            yield piece

    async def run() -> None:
        for number in range(1000):
            models[:] = [model] = [Model(number)]
            got = "".join([piece async for piece in in_pieces(model.text)])
            assert got == model.shown, (number, model.text)

    asyncio.run(run())


def test_what_only_resembles_a_placeholder_stays() -> None:
    """Another token, a missing bracket or more in between than a model breaks one with is plain text."""
    name = "<EMAIL_ADDRESS_1_0123abcd>"
    for text in (
        "<EMAIL_ADDRESS_1_0123abce>",
        name[1:],
        name[:-1],
        f"<{' ' * 80}{name[1:]}",
        name.replace("AIL", "AI.L"),
    ):
        assert put_back(text, {name: "a@b.co"}) == text
    assert put_back("<email address 1 0123ABCD>", {name: "a@b.co"}) == "a@b.co"


@pytest.mark.parametrize("unit", ["<", "<EMAIL_ADDRESS_1_", "< >", "<E>", "<EMAIL_ADDRESS_1_\n", "<\\"])
def test_what_is_made_to_be_slow_is_linear(unit: str) -> None:
    """Eight times as much of a text that begins like placeholders everywhere takes eight times as long, not 64."""
    names = {f"<EMAIL_ADDRESS_{number}_{number:08x}>": "a@b.co" for number in range(20)}
    assert growth(lambda text: put_back(text, names), unit) < 32
    assert growth(lambda text: unfinished(text, names), unit) < 32
