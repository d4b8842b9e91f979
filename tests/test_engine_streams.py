"""Guarded streams that end before their time: by their reader, by cancellation, by what they read from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest

from llmguard_middleware import Guard, Guardrail, GuardrailViolation
from llmguard_middleware.scorers import pii
from llmguard_middleware.testing import Flags, Hangs

if TYPE_CHECKING:
    from llmguard_middleware.testing import CapturedTelemetry


def redacting(telemetry: CapturedTelemetry) -> Guard:
    """A guard that redacts a stream while it runs."""
    return Guard(Guardrail(pii(), stage="output", action="redact"), **telemetry.providers)


def test_a_reader_who_leaves_closes_the_source(telemetry: CapturedTelemetry) -> None:
    """The function is told, the span ends, and nothing that was held is given out."""
    guard = redacting(telemetry)
    closed: list[str] = []

    @guard.op
    def letters() -> Iterator[str]:
        """Many."""
        try:
            while True:
                yield "words and a@b.co "
        finally:
            closed.append("closed")

    stream = letters()
    first = next(stream)
    stream.close()  # type: ignore[attr-defined]  # a generator
    assert "a@b.co" not in first
    assert closed == ["closed"]
    assert [span.status for span in telemetry.spans] == ["UNSET"]


async def test_a_cancelled_reader_closes_the_source(telemetry: CapturedTelemetry) -> None:
    """Cancellation reaches the function that is being read, passes untouched, and no task is left."""
    guard = redacting(telemetry)
    waiting, closed = asyncio.Event(), asyncio.Event()

    @guard.op
    async def letters() -> AsyncIterator[str]:
        """One, and then nothing."""
        try:
            yield "words " * 30
            waiting.set()
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def read() -> None:
        async for _ in letters():
            pass

    task = asyncio.ensure_future(read())
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed.is_set()
    assert len(telemetry.spans) == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_reader_cancelled_while_the_answer_is_judged_leaves_nothing_behind() -> None:
    """The scorer under way is cancelled with its reader."""
    hangs = Hangs(use_async=True)
    guard = Guard(Guardrail(hangs, stage="output"))

    @guard.op
    async def letters() -> AsyncIterator[str]:
        """One."""
        yield "a"

    async def read() -> list[str]:
        return [letter async for letter in letters()]

    task = asyncio.ensure_future(read())
    while not hangs.started.is_set():  # noqa: ASYNC110 - an event of threads
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    while not hangs.cancelled.is_set():  # noqa: ASYNC110 - an event of threads
        await asyncio.sleep(0)


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_what_the_source_raises_passes_untouched(error: type[BaseException], telemetry: CapturedTelemetry) -> None:
    """What had left stays, what was held does not leave, and the error is the one that was raised."""
    guard = redacting(telemetry)
    raised = error("x")

    @guard.op
    def letters() -> Iterator[str]:
        """Some, and then no more."""
        yield "words " * 30
        yield "a@b.c"
        raise raised

    got: list[str] = []
    with pytest.raises(error) as seen:
        got.extend(letters())
    assert seen.value is raised
    assert "a@b" not in "".join(got)
    assert telemetry.spans[0].status == "ERROR"


def test_a_stream_that_is_stopped_late_closes_its_source() -> None:
    """With stream="window" the function is closed as soon as its answer is stopped."""
    guard = Guard(Guardrail(Flags(when="bad", cheap=True, reach=3), stage="output", stream="window"))
    closed: list[int] = []

    @guard.op
    def letters() -> Iterator[str]:
        """For ever."""
        try:
            for number in range(10_000):
                yield "bad " if number == 100 else "good "
        finally:
            closed.append(number)

    got: list[str] = []
    with pytest.raises(GuardrailViolation):
        got.extend(letters())
    assert "bad" not in "".join(got)
    assert closed[0] < 200
