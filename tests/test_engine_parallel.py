"""Guardrails at once: together they take as long as the slowest, and the first that stops the call ends it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from llmguard_middleware import Guard, Guardrail, GuardrailViolation, Monitor, MonitorQueue, scorer
from llmguard_middleware.testing import Flags, Hangs, Returns


@pytest.fixture
def five() -> Iterator[list[Hangs]]:
    """Five async scorers that hang."""
    fakes = [Hangs(name=f"slow-{n}", use_async=True) for n in range(5)]
    yield fakes
    for fake in fakes:
        fake.release()


async def test_async_guardrails_run_at_once(five: list[Hangs]) -> None:
    """All five have begun before any of them is done."""
    guard = Guard(*[Guardrail(fake, stage="input") for fake in five])
    check = asyncio.ensure_future(guard.acheck("x", stage="input"))
    while not all(fake.started.is_set() for fake in five):  # noqa: ASYNC110 - an event of threads
        await asyncio.sleep(0)
    assert not any(fake.ended.is_set() for fake in five)
    for fake in five:
        fake.release()
    assert (await check).outcome == "passed"


async def test_a_flagged_one_ends_the_check_and_cancels_the_rest(five: list[Hangs]) -> None:
    """The verdict is there while the others still hang, and they are cancelled."""

    @scorer
    async def fast(text: str) -> bool:
        """Flags once the others have begun."""
        while not all(fake.started.is_set() for fake in five):  # noqa: ASYNC110 - an event of threads
            await asyncio.sleep(0)
        return True

    guard = Guard(*[Guardrail(fake, stage="input") for fake in five], Guardrail(fast, stage="input"))
    verdict = await guard.acheck("x", stage="input")
    assert verdict.cause.rule == "fast"
    assert [finding.outcome for finding in verdict.findings] == ["skipped"] * 5 + ["blocked"]
    while not all(fake.cancelled.is_set() for fake in five):  # noqa: ASYNC110 - an event of threads
        await asyncio.sleep(0)
    assert not any(fake.ended.is_set() for fake in five)


def test_sync_callers_get_the_same(five: list[Hangs]) -> None:
    """From a thread too: the scorers on the guard's loop are cancelled, those in the pool are not waited for."""
    in_pool = Hangs(name="pool")

    @scorer
    def fast(text: str) -> bool:
        """Flags once the others have begun."""
        return all(fake.started.wait(10) for fake in (*five, in_pool))

    guard = Guard(*[Guardrail(fake, stage="input") for fake in (*five, in_pool)], Guardrail(fast, stage="input"))
    assert guard.check("x", stage="input").cause.rule == "fast"
    assert all(fake.cancelled.wait(10) for fake in five)
    assert not in_pool.ended.is_set()
    in_pool.release()


def test_an_inline_rule_that_flags_does_not_wait_for_slow_ones(five: list[Hangs]) -> None:
    """A cheap scorer's block is a verdict at once, also if it is the last of the rules."""
    guard = Guard(
        *[Guardrail(fake, stage="input") for fake in five], Guardrail(Flags(when="x", cheap=True), stage="input")
    )
    assert guard.check("x", stage="input").cause.rule == "flags"
    assert not any(fake.ended.is_set() for fake in five)


async def test_the_loop_turns_while_sync_scorers_run() -> None:
    """A sync scorer that is not cheap runs in a thread: the loop goes on while it does."""
    fake = Hangs()
    guard = Guard(Guardrail(fake, stage="input"))
    check = asyncio.ensure_future(guard.acheck("x", stage="input"))
    turns = 0
    while not fake.started.is_set() or turns < 10:
        turns += 1
        await asyncio.sleep(0)
    assert not check.done()
    fake.release()
    assert (await check).outcome == "passed"


async def test_the_loop_gets_its_turn_among_many_cheap_scorers() -> None:
    """Inline scorers that add up to much time let others run in between."""
    turns: list[int] = []
    spent = threading.Event()

    @scorer(cheap=True)
    def long(text: str) -> bool:
        """Some milliseconds."""
        spent.wait(0.005)
        return False

    guard = Guard(*[Guardrail(long, stage="input", name=f"r{n}") for n in range(10)])

    async def other(check: asyncio.Future[Any]) -> None:
        while not check.done():
            turns.append(1)
            await asyncio.sleep(0)

    check = asyncio.ensure_future(guard.acheck("x", stage="input"))
    await other(check)
    assert len(turns) >= 5


async def test_a_race_does_not_keep_the_model_waiting() -> None:
    """The model is asked while the guardrail is still at work; its answer is given when the verdict is there."""
    hangs = Hangs(use_async=True)
    guard = Guard(Guardrail(hangs, stage="input", race=True))
    asked = asyncio.Event()

    @guard.op
    async def model(text: str) -> str:
        """An answer."""
        asked.set()
        return "answer"

    call = asyncio.ensure_future(model("x"))
    await asked.wait()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not call.done()
    hangs.release()
    assert await call == "answer"


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_race_that_flags_releases_nothing_of_a_stream(kind: str) -> None:
    """Not a letter leaves before the verdict, nor after it if it stops the call."""
    hangs = Hangs(use_async=kind == "async")

    @scorer
    def late(text: str) -> bool:
        """Flags when it is let."""
        return True

    guard = Guard(
        Guardrail(hangs, stage="input", race=True, name="hangs"), Guardrail(late, stage="input", race=True, name="late")
    )
    got: list[str] = []

    @guard.op
    async def model(text: str) -> Any:
        """Letters."""
        for letter in "answer":
            yield letter

    with pytest.raises(GuardrailViolation):  # noqa: PT012 - the block is what is claimed
        async for letter in model("x"):
            got.append(letter)  # noqa: PERF401 - what came before the violation counts
    assert got == []
    hangs.release()


@pytest.mark.parametrize("drop", ["newest", "oldest", "block"])
def test_a_full_queue_holds_nobody_beyond_its_policy(drop: Any) -> None:
    """With a scorer that never comes back every caller returns, every drop is counted, and flush() is back in time."""
    dead = Hangs()
    guard = Guard(Monitor(dead), queue=MonitorQueue(size=5, drop=drop, wait=0.001))

    @guard.op
    def echo(text: str) -> str:
        """The same."""
        return text

    threads = [threading.Thread(target=lambda: [echo("x") for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    stats = guard.monitoring
    assert stats.observed == 80
    assert stats.dropped == guard.dropped == 75
    assert stats.pending == guard.flush(0.01) == 5
    dead.release()
    assert guard.flush(10) == 0
    assert guard.monitoring.scored == 5


def test_a_dead_scorer_leaves_the_others_of_the_guard_alive() -> None:
    """flush() is back in its time, and a guardrail of the same guard goes on judging."""
    dead = Hangs()
    guard = Guard(Monitor(dead), Guardrail(Returns(True, name="no"), stage="input"))
    guard.op(_hello)()
    assert guard.flush(0.05) == 1
    assert guard.check("x", stage="input").outcome == "blocked"
    dead.release()


def _hello() -> str:
    return "hello"
