"""GuardedStream: the output guardrails of one call over an answer that arrives in pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ._drive import run_inline
from ._edits import Edit, Found, edit_of
from ._judge import Plan, settle
from ._pseudonyms import Pseudonyms, Restorer
from ._root import Root
from ._rules import Guardrail
from ._score import TextSpan, as_score
from ._stream import Window
from ._verdict import Verdict

__all__ = ["GuardedStream"]


class GuardedStream:
    """Span edits by local scorers run in a window; if any other rule must act, the whole answer is held to its end.

    Args:
        rules: the output rules of this call.
        available: what their scorers may ask for besides the text.
        judged: the plan that judges the whole answer, takes note of the verdict, raises if it stops the call, and
            returns the text that may go on.
        stopped: takes the verdict on a part of the answer that stops the call, and raises.
        root: the outermost call, whose pseudonyms are put back in what leaves.
        races: the plan that waits for guardrails which race with the model, and raises if they stop the call; None if
            there are none.
        judging: those of the rules that judge at all: none in a bypass.
        restores: whether originals are put back here.

    Attributes:
        acts: whether anything may be changed or held at all.
        holds: whether nothing may leave before the end.
        flow: the call that it belongs to.
        instead: the plan that judges the end of the answer in place of `finish`, for an adapter whose answers are more
            than their text, and which lets the window decide only what may leave before.
    """

    flow: Any = None
    instead: Callable[[], Plan[str]] | None = None

    def __init__(
        self,
        rules: Sequence[Guardrail],
        available: Mapping[str, Any],
        judged: Callable[[str], Plan[str]],
        stopped: Callable[[Verdict], str],
        root: Root,
        races: Callable[[], Plan[None]] | None = None,
        judging: Sequence[Guardrail] | None = None,
        *,
        restores: bool = True,
    ) -> None:
        judging = rules if judging is None else judging
        self._available, self._judged, self._stopped = available, judged, stopped
        self._root = root
        self._restorer = Restorer(root.pseudonyms if restores else Pseudonyms())
        self._rules = rules
        self._local = tuple(rule for rule in judging if rule.window is not None)
        self.holds = any(rule.holds for rule in judging)
        self.acts = races is not None or (restores and root.hides) or any(rule.acts for rule in judging)
        self._races = races
        self._backlog: list[str] = []
        self._window: Window | None = None
        if self._local and not self.holds:
            reach = max(rule.window or 0 for rule in self._local)
            self._window = Window(self._scan, self._open_tail, self._left, reach, self._edit)
        self._raw: list[str] = []

    @property
    def racing(self) -> bool:
        """Whether nothing may leave before `settle`."""
        return self._races is not None

    def settle(self) -> Plan[str]:
        """Wait for the guardrails that race with the model; returns what may leave now.

        Raises:
            GuardrailViolation: if one of them stops the call.
        """
        races, self._races = self._races, None
        if races is not None:
            yield from races()
        backlog = "".join(self._backlog)
        self._backlog.clear()
        return self.feed(backlog)

    def feed(self, text: str) -> str:
        """Take the next piece of the answer; return what may leave now.

        Raises:
            GuardrailViolation: if a call below was stopped meanwhile.
        """
        self._root.check()
        if self._races is not None:
            self._backlog.append(text)
            return ""
        if self._rules:
            self._raw.append(text)
            if self.holds:
                return ""
            if self._window is not None:
                text = self._window.feed(text)
        return self._restorer.feed(text)

    def past(self, text: str) -> str:
        """A piece that was judged already: what of it may leave now."""
        self._root.check()
        return self._restorer.feed(text)

    def past_rest(self) -> str:
        """The end of what was judged already."""
        return self._restorer.finish()

    @property
    def pending(self) -> bool:
        """Whether something is held that came in."""
        held = self._window is not None and self._window.held
        return held or self._restorer.held or bool(self._backlog) or (self.holds and bool(self._raw))

    def finish(self) -> Plan[str]:
        """The answer is complete: returns the rest that may leave.

        All rules judge the whole answer now, those of the window too: what it let go is the same text, and the verdict
        is the one that a call without streaming would have had.

        Raises:
            GuardrailViolation: if a guardrail stops the answer.
        """
        if self.instead is not None:
            return (yield from self.instead())
        late = (yield from self.settle()) if self._races is not None else ""
        rest = "" if self._window is None else self._window.finish()
        if self._rules:
            released = yield from self._judged("".join(self._raw))
            if self.holds:
                return released
        return late + self._restorer.feed(rest) + self._restorer.finish()

    def _open_tail(self, text: str) -> int:
        return max(rule.bound.open_tail(text) for rule in self._local)

    def _left(self, text: str) -> int:
        """Of released text, what a look-behind sees, and what is open at its end for one rule and not for another."""
        return max(_context(rule.bound, text) for rule in self._local)

    def _edit(self, one: Found, text: str) -> Edit:
        return edit_of(one, text, self._root.outgoing)

    def _scan(self, text: str, start: int, cut: int) -> tuple[list[Found], list[TextSpan]]:
        found: list[Found] = []
        whole: list[TextSpan] = []
        available = {**self._available, "text": text, "output": text}
        for rule in self._local:
            done = run_inline(0, rule, available)
            finding = settle(rule, done, text)
            spans = () if finding.score is None else finding.score.spans
            if finding.stops:
                # What has not come to its end may still turn out to be no match.
                if not spans or any(start < span.end <= cut for span in spans):
                    self._stopped(Verdict(finding.outcome, "output", text, (finding,)))
                whole += spans
            elif finding.outcome == "redacted":
                found += [Found(span.start, span.end, span.kind, rule.remedy) for span in spans]  # type: ignore[arg-type]  # a window edits spans
            if rule.allowed and finding.error is None:
                whole += as_score(done.raw, rule.bound.name).spans  # what is allowed may grow into what is not
        return found, whole


def _context(bound: Any, text: str) -> int:
    behind = getattr(bound.scorer, "behind", None)
    if behind is None:
        return int(2 * bound.reach)
    tail = bound.open_tail(text)
    return int(2 * bound.reach if tail >= bound.reach else tail + behind)
