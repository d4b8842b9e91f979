"""Scorers that do as they are told, and remember what they were given."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any

from .._score import Score, TextSpan
from .._scorer import Scorer

__all__ = ["FakeScorer", "Flags", "Hangs", "Raises", "Returns"]


class FakeScorer(Scorer):
    """A scorer that remembers the texts it was given (`seen`); subclasses say what it does.

    Args:
        name: as for every scorer.
        cheap: run inline on the caller's thread, if sync.
        use_async: be an async scorer.
        reach: make it a local scorer, which redacts a stream through a window.
    """

    def __init__(
        self, *, name: str = "fake", cheap: bool = False, use_async: bool = False, reach: int | None = None
    ) -> None:
        super().__init__(name=name)
        self.cheap = cheap  # type: ignore[misc]  # a class attribute in the base, an option here
        self.reach = reach
        self.seen: list[str] = []
        self.score = self._score_async if use_async else self._score

    def outcome(self, text: str) -> Any:
        """What scoring `text` returns or raises."""
        raise NotImplementedError

    def _score(self, text: str) -> Any:
        self.seen.append(text)
        return self.outcome(text)

    async def _score_async(self, text: str) -> Any:
        self.seen.append(text)
        raw = self.outcome(text)
        return await raw if inspect.isawaitable(raw) else raw


class Flags(FakeScorer):
    """Flags each text that holds `when`, with a span of kind `kind` for each occurrence; `when=""` flags every text."""

    def __init__(self, *, when: str = "", kind: str = "FAKE", name: str = "flags", **options: Any) -> None:
        super().__init__(name=name, **options)
        self._when, self._kind = when, kind

    def outcome(self, text: str) -> Score:
        """Value is the number of occurrences."""
        if not self._when:
            return Score(value=1.0, flagged=True)
        spans: list[TextSpan] = []
        at = text.find(self._when)
        while at >= 0:
            spans.append(TextSpan(at, at + len(self._when), self._kind))
            at = text.find(self._when, at + len(self._when))
        return Score(value=float(len(spans)), flagged=bool(spans), spans=tuple(spans))


class Returns(FakeScorer):
    """Returns `value`, whatever that is."""

    def __init__(self, value: Any, *, name: str = "returns", **options: Any) -> None:
        super().__init__(name=name, **options)
        self._value = value

    def outcome(self, text: str) -> Any:
        """The value."""
        return self._value


class Raises(FakeScorer):
    """Raises `error`, an exception or a function that makes one."""

    def __init__(
        self, error: BaseException | Callable[[], BaseException], *, name: str = "raises", **options: Any
    ) -> None:
        super().__init__(name=name, **options)
        self._error = error

    def outcome(self, text: str) -> Any:
        """Nothing, ever."""
        raise self._error if isinstance(self._error, BaseException) else self._error()


class Hangs(FakeScorer):
    """Hangs for `seconds` or until `release()`, then passes.

    `started`, `ended` and `cancelled` are events; a sync scorer cannot be cancelled.
    """

    def __init__(self, seconds: float = 3600, *, name: str = "hangs", **options: Any) -> None:
        super().__init__(name=name, **options)
        self._seconds = seconds
        self._use_async = bool(options.get("use_async"))
        self._released = threading.Event()
        self.started, self.ended, self.cancelled = threading.Event(), threading.Event(), threading.Event()

    def release(self) -> None:
        """Let every score, also those to come, return."""
        self._released.set()

    def outcome(self, text: str) -> Any:
        """Not flagged, in the end."""
        self.started.set()
        if self._use_async:
            return self._later()
        self._released.wait(self._seconds)
        self.ended.set()
        return False

    async def _later(self) -> bool:
        deadline = asyncio.get_running_loop().time() + self._seconds
        try:
            while not self._released.is_set() and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - released by a thread, which an asyncio.Event does not survive
                await asyncio.sleep(0.005)  # an asyncio.Event could not be set from any thread
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        self.ended.set()
        return False
