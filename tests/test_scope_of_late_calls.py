"""What is said where a call is made holds for it wherever it begins, as a stream does when it is read."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from llmguard_middleware import Guard, Guardrail
from llmguard_middleware._begun import held, said_when_made
from llmguard_middleware._scope import attributes, captured
from llmguard_middleware.testing import Flags, Returns

OF_ACME = {"tenant.id": "acme"}


def guard_of_acme() -> Guard:
    """A guard that has a rule for one tenant only."""
    return Guard(Guardrail(Flags(when="bad", cheap=True), stage="output", action="redact", where=OF_ACME))


class Late:
    """One text under a guard as each kind of op that begins later than it is called."""

    def __init__(self, guard: Guard) -> None:
        @guard.op
        async def coroutine(text: str) -> str:
            return text

        @guard.op
        def generator(text: str) -> Iterator[str]:
            yield from text.split("|")

        @guard.op
        async def stream(text: str) -> AsyncIterator[str]:
            for word in text.split("|"):
                yield word

        async def recorded(late: Any) -> str:
            return (await late)[0]  # type: ignore[no-any-return]  # the result, without the call

        async def joined(late: Any) -> str:
            return "".join([piece async for piece in late])

        self.made: dict[str, Callable[[str], Any]] = {
            "coroutine": coroutine,
            "coroutine.call": coroutine.call,
            "generator": generator,
            "stream": stream,
            "stream.call": stream.call,
        }
        self.read: dict[str, Callable[[Any], Any]] = {
            "coroutine": _awaited,
            "coroutine.call": lambda late: asyncio.run(recorded(late)),
            "generator": "".join,
            "stream": lambda late: asyncio.run(joined(late)),
            "stream.call": lambda late: "".join(asyncio.run(recorded(late))),
        }


def _awaited(late: Any) -> Any:
    async def once() -> Any:
        return await late

    return asyncio.run(once())


KINDS = ("coroutine", "coroutine.call", "generator", "stream", "stream.call")


@pytest.mark.parametrize("kind", KINDS)
def test_the_tenant_is_that_of_the_place_where_the_call_was_made(kind: str) -> None:
    """Each kind of op that begins after the block still meets the tenant's rules, and one made outside does not."""
    guard = guard_of_acme()
    late = Late(guard)
    with guard.attributes(tenant__id="acme"):
        made = late.made[kind]("so |bad")
    other = late.made[kind]("so |bad")
    assert "bad" not in late.read[kind](made)
    assert late.read[kind](other).replace("|", "") == "so bad"


@pytest.mark.parametrize("kind", KINDS)
def test_where_it_is_read_says_less_than_where_it_was_made(kind: str) -> None:
    """Read inside another tenant's block, a call is of its own tenant still; what only the reader says holds, too."""
    seen: list[Any] = []

    def look(text: str, call: Any) -> bool:
        seen.append(dict(call.attributes))
        return False

    guard = Guard(Guardrail(look, stage="input"))
    late = Late(guard)
    with guard.attributes(tenant__id="acme"):
        made = late.made[kind]("x")
    with guard.attributes(tenant__id="other", region="eu"):
        late.read[kind](made)
    assert seen == [{"tenant.id": "acme", "region": "eu"}]


@pytest.mark.parametrize("kind", KINDS)
def test_a_bypass_is_over_with_its_block(kind: str) -> None:
    """A call that was made in a bypass and begins after it is judged, with attributes as well as without."""
    guard = Guard(Guardrail(Flags(when="bad", cheap=True), stage="output", action="redact"))
    late = Late(guard)
    with guard.bypass(reason="test"):
        made = late.made[kind]("so |bad")
        with guard.attributes(tenant__id="acme"):
            other = late.made[kind]("so |bad")
    assert "bad" not in late.read[kind](made)
    assert "bad" not in late.read[kind](other)


@pytest.mark.parametrize("kind", KINDS)
def test_a_deadline_is_over_with_its_block(kind: str) -> None:
    """A reader who takes their time is not told that the guardrails did."""
    guard = Guard(Guardrail(Returns(False), stage="output"))
    late = Late(guard)
    with guard.attributes(tenant__id="acme"), guard.deadline(1e-9):
        made = late.made[kind]("x")
    assert late.read[kind](made) == "x"


def test_calls_below_a_stream_are_of_its_tenant() -> None:
    """What a generator calls while it is read meets the tenant's rules, at its first item and at its last."""
    guard, seen = guard_of_acme(), []
    below = guard.op(_same)

    @said_when_made
    def above() -> Iterator[str]:
        for word in ("bad", "bad"):
            seen.append(below(word))
            yield word

    with guard.attributes(tenant__id="acme"):
        stream = above()
    assert list(stream) == ["bad", "bad"]
    assert len(seen) == 2
    assert "bad" not in seen


def _same(text: str) -> str:
    return text


async def test_a_stream_that_a_coroutine_gives_is_of_its_tenant() -> None:
    """A method that is awaited for a stream begins as it was made twice: when it is awaited, and when that is read."""
    guard, seen = guard_of_acme(), []

    async def letters() -> AsyncIterator[str]:
        seen.append(attributes())
        yield "a"

    @said_when_made
    async def asked() -> AsyncIterator[str]:
        seen.append(attributes())
        return letters()

    async def bare() -> AsyncIterator[str]:
        return letters()

    with guard.attributes(tenant__id="acme"):
        made = asked()
        other = held(bare(), captured())
    for one in (made, other):
        assert [letter async for letter in await one] == ["a"]
    assert seen == [OF_ACME] * 3


