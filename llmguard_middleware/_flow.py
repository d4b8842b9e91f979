"""Flow: one guarded call from its request to the end of its answer. Adapters translate, a Flow acts.

An adapter opens a Flow, drives `admit` before and `release` (or a stream) after the framework's own call, and tells
it how the call ended. The span, the verdicts on it, the violation and the monitors are dealt with here, once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from time import time_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel

from ._call import Call, Message
from ._guard import Guard
from ._guarded_stream import GuardedStream
from ._judge import Plan
from ._verdict import Verdict
from .errors import GuardrailViolation
from .telemetry._emitter import CallSpan

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Flow", "reentered", "surrounded"]

# The flows that this code runs inside of, outermost first.
_inside: ContextVar[tuple[Flow, ...]] = ContextVar("llmguard_flows", default=())


def reentered(owner: object, guard: Guard) -> bool:
    """Whether `guard` is already around `owner` here, its async method having called its sync one, say."""
    return any(flow.owner is owner and flow.guard is guard for flow in _inside.get())


def surrounded(owner: object) -> bool:
    """Whether another guard is around this very call of `owner`: an inner one shares its span."""
    around = _inside.get()
    return bool(around) and around[-1].owner is owner


class Flow:
    """One call under one guard. Use as a context manager: leaving it by an exception ends the call as failed.

    Args:
        guard: whose rules apply.
        call: what is asked, as far as the framework told.
        owner: the object that is guarded; two guards on one owner share the span of the outer one.
        parent: the OpenTelemetry context above; the current one if None.
        span: an open span to join instead of starting one.
        outermost: whether nothing of this guard is above, so that the monitors score this call; found out if None.
    """

    def __init__(
        self,
        guard: Guard,
        call: Call,
        *,
        owner: object = None,
        parent: otel.Context | None = None,
        span: CallSpan | None = None,
        outermost: bool | None = None,
    ) -> None:
        around: tuple[Flow, ...] = _inside.get()
        if span is None and owner is not None and surrounded(owner):
            span = around[-1].span
        self.guard = guard
        self.owner: object = owner
        self.outermost = not any(flow.guard is guard for flow in around) if outermost is None else outermost
        self._joined = span is not None
        self.span: CallSpan = span or guard.emitter.start(call, parent)
        identity = self.span.span.get_span_context()
        self.call = call.but(started=call.started or time_ns(), trace_id=identity.trace_id, span_id=identity.span_id)
        self._verdicts: list[Verdict] = []
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, GeneratorExit):
            self.abandoned()
        elif error is not None:
            self.failed(error)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make this call the current one, so that spans nest under it. For a stream: around each step, not all."""
        token = _inside.set((*_inside.get(), self))
        attached = otel.attach(self.span.context) if self.call.span_id else None
        try:
            yield
        finally:
            # A coroutine that is thrown away unwinds in another context, where there is nothing to put back.
            with suppress(ValueError):
                _inside.reset(token)
                if attached is not None:
                    otel.detach(attached)

    def admit(self, messages: Sequence[Message]) -> Plan[list[str]]:
        """Judge what goes to the model; returns the texts as they may go on, in order.

        Raises:
            GuardrailViolation: if a guardrail stops the call.
        """
        if not self.guard.rules("input"):
            self.call = self.call.but(messages=tuple(messages))
            return [message.text for message in messages]
        available = self.call.but(messages=tuple(messages)).available()
        texts: list[str] = []
        for message in messages:
            rules = self.guard.rules("input", role=message.role)
            if not rules or not message.text:
                texts.append(message.text)
                continue
            verdict = yield from self.guard.plan(message.text, "input", rules=rules, available=available)
            texts.append(self.noted(verdict))
        guarded = tuple(Message(m.role, text) for m, text in zip(messages, texts, strict=True))
        self.call = self.call.but(messages=guarded)
        return texts

    def release(self, texts: Sequence[str]) -> Plan[list[str]]:
        """Judge what comes back from the model; returns the texts as they may go on, in order.

        Raises:
            GuardrailViolation: if a guardrail stops the answer.
        """
        if not self.guard.rules("output"):
            return list(texts)
        released: list[str] = []
        available = self.call.available()
        for text in texts:
            verdict = yield from self.guard.plan(text, "output", available=available)
            released.append(self.noted(verdict))
        return released

    def stream(self) -> GuardedStream:
        """What guards an answer that arrives in pieces."""
        return GuardedStream(self.guard, self.call.available(), self.noted)

    def noted(self, verdict: Verdict) -> str:
        """Take a verdict on a text of this call into its account; returns the text as it may go on.

        Raises:
            GuardrailViolation: if the verdict stops the call.
        """
        self._verdicts.append(verdict)
        self.span.judged(verdict, self.guard.emitter)
        if verdict.stops:
            raise GuardrailViolation(verdict)
        return verdict.guarded

    def answered(self, **answer: Any) -> None:
        """The call is over and was answered; `answer` are fields of `Call`: output, usage, response_id, ..."""
        if self._end():
            self.call = self.call.but(answered=True, ended=time_ns(), **answer)
            self._tell(self.call.response_id)
            if not self._joined:
                self.span.answered(self.call)
            if self.outermost:
                self.guard.observe(self.call, self.span.context)

    def failed(self, error: BaseException) -> None:
        """The call is over and failed."""
        if self._end():
            self._tell()
            if not self._joined:
                self.span.failed(error)

    def abandoned(self) -> None:
        """The reader of a stream went away before its end."""
        if self._end():
            self._tell()
            if not self._joined:
                self.span.abandoned()

    def _end(self) -> bool:
        first, self._ended = not self._ended, True
        return first

    def _tell(self, response_id: str = "") -> None:
        self.span.verdicts(self._verdicts, self.guard.emitter, response_id)
