"""What an op returns or yields is judged whatever it is, or refused."""

from __future__ import annotations

import asyncio
import functools
from collections import UserString, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import BaseModel, Field

from llmguard_middleware import ConfigurationError, Guard, Guardrail, GuardrailViolation, UnenforceableError
from llmguard_middleware.scorers import pii
from llmguard_middleware.testing import Flags

MAIL = "hong@example.com"
GONE = "<EMAIL_ADDRESS>"
GUARD = Guard(
    Guardrail(pii(), stage="input", action="redact", name="in"),
    Guardrail(pii(), stage="output", action="redact", name="out"),
)
BLOCKS = Guard(Guardrail(Flags(when="bad text"), stage="output"))


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that knows nothing of async functions and generators."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class Base(BaseModel):
    """A model."""

    number: int = 0


class Sub(Base):
    """One with more."""

    text: str = ""


class Answer(BaseModel):
    """A model of models, with a field that a dump leaves out and one by another name."""

    doc: Base
    hidden: str = Field("", exclude=True)
    named: str = Field("", alias="theName")


@dataclass(frozen=True)
class Note:
    """A frozen dataclass with a text that is not given to it."""

    number: int
    text: str = field(init=False, default=MAIL)


RESULTS: list[tuple[Any, Any]] = [
    (MAIL.encode(), GONE.encode()),
    (b"\xff" + MAIL.encode(), b"\xff" + GONE.encode()),
    ({MAIL: 1}, {GONE: 1}),
    (deque([MAIL], 3), deque([GONE], 3)),
    (defaultdict(list, {"a": [MAIL]}), defaultdict(list, {"a": [GONE]})),
    (UserString(MAIL), UserString(GONE)),
    (Answer(doc=Sub(text=MAIL)), Answer(doc=Sub(text=GONE))),
    (Answer(doc=Base(), hidden=MAIL), Answer(doc=Base(), hidden=GONE)),
    (Answer(doc=Base(), theName=MAIL), Answer(doc=Base(), theName=GONE)),
]


@pytest.mark.parametrize(("value", "told"), RESULTS, ids=lambda value: type(value).__name__)
def test_texts_are_found_wherever_they_are(value: Any, told: Any) -> None:
    """Bytes, keys, containers, excluded fields, fields of subclasses: all judged, in a result of the same type."""
    answer = GUARD.op(lambda: value)()
    assert (answer, type(answer)) == (told, type(told))
    received = []
    GUARD.op(received.append)(value)
    assert received == [told]


def test_frozen_dataclasses_are_judged_field_by_field() -> None:
    """Also those that are not given to it."""
    assert GUARD.op(lambda: Note(1))().text == GONE
    assert isinstance(GUARD.op(lambda: defaultdict(list, a=[MAIL]))().default_factory, type)


class Thing:
    """An object that nobody can look into."""

    def __str__(self) -> str:
        return MAIL


@pytest.mark.parametrize(
    "value", [Thing(), [Thing()], map(str, [MAIL]), (x for x in [MAIL]), {1: MAIL}.values(), ValueError(MAIL)]
)
def test_what_cannot_be_judged_is_refused(value: Any) -> None:
    """A result that holds what nobody can look into is refused if a rule may act on it; opaque=True lets it pass."""
    with pytest.raises(UnenforceableError, match=r"nobody can look into, cannot enforce guardrail .out. .*opaque=True"):
        GUARD.op(lambda: value)()
    assert GUARD.op(opaque=True)(lambda: value)() is value
    assert Guard(Guardrail(pii(), stage="output", action="log")).op(lambda: value)() is value


def test_objects_of_the_program_may_be_arguments() -> None:
    """Arguments are the program's own; what can be read only once cannot be judged, and is refused."""
    thing = Thing()
    assert GUARD.op(lambda given: given is thing)(thing) is True
    with pytest.raises(UnenforceableError, match="which was given an iterator"):
        GUARD.op(lambda given: list(given))(iter([MAIL]))  # noqa: PLW0108 - a class is no function


def test_a_value_in_itself_is_a_sentence() -> None:
    """Values that contain themselves, or are nested too deeply, cannot be judged."""
    endless: list[Any] = []
    endless.append(endless)
    deep: list[Any] = []
    for _ in range(20_000):
        deep = [deep]
    for value, sentence in ((endless, "contains itself"), (deep, "nested too deeply")):
        with pytest.raises(ConfigurationError, match=sentence):
            GUARD.op(lambda given: None)(value)


async def test_an_async_function_in_disguise_is_judged() -> None:
    """A decorator that hides that a function is async, an async object, a partial: what they give is awaited first."""

    async def answers() -> str:
        await asyncio.sleep(0)
        return MAIL

    class Asks:
        async def __call__(self) -> str:
            return MAIL

    for function in (plain(answers), Asks(), functools.partial(answers)):
        op = GUARD.op(function)
        assert await op() == GONE
        result, call = await op.call()
        assert (result, call.output) == (GONE, GONE)