def test_a_reader_is_not_told_what_holds_inside() -> None:
    """Between two items, and after the last one, nothing is said where the stream is read."""
    guard, inside = guard_of_acme(), []

    @said_when_made
    def letters() -> Iterator[str]:
        for letter in "ab":
            inside.append(attributes())
            yield letter

    with guard.attributes(tenant__id="acme"):
        stream = letters()
    outside = [attributes() for _ in stream] + [attributes()]
    assert inside == [OF_ACME, OF_ACME]
    assert outside == [None, None, None]


def test_what_a_stream_says_itself_holds_when_it_goes_on() -> None:
    """A block that a generator yields in goes on with it, and its reader hears nothing of it."""
    guard, inside = guard_of_acme(), []

    def letters() -> Iterator[str]:
        with guard.attributes(region="eu"):
            yield "a"
            inside.append(attributes())
        yield "b"
        inside.append(attributes())

    with guard.attributes(tenant__id="acme"):
        stream = held(letters(), captured())
    outside = [attributes() for _ in stream]
    assert inside == [{"tenant.id": "acme", "region": "eu"}, OF_ACME]
    assert outside == [None, None]


def test_a_task_keeps_the_tenant_of_its_call() -> None:
    """A task for a call that was made inside the block, and which runs when the block is left, is of the tenant."""
    guard = guard_of_acme()
    late = Late(guard)

    async def one() -> str:
        with guard.attributes(tenant__id="acme"):
            task = asyncio.create_task(late.made["coroutine"]("so bad"))
        return await task

    assert "bad" not in asyncio.run(one())


def test_a_held_generator_is_one_in_every_way() -> None:
    """It takes what is sent and thrown, is closed, and says what it returned, as the generator itself."""
    guard, told = guard_of_acme(), []

    def echo() -> Any:
        got = yield "first"
        try:
            yield got
        except KeyError:
            yield "caught"
        try:
            yield "last"
        finally:
            told.append(attributes())

    with guard.attributes(tenant__id="acme"):
        made = held(echo(), captured())
        returns = held(_returning(), captured())
    assert next(made) == "first"
    assert made.send("sent") == "sent"
    assert made.throw(KeyError("x")) == "caught"
    assert next(made) == "last"
    made.close()
    assert told == [OF_ACME]
    assert list(made) == []
    with pytest.raises(StopIteration) as stopped:
        next(returns)
    assert stopped.value.value == "returned"


def _returning() -> Any:
    return "returned"
    yield


async def test_a_held_async_generator_is_one_in_every_way() -> None:
    """Likewise."""
    guard, told = guard_of_acme(), []

    async def echo() -> Any:
        got = yield "first"
        try:
            yield got
        except KeyError:
            yield "caught"
        try:
            yield "last"
        finally:
            told.append(attributes())

    with guard.attributes(tenant__id="acme"):
        made = held(echo(), captured())
    assert await anext(made) == "first"
    assert await made.asend("sent") == "sent"
    assert await made.athrow(KeyError("x")) == "caught"
    assert await anext(made) == "last"
    await made.aclose()
    assert told == [OF_ACME]
    assert [one async for one in made] == []


async def test_a_coroutine_that_was_made_elsewhere_is_held() -> None:
    """held() takes coroutines, and gives back what it cannot hold."""
    guard = guard_of_acme()

    async def said() -> Any:
        return attributes()

    with guard.attributes(tenant__id="acme"):
        coroutine, text = held(said(), captured()), held("text", captured())
    assert await coroutine == OF_ACME
    assert text == "text"


def test_a_coroutine_in_a_thread_that_ends_elsewhere_breaks_nothing() -> None:
    """A stream that is begun in one context and closed in another ends."""
    guard = guard_of_acme()

    async def letters() -> AsyncIterator[str]:
        yield "a"
        yield "b"

    with guard.attributes(tenant__id="acme"):
        stream = held(letters(), captured())

    async def first() -> str:
        return str(await anext(stream))

    loop = asyncio.new_event_loop()
    try:
        assert loop.run_until_complete(first()) == "a"
        loop.run_until_complete(stream.aclose())
    finally:
        loop.close()


def test_methods_look_as_they_did() -> None:
    """Frameworks that ask whether a method is async or a generator, or for its parameters, are told the truth."""

    class Thing:
        @said_when_made
        async def coroutine(self, one: int = 1) -> None:
            """Says nothing."""

        @said_when_made
        def generator(self) -> Iterator[int]:
            yield 1

        @said_when_made
        async def stream(self) -> AsyncIterator[int]:
            yield 1

        @said_when_made
        def plain(self) -> int:
            return 1

    thing = Thing()
    assert inspect.iscoroutinefunction(thing.coroutine)
    assert inspect.isgeneratorfunction(thing.generator)
    assert inspect.isasyncgenfunction(thing.stream)
    assert not inspect.iscoroutinefunction(thing.plain)
    assert str(inspect.signature(thing.coroutine)) == "(one: 'int' = 1) -> 'None'"
    assert (thing.coroutine.__name__, thing.coroutine.__doc__) == ("coroutine", "Says nothing.")
    assert Thing.plain(thing) == 1
    assert said_when_made(Thing.plain) is Thing.plain
