"""Ask a subject in one of its modes, and keep all that comes back, also what came before an error."""

from __future__ import annotations

import inspect
from typing import Any

from ._adapter import Adapter, Mode

__all__ = ["Answer", "ask_here", "ask_later"]


class Answer:
    """What came back: the `pieces` of text so far (one, if it is not streamed), the framework's `raw` objects, and
    the `error` if there was one."""  # noqa: D205, D209 - one sentence

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self.raw: list[Any] = []
        self.pieces: list[str] = []
        self.error: BaseException | None = None

    def __repr__(self) -> str:
        return f"Answer({self.text!r}, error={self.error!r})"

    @property
    def text(self) -> str:
        """All of it, so far."""
        return "".join(self.pieces)

    def take(self, reply: Any) -> None:
        """One more reply or chunk."""
        self.raw.append(reply)
        if piece := self._adapter.text(reply):
            self.pieces.append(piece)
        told = self._adapter.so_far(reply)
        assert told is None or told == self.text, f"a chunk says that so far there is {told!r}, and it is {self.text!r}"


def ask_here(adapter: Adapter, subject: Any, mode: Mode, text: str, answer: Answer, at_most: int | None = None) -> None:
    """Ask in a sync mode and take what comes; leave a stream after `at_most` pieces."""
    reply = adapter.call(subject, mode, text)
    if not mode.streamed:
        answer.take(reply)
        return
    chunks = iter(reply)
    try:
        for chunk in chunks:
            answer.take(chunk)
            if at_most is not None and len(answer.pieces) >= at_most:
                break
    finally:
        if (close := getattr(chunks, "close", None)) is not None:
            close()


async def ask_later(
    adapter: Adapter, subject: Any, mode: Mode, text: str, answer: Answer, at_most: int | None = None
) -> None:
    """`ask_here`, in an async mode."""
    reply = adapter.call(subject, mode, text)
    if inspect.isawaitable(reply):
        reply = await reply
    if not mode.streamed:
        answer.take(reply)
        return
    chunks = aiter(reply)
    try:
        async for chunk in chunks:
            answer.take(chunk)
            if at_most is not None and len(answer.pieces) >= at_most:
                break
    finally:
        if (close := getattr(chunks, "aclose", None)) is not None:
            await close()