async def test_a_generator_in_disguise_is_refused() -> None:
    """Its pieces would pass unjudged; the sentence says where the decorator belongs."""

    def pieces() -> Iterator[str]:
        yield MAIL

    async def apieces() -> AsyncIterator[str]:
        yield MAIL

    for function in (pieces, apieces):
        with pytest.raises(UnenforceableError, match=r"put @guard\.op on the generator itself"):
            GUARD.op(plain(function))()


def test_bytes_stream_like_text() -> None:
    """A stream of bytes is judged as the text that it is, wherever it is cut, inside a character too."""
    data = f"data: 안녕 {MAIL}입니다\n\n".encode()

    @GUARD.op
    def served() -> Iterator[bytes]:
        for at in range(len(data)):
            yield data[at : at + 1]

    assert b"".join(served()) == f"data: 안녕 {GONE}입니다\n\n".encode()


def test_items_of_a_stream_are_judged_together() -> None:
    """A match that lies across the same field of several items is found; what it takes out is gone from all of them."""

    def deltas() -> Iterator[dict[str, str]]:
        for piece in ("I am ", "hong@", "example", ".com", "!"):
            yield {"type": "delta", "text": piece}

    items = list(GUARD.op(deltas)())
    assert [item["type"] for item in items] == ["delta"] * 5
    assert [item["text"] for item in items] == ["I am ", GONE, "", "", "!"]

    def split() -> Iterator[dict[str, str]]:
        yield {"text": "some bad "}
        yield {"text": "text"}

    released: list[Any] = []
    with pytest.raises(GuardrailViolation):
        released.extend(BLOCKS.op(split)())
    assert released == []


def test_nothing_overtakes_a_held_text() -> None:
    """An item that comes after a text leaves after it, however long the text is held."""

    def events() -> Iterator[Any]:
        yield "hello"
        yield {"type": "middle"}
        yield " world"
        yield {"type": "end"}

    for guard in (GUARD, BLOCKS):
        told = list(guard.op(events)())
        assert ("".join(item for item in told if isinstance(item, str)), told[-2:]) == (
            "hello world",
            [{"type": "middle"}, {"type": "end"}],
        )
    assert list(Guard().op(events)()) == list(events())


def test_a_stream_stops_where_it_swallowed_a_violation() -> None:
    """Once a call below was stopped, no further piece leaves."""
    guard = Guard(Guardrail(Flags(when="bad"), stage="input"))
    model = guard.op(name="model")(str.upper)

    @guard.op
    def pieces() -> Iterator[str]:
        yield "first"
        try:
            model("bad")
        except GuardrailViolation:
            yield "second"

    released: list[str] = []
    with pytest.raises(GuardrailViolation):
        released.extend(pieces())
    stream = pieces()
    assert next(stream) == "first"
    with pytest.raises(GuardrailViolation):
        next(stream)


@pytest.mark.parametrize("stage", ["retrieval", "tool_call", "tool_result", "embedding"])
def test_a_stage_that_nothing_reaches_is_refused(stage: Any) -> None:
    """A guardrail that acts at a stage which no op and no adapter of its guard reaches is refused at the first call."""
    guard = Guard(Guardrail(Flags(when="bad"), stage=stage))
    answer = guard.op(lambda text: text)
    with pytest.raises(UnenforceableError, match=f"at the {stage} stage.*nothing of this guard reaches that stage"):
        answer("x")
    guard.covers(stage)  # it calls check() for them
    assert answer("x") == "x"


def test_ops_of_other_kinds_judge_at_their_stages() -> None:
    """The arguments and the result of a tool, and what a retriever finds, are judged at their own stages."""
    guard = Guard(
        Guardrail(pii(), stage="tool_call", action="redact", name="call"),
        Guardrail(Flags(when="bad", kind="BAD"), stage="tool_result", action="redact", name="result"),
        Guardrail(Flags(when="bad"), stage="retrieval", name="found"),
    )

    @guard.op(stages=("tool_call", "tool_result"))
    def tool(to: str) -> str:
        return f"sent to {to}, bad"

    @guard.op(stages=("input", "retrieval"))
    def search(query: str) -> list[str]:
        return ["good", query]

    @guard.op
    def answer(question: str) -> Any:
        return [tool(MAIL), search(question)]

    assert answer("fine") == [f"sent to {GONE}, <BAD>", ["good", "fine"]]
    with pytest.raises(GuardrailViolation, match="blocked the retrieval"):
        answer("bad")
    with pytest.raises(ConfigurationError, match="gives a stream, which is judged at the output stage only"):
        guard.op(stages=("input", "retrieval"))(_pieces)


def _pieces() -> Iterator[str]:
    yield ""
