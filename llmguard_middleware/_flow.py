"""Flow: one guarded call from its request to the end of its answer. Adapters translate, a Flow acts.

An adapter opens a Flow, drives `admit` before and `release` (or a stream) after the framework's own call, and tells
it how the call ended. The span, the verdicts on it, the violation and the monitors are dealt with here, once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from time import time_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel

from ._call import Call, Message
from ._guard import Guard
from ._judge import Plan
from ._rules import Guardrail
from ._score import Score, TextSpan, as_score
from ._stream import Window
from ._verdict import Finding, Verdict, worst
from .errors import GuardrailViolation
from .telemetry._emitter import CallSpan

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Flow", "GuardedStream", "reentered"]

# The flows that this code runs inside of, outermost first.
_inside: ContextVar[tuple[Flow, ...]] = ContextVar("llmguard_flows", default=())


def reentered(owner: object, guard: Guard) -> bool:
    """Whether `guard` is already around `owner` here, its async method having called its sync one, say."""
    return any(flow.owner is owner and flow.guard is guard for flow in _inside.get())


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
        if span is None and around and owner is not None and around[-1].owner is owner:
            span = around[-1].span
        self.guard = guard
        self.owner: object = owner
        self.outermost = not any(flow.guard is guard for flow in around) if outermost is None else outermost
        self._joined = span is not None
        self.span: CallSpan = span or guard.emitter.start(call, parent)
        identity = self.span.span.get_span_context()
        self.call = call.but(started=call.started or time_ns(), trace_id=identity.trace_id, span_id=identity.span_id)
        self._verdicts: list[Verdict] = []
        self.streaming = False  # for adapters that learn it only from the first piece
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
            if attached is not None:
                otel.detach(attached)
            _inside.reset(token)

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
            texts.append(self._noted(verdict))
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
            released.append(self._noted(verdict))
        return released

    def stream(self) -> GuardedStream:
        """What guards an answer that arrives in pieces."""
        return GuardedStream(self)

    def _noted(self, verdict: Verdict) -> str:
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


class GuardedStream:
    """The output guardrails over text that arrives in pieces.

    Span edits by local scorers run in a window; if any other rule must act, the whole answer is held until `finish`.
    """

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        rules = flow.guard.rules("output")
        self._local = tuple(rule for rule in rules if rule.window is not None)
        self._late = tuple(rule for rule in rules if rule.window is None)
        self._buffered = any(rule.acts for rule in self._late)
        self._raw: list[str] = []
        self._spans: dict[str, int] = {}
        reach = max((rule.window or 0 for rule in self._local), default=0)
        self._window = Window(self._scan, reach, self._open_tail) if self._local and not self._buffered else None
        self._available = flow.call.available()

    def feed(self, text: str) -> str:
        """Take the next piece of the answer; return what may leave now."""
        if not self._local and not self._late:
            return text
        self._raw.append(text)
        if self._buffered:
            return ""
        return text if self._window is None else self._window.feed(text)

    def finish(self) -> Plan[str]:
        """The answer is complete: judge what needs the whole of it; returns the rest that may leave.

        Raises:
            GuardrailViolation: if a guardrail stops the answer.
        """
        text = "".join(self._raw)
        if self._buffered:
            verdict = yield from self._flow.guard.plan(text, "output", available=self._available)
            return self._flow._noted(verdict)  # noqa: SLF001 - a Flow's stream is part of it
        rest = ""
        if self._window is not None:
            rest = self._window.finish()
            self._flow._noted(self._windowed(text, self._window))  # noqa: SLF001
        if self._late:
            verdict = yield from self._flow.guard.plan(text, "output", rules=self._late, available=self._available)
            self._flow._noted(verdict)  # noqa: SLF001
        return rest

    def _open_tail(self, text: str) -> int:
        return max(rule.bound.open_tail(text) for rule in self._local)

    def _scan(self, text: str) -> list[TextSpan]:
        spans: list[TextSpan] = []
        for rule in self._local:
            found = self._score(rule, text)
            self._spans[rule.name] = self._spans.get(rule.name, 0) + len(found)
            spans += found
        return spans

    def _score(self, rule: Guardrail, text: str) -> Sequence[TextSpan]:
        try:
            score = as_score(rule.bound({**self._available, "text": text, "output": text}), rule.bound.name)
        except Exception as error:  # noqa: BLE001 - a scorer is foreign code
            if rule.on_error == "allow":
                return ()
            finding = Finding(rule.name, rule.action, "error", None, error, stops=True)
            verdict = Verdict("error", "output", text, (finding,), (), self._flow.guard.name, self._flow.guard.digest)
            self._flow._noted(verdict)  # noqa: SLF001 - raises
        if not score.flagged:
            return ()
        return score.spans or (TextSpan(0, len(text), rule.name.upper()),)

    def _windowed(self, text: str, window: Window) -> Verdict:
        findings = tuple(
            Finding(rule.name, rule.action, "redacted", Score(flagged=True))
            if window.edits and self._spans.get(rule.name)
            else Finding(rule.name, rule.action, "passed", Score())
            for rule in self._local
        )
        outcome = worst([finding.outcome for finding in findings])
        return Verdict(
            outcome, "output", text, findings, tuple(window.edits), self._flow.guard.name, self._flow.guard.digest
        )
