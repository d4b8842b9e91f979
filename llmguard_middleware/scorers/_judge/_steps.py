"""What a judge wants done, and two thin drivers that do it, sync and async."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from time import sleep
from typing import Any, NamedTuple, TypeVar

from ..._asking import asking
from ._model import JudgeModel, Question, Reply

__all__ = ["Ask", "Nap", "Steps", "arun", "run"]

T = TypeVar("T")


class Ask(NamedTuple):
    """Ask the model; a Reply is sent back, or what it raised is thrown in."""

    question: Question


class Nap(NamedTuple):
    """Wait for so many seconds."""

    seconds: float


Steps = Generator[Ask | Nap, Any, T]


def run(steps: Steps[T], model: JudgeModel, judge: str) -> T:
    """Carry out the steps of this judge on this thread; what it asks is marked as its own."""
    try:
        step = next(steps)
        while True:
            reply: Reply | None = None
            try:
                if isinstance(step, Ask):
                    with asking(judge):
                        reply = model.ask(step.question)
                else:
                    sleep(step.seconds)
            except BaseException as error:  # noqa: BLE001 - the steps say what becomes of it
                step = steps.throw(error)
            else:
                step = steps.send(reply)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # StopIteration.value is Any
    finally:
        steps.close()


async def arun(steps: Steps[T], model: JudgeModel, judge: str) -> T:
    """The same on this event loop."""
    try:
        step = next(steps)
        while True:
            reply: Reply | None = None
            try:
                if isinstance(step, Ask):
                    with asking(judge):
                        reply = await model.aask(step.question)
                else:
                    await asyncio.sleep(step.seconds)
            except BaseException as error:  # noqa: BLE001 - as above
                step = steps.throw(error)
            else:
                step = steps.send(reply)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # as above
    finally:
        steps.close()
