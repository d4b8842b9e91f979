"""GuardedStream: the output guardrails of one call over an answer that arrives in pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ._drive import run_inline
from ._guard import Guard
from ._judge import Plan, settle
from ._score import TextSpan
from ._stream import Window
from ._verdict import Finding, Verdict

__all__ = ["GuardedStream"]


class GuardedStream:
    """Span edits by local scorers run in a window; if any other rule must act, the whole answer is held to its end.

    Args:
        guard: whose output rules apply.
        available: what their scorers may ask for besides the text.
        noted: takes each verdict, raises if it stops the call, and returns the text that may go on.

    Attributes:
        acts: whether anything may be changed or held at all.
        holds: whether nothing may leave before the end.
    """

    def __init__(self, guard: Guard, available: Mapping[str, Any], noted: Callable[[Verdict], str]) -> None:
        rules = guard.rules("output")
        self._guard, self._available, self.noted = guard, available, noted
        self._judged = bool(rules)
        self.acts = any(rule.acts for rule in rules)
        self._local = tuple(rule for rule in rules if rule.window is not None)
        self.holds = any(rule.acts and rule.window is None for rule in rules)
        reach = max((rule.window or 0 for rule in self._local), default=0)
        self._window = Window(self._scan, reach, self._open_tail) if self._local and not self.holds else None
        self._raw: list[str] = []

    def feed(self, text: str) -> str:
        """Take the next piece of the answer; return what may leave now."""
        if not self._judged:
            return text
        self._raw.append(text)
        if self.holds:
            return ""
        return text if self._window is None else self._window.feed(text)

    def finish(self) -> Plan[str]:
        """The answer is complete: returns the rest that may leave.

        All rules judge the whole answer now, those of the window too: what it let go is the same text, and the verdict
        is the one that a call without streaming would have had.

        Raises:
            GuardrailViolation: if a guardrail stops the answer.
        """
        rest = "" if self._window is None else self._window.finish()
        if not self._judged:
            return rest
        verdict = yield from self._guard.plan("".join(self._raw), "output", available=self._available)
        released = self.noted(verdict)
        return released if self.holds else rest

    def _open_tail(self, text: str) -> int:
        return max(rule.bound.open_tail(text) for rule in self._local)

    def _scan(self, text: str) -> list[TextSpan]:
        spans: list[TextSpan] = []
        available = {**self._available, "text": text, "output": text}
        for rule in self._local:
            finding = settle(rule, run_inline(0, rule, available), len(text))
            if finding.stops:
                self.noted(self._stopped(text, finding))
            elif finding.outcome == "redacted" and finding.score is not None:
                spans += finding.score.spans or (TextSpan(0, len(text), rule.name.upper()),)
        return spans

    def _stopped(self, text: str, finding: Finding) -> Verdict:
        return Verdict(finding.outcome, "output", text, (finding,), guard=self._guard.name, digest=self._guard.digest)
