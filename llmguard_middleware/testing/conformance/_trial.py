"""Trial: one subject under one guard in one mode, with what its scenario wants to know afterwards."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from ..._guard import Guard
from ..._rules import Guardrail, Monitor
from ...errors import ConfigurationError, GuardrailViolation
from .._telemetry import CapturedSpan, captured_telemetry
from ._adapter import Adapter, Mode
from ._ask import Answer, ask_here, ask_later
from ._script import Script

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Refused", "Trial"]

_THREADS = 8
_TOLD = ("llmguard.verdict", "llmguard.flagged_by")


class Refused(Exception):  # noqa: N818 - what an adapter does
    """The adapter would not guard a subject with this guard."""


class Trial:
    """One subject, asked in one mode. Use as an async context manager.

    Args:
        adapter: whose subject.
        mode: how it is asked.
        patience: seconds until something that should have happened is said not to.
    """

    def __init__(self, adapter: Adapter, mode: Mode, patience: float) -> None:
        self.adapter, self.mode, self.patience = adapter, mode, patience
        self.script = Script(patience)
        self.telemetry = captured_telemetry()
        self.subject: Any = None
        self._guards: list[Guard] = []
        self._threads = ThreadPoolExecutor(_THREADS, "trial")
        self._asking: list[asyncio.Task[None]] = []
        self._cleanups: list[Callable[[], object]] = [self.script.gate.open]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for cleanup in self._cleanups:
            cleanup()
        for guard in self._guards:
            guard.shutdown(0)
        self._threads.shutdown(wait=False)

    def guard(self, *rules: Guardrail | Monitor, **options: Any) -> Guard:
        """A guard whose telemetry is captured."""
        guard = Guard(*rules, **self.telemetry.providers, **options)
        self._guards.append(guard)
        return guard

    def build(self, *rules: Guardrail | Monitor, **options: Any) -> Guard:
        """Put a new guard of these rules around a new subject.

        Raises:
            Refused: if the adapter will not.
        """
        guard = self.guard(*rules, **options)
        try:
            self.subject = self.adapter.build(guard, self.script)
        except ConfigurationError as error:
            raise Refused(str(error)) from error
        return guard

    def finally_(self, cleanup: Callable[[], object]) -> None:
        """Do this at the end, whatever happens."""
        self._cleanups.append(cleanup)

    async def ask(self, text: str, *, at_most: int | None = None) -> Answer:
        """Ask the subject; an exception ends up in the answer. A stream is left after `at_most` pieces."""
        answer = Answer(self.adapter)
        await self._ask(text, answer, at_most)
        return answer

    def begin(self, text: str) -> tuple[Answer, asyncio.Task[None]]:
        """Start asking: the answer fills up while the task runs. Cancelling the task cancels an async call."""
        answer = Answer(self.adapter)
        asking = asyncio.ensure_future(self._ask(text, answer, None))
        self._asking.append(asking)
        return answer, asking

    async def _ask(self, text: str, answer: Answer, at_most: int | None) -> None:
        try:
            if self.mode.is_async:
                await ask_later(self.adapter, self.subject, self.mode, text, answer, at_most)
            else:
                given = (self.adapter, self.subject, self.mode, text, answer, at_most)
                work = partial(copy_context().run, ask_here, *given)
                await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except Exception as error:
            if isinstance(error, AssertionError):
                raise
            if isinstance(error, ConfigurationError) and not answer.pieces:  # some can tell only at the first call
                raise Refused(str(error)) from error
            answer.error = error

    async def answered(self, text: str) -> Answer:
        """Ask, and expect an answer."""
        answer = await self.ask(text)
        assert answer.error is None, f"an answer was expected and {answer.error!r} was raised"
        return answer

    async def stopped(self, text: str, code: str = "blocked") -> tuple[Answer, GuardrailViolation]:
        """Ask, and expect a GuardrailViolation of this code."""
        answer = await self.ask(text)
        error = answer.error
        assert isinstance(error, GuardrailViolation), f"a GuardrailViolation was expected and there was {answer!r}"
        assert error.code == code, f"the violation's code is {error.code!r}, not {code!r}"
        return answer, error

    @property
    def spans(self) -> list[CapturedSpan]:
        """The ended spans of calls: not those of single guardrails and monitors, nor those of calls below."""
        spans = [span for span in self.telemetry.spans if not span.name.startswith("llmguard.")]
        return [span for span in spans if span.parent is None] if self.adapter.composite else spans

    def span(self) -> CapturedSpan:
        """The one span there must be."""
        assert len(self.spans) == 1, f"one span was expected, and there are {[span.name for span in self.spans]}"
        return self.spans[0]

    def told(self) -> tuple[object, ...]:
        """Verdict and guardrails that found something, as the one span says; of a composite, those that say it."""
        spans = self.telemetry.spans if self.adapter.composite else [self.span()]
        told = [tuple(span.attributes.get(name) for name in _TOLD) for span in spans]
        flagged = [one for one in told if one[1]]
        assert len(set(flagged)) <= 1, f"the spans tell different things: {told}"
        return (flagged or told)[0]

    def seen_once(self, seen: list[str], text: str) -> bool:
        """Whether a scorer has seen this text once, and nothing else; in a composite, no text twice and this first."""
        return seen[:1] == [text] and len(seen) == (len(set(seen)) if self.adapter.composite else 1)

    async def ended_span(self) -> CapturedSpan:
        """The one span there must be, soon."""
        await self.until(lambda: bool(self.spans), "the span of the call was not ended")
        return self.span()

    async def until(self, happened: Callable[[], bool], otherwise: str) -> None:
        """Wait until something has happened, or asking failed."""
        deadline = asyncio.get_running_loop().time() + self.patience
        while not happened():
            for asking in self._asking:
                if asking.done() and not asking.cancelled():
                    asking.result()
            assert asyncio.get_running_loop().time() < deadline, otherwise
            await asyncio.sleep(0.002)

    async def flushed(self, guard: Guard) -> None:
        """Wait until the monitors of a guard are done."""
        pending = await asyncio.to_thread(guard.flush, self.patience)
        assert not pending, f"{pending} scores of monitors are still pending"

    async def set(self, event: threading.Event, otherwise: str) -> None:
        """Wait until an event is set."""
        await self.until(event.is_set, otherwise)
