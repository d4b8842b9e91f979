"""Script: what the fake model of a trial says and does, and what it was asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

__all__ = ["Gate", "Script", "in_sizes"]

_PATIENCE = 3.0  # seconds


class Gate:
    """Where a model waits until it is let through; open unless `shut()`. For threads and event loops alike.

    Args:
        patience: seconds after which waiting fails.
    """

    def __init__(self, patience: float = _PATIENCE) -> None:
        self._patience = patience
        self._open = threading.Event()
        self._open.set()
        self.reached = threading.Event()

    def shut(self) -> None:
        """Let nobody through."""
        self._open.clear()

    def open(self) -> None:
        """Let everybody through."""
        self._open.set()

    def wait(self) -> None:
        """Wait on this thread until the gate is open."""
        self.reached.set()
        assert self._open.wait(self._patience), "a trial left the gate of its model shut"

    async def wait_async(self) -> None:
        """`wait`, for a coroutine; may be cancelled."""
        self.reached.set()
        for _ in range(int(self._patience / 0.005) + 1):
            if self._open.is_set():
                return
            await asyncio.sleep(0.005)  # an asyncio.Event could not be set from any thread
        msg = "a trial left the gate of its model shut"
        raise AssertionError(msg)


def in_sizes(size: int) -> Callable[[str], Sequence[str]]:
    """A cut of a text into pieces of `size` characters."""
    return lambda text: [text[start : start + size] for start in range(0, len(text), size)]


class Script:
    """What a model says. A fake model needs one line for each way to be called: `reply`, `areply`, `stream`, `astream`.

    Attributes:
        answer: what it says, or a function of the request's text.
        cut: how a streamed answer is cut into pieces.
        error: raised in place of an answer, in a stream after `error_after` pieces.
        gate: where it waits before it answers, in a stream after `gate_after` pieces.
        received: the text of each request that reached it.
        began: set once it has begun to answer.
        material: by stage, the text that crosses there: what a document holds, the arguments that the model gives a
            tool, what the tool returns, what is embedded. For adapters that reach these stages.
        arrived: by stage, the texts that came out on the other side. The adapter's `build` sees to it.
    """

    def __init__(self, patience: float = _PATIENCE) -> None:
        self.answer: str | Callable[[str], str] = "all is well"
        self.cut: Callable[[str], Sequence[str]] = in_sizes(7)
        self.error: BaseException | None = None
        self.error_after = 0
        self.gate = Gate(patience)
        self.gate_after = 0
        self.received: list[str] = []
        self.began = threading.Event()
        self.material: dict[str, str] = {}
        self.arrived: dict[str, list[str]] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Script:
        return self  # what a copied model says and is asked is the same

    def arrive(self, stage: str, text: str) -> None:
        """Remember that `text` came out on the other side of a stage."""
        self.arrived.setdefault(stage, []).append(text)

    def reply(self, text: str) -> str:
        """The whole answer to a request of this text."""
        self.received.append(text)
        self.gate.wait()
        return self._answer(text)

    async def areply(self, text: str) -> str:
        """`reply`, for an async model."""
        self.received.append(text)
        await self.gate.wait_async()
        return self._answer(text)

    def stream(self, text: str) -> Iterator[str]:
        """The pieces of a streamed answer."""
        self.received.append(text)
        for number, piece in enumerate(self._pieces(text)):
            if number == self.gate_after:
                self.gate.wait()
            self._fail(number)
            yield piece

    async def astream(self, text: str) -> AsyncIterator[str]:
        """`stream`, for an async model."""
        self.received.append(text)
        for number, piece in enumerate(self._pieces(text)):
            if number == self.gate_after:
                await self.gate.wait_async()
            self._fail(number)
            yield piece

    def _fail(self, number: int) -> None:
        self.began.set()
        if self.error is not None and number == self.error_after:
            raise self.error

    def _answer(self, text: str) -> str:
        self.began.set()
        if self.error is not None:
            raise self.error
        return self.answer(text) if callable(self.answer) else self.answer

    def _pieces(self, text: str) -> Sequence[str]:
        return self.cut(self.answer(text) if callable(self.answer) else self.answer)
