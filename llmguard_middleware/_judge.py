"""The decision: pure, without I/O or threads.

A plan is a generator (as httpx's auth flow is): it yields what has to be scored, is sent what came of it, and returns
a Verdict. `_drive` runs it for sync and for async callers, so that there is one engine and no second copy.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol, TypeVar

from ._actions import Replace
from ._breaker import Admission, is_outage
from ._call import Stage
from ._edits import Edit, decided, edit_of
from ._packed import Packed, rows
from ._pieces import PIECE
from ._pseudonyms import Pseudonyms
from ._rules import Guardrail
from ._score import TextSpan, as_score, says_verdict
from ._verdict import Finding, Verdict, worst
from .errors import LLMGuardError, ScorerError, ScorerTimeoutError, ScorerUnavailableError

__all__ = [
    "BREATHE",
    "Case",
    "Completion",
    "Launch",
    "Memory",
    "Plan",
    "Running",
    "Spanned",
    "begun",
    "judge",
    "raced",
    "settle",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Launch:
    """Ask the driver to score with all these (index, rule) at once; `available` is what their scorers may ask for.

    `deadline` is a time of `time.perf_counter`, in seconds. A `detached` launch is answered at once with what is
    Running, to be yielded again when its completions are wanted. What scorers that are not inline do lies `beneath` a
    span, that of the call whose text they judge; where they are, if None.
    """

    rules: Sequence[tuple[int, Guardrail]]
    available: Mapping[str, Any]
    deadline: float | None = None
    detached: bool = False
    beneath: Spanned | None = None


class Spanned(Protocol):
    """What has an OpenTelemetry span."""

    span: Any


@dataclass(frozen=True, slots=True)
class Completion:
    """The scorer of one rule is done: what it returned, or how it failed."""

    index: int
    raw: Any = None
    error: Exception | None = None
    seconds: float = 0.0


class Running(Protocol):
    """A detached launch under way."""

    def cancel(self) -> None:
        """Stop what can be stopped; nobody wants the rest."""


# Yielded between stretches of work: others on the event loop may have a turn.
BREATHE: Any = object()
_BATCH = 2000  # edits, which take some milliseconds

# A plan yields Launch (start scoring, send the first completion), a Running (send the first completion), None (send
# the next one) or BREATHE, and returns T.
Plan = Generator["Launch | Running | None", Any, T]


class Memory(Protocol):
    """What one outermost call knows of the texts below it."""

    @property
    def pseudonyms(self) -> Pseudonyms:
        """The placeholders that the model was given."""

    @property
    def outgoing(self) -> Pseudonyms:
        """The placeholders that the caller was given."""

    def findings(self, digest: str, stage: Stage, text: str) -> dict[str, Finding]:
        """By rule of the policy, what was found in this text before; what is found now is to be put in."""


def _none(_: Exception) -> bool:
    return False


class Case:
    """One text before the rules of its stage: what is to be scored, what was found, and in the end the verdict."""

    __slots__ = (
        "_available", "_beneath", "_deadline", "_digest", "_edited", "_findings", "_guard", "_keys", "_known",
        "_memory", "_open", "_stage", "_untouched", "rules", "text",
    )  # fmt: skip

    def __init__(
        self,
        rules: Sequence[Guardrail],
        text: str,
        stage: Stage,
        available: Mapping[str, Any],
        guard: str,
        digest: str,
        memory: Memory | None = None,
        untouched: Callable[[Exception], bool] = _none,
        beneath: Spanned | None = None,
    ) -> None:
        self.rules, self.text = rules, text
        self._beneath = beneath
        self._untouched = untouched
        self._stage: Stage = stage
        self._available = available
        self._guard, self._digest = guard, digest
        self._memory = memory
        self._known = memory.findings(digest, stage, text) if memory is not None else None
        self._findings: list[Finding | None] = [None] * len(rules)
        self._keys: dict[int, bytes] = {}
        self._open: dict[int, Admission] = {}  # launched and not settled
        self._edited = False
        self._deadline: float | None = None

    @property
    def waiting(self) -> bool:
        """Whether rules are still being scored."""
        return bool(self._open)

    def launch(self, deadline: float | None = None) -> Launch | None:
        """What has to be scored, once all is settled that is known already; None if nothing has to be."""
        text, self._deadline = self.text, deadline
        available = {**self._available, "text": text}
        if self._stage == "output":
            available["output"] = text
        todo: list[tuple[int, Guardrail]] = []
        for index, rule in enumerate(self.rules):
            if self._known and rule.bound.text_only and (known := self._known.get(rule.name)) is not None:
                if self._settled(index, rule, replace(known, remembered=True)):
                    return None
            elif rule.scores is not None and (score := self._cached(index, rule, available)) is not None:
                if self._settled(index, rule, settle(rule, Completion(index, score), text)):
                    return None
            else:
                todo.append((index, rule))
        admitted: list[tuple[int, Guardrail]] = []
        for index, rule in todo:
            if as_what := "call" if rule.circuit is None else rule.circuit.admits():
                admitted.append((index, rule))
                self._open[index] = as_what
            else:
                why = f'scorer "{rule.bound.name}" keeps failing and is left alone for a while'
                refused = Completion(index, error=ScorerUnavailableError(why))
                if self._settled(index, rule, settle(rule, refused, text)):
                    self.close()
                    return None
        return Launch(admitted, available, deadline, beneath=self._beneath) if admitted else None

    def _cached(self, index: int, rule: Guardrail, available: Mapping[str, Any]) -> Any:
        assert rule.scores is not None
        key = rule.scores.key(available)
        if key is None:
            return None
        self._keys[index] = key
        return rule.scores.get(key)

    def take(self, done: Completion) -> bool:
        """Settle one rule; whether the call must stop, so that the rest need not be waited for.

        Raises:
            Exception: what a scorer raised, if it is a framework's signal and no failure.
        """
        index = done.index
        rule = self.rules[index]
        if done.error is not None and self._untouched(done.error):
            raise done.error
        admitted = self._open.pop(index, "call")
        if rule.circuit is not None:
            if isinstance(done.error, ScorerTimeoutError) and done.seconds < rule.timeout:
                rule.circuit.withdrawn(admitted)  # the caller was in a hurry, which says nothing about the scorer
            elif done.error is None:
                rule.circuit.succeeded()
            elif is_outage(done.error):
                rule.circuit.failed()
            else:
                rule.circuit.withdrawn(admitted)
        finding = settle(rule, done, self.text)
        if rule.scores is not None and index in self._keys and finding.error is None and finding.score is not None:
            rule.scores.put(self._keys[index], as_score(done.raw, rule.bound.name))
        return self._settled(index, rule, finding)

    def _settled(self, index: int, rule: Guardrail, finding: Finding) -> bool:
        self._findings[index] = finding
        if self._known is not None and finding.error is None:  # what failed was not scored, and is tried again
            self._known[rule.name] = finding
        self._edited = self._edited or finding.edits
        return finding.stops

    def close(self) -> None:
        """Tell the circuits of what nobody waits for any more."""
        for index, admitted in self._open.items():
            if (circuit := self.rules[index].circuit) is not None:
                circuit.withdrawn(admitted)
        self._open.clear()

    def verdict(self) -> Plan[Verdict]:
        """What came of it; takes breath between many edits."""
        if self._edited and len(self.text) > PIECE:
            yield BREATHE
        edits = yield from self._edits()
        findings = tuple(
            Finding(rule.name, rule.remedy.name, "skipped") if finding is None else finding
            for rule, finding in zip(self.rules, self._findings)  # noqa: B905 - of one length
        )
        return Verdict(
            worst([finding.outcome for finding in findings]),
            self._stage,
            self.text,
            findings,
            edits,
            self._guard,
            self._digest,
        )

    def _edits(self) -> Plan[Sequence[Edit]]:
        if not self._edited:
            return ()
        length = len(self.text)
        found: list[tuple[Sequence[TextSpan], Any]] = []
        acting = [index for index, finding in enumerate(self._findings) if finding is not None and finding.edits]
        for index in acting:
            rule, finding = self.rules[index], self._findings[index]
            assert finding is not None
            whole = _whole(rule, finding)
            if whole is not None:  # of several, the earliest rule's
                if not isinstance(rule.remedy, Replace):
                    whole = yield from self._beside(whole, index)
                return (Edit(0, length, whole),)
            assert finding.score is not None
            spans = finding.score.spans or (TextSpan(0, length, rule.name.upper()),)
            found.append((spans, rule.remedy))
        if self._memory is None:
            pseudonyms = Pseudonyms()
        else:  # what the caller gets placeholders for must not come back as what the model got them for
            pseudonyms = self._memory.outgoing if self._stage == "output" else self._memory.pseudonyms
        if sum(len(spans) for spans, _ in found) <= _BATCH:
            return tuple(edit_of(one, self.text, pseudonyms) for one in decided(found))
        yield BREATHE
        merged = decided(found)
        rows: list[tuple[Any, ...]] = []
        while batch := [tuple(edit_of(one, self.text, pseudonyms)) for one in islice(merged, _BATCH)]:
            rows += batch
            yield BREATHE
        return Packed(Edit, rows)

    def _beside(self, proposed: str, index: int) -> Plan[str]:
        """What the scorer of this rule proposed, as the others let it pass: none of them has seen that text."""
        others = [other for other, rule in enumerate(self.rules) if other != index and rule.acts]
        if not others:
            return proposed
        rules = [self.rules[other] for other in others]
        known = (self._guard, self._digest, self._memory, self._untouched, self._beneath)
        case = Case(rules, proposed, self._stage, self._available, *known)
        verdict = yield from judge(case, self._deadline)
        for other, finding in zip(others, verdict.findings):  # noqa: B905 - of one length
            if finding.stops:
                self._findings[other] = finding
        return verdict.guarded


def judge(case: Case, deadline: float | None = None) -> Plan[Verdict]:
    """Judge one text by all its rules at once; the first finding that stops the call ends the rest."""
    step: Launch | Running | None = case.launch(deadline)
    return (yield from _finished(case, step))


def begun(case: Case, deadline: float | None = None) -> Plan[Running | None]:
    """Start judging and do not wait: what runs is to be given to `raced`."""
    launch = case.launch(deadline)
    try:
        return None if launch is None else (yield replace(launch, detached=True))
    except BaseException:  # it could not be started
        case.close()
        raise


def raced(case: Case, running: Running | None) -> Plan[Verdict]:
    """The verdict on what `begun` started."""
    return (yield from _finished(case, running))


def _finished(case: Case, step: Launch | Running | None) -> Plan[Verdict]:
    try:
        while case.waiting:
            done = yield step
            step = None
            if case.take(done):
                break
    finally:
        case.close()
    return (yield from case.verdict())


def settle(rule: Guardrail, done: Completion, text: str) -> Finding:
    """What one rule found in this text, from what its scorer returned or how it failed."""
    score, error = None, done.error
    if error is None:
        try:
            score = as_score(done.raw, rule.bound.name)
            if not (says_verdict(done.raw) or rule.condition or rule.action == "log" or score.unscored):
                msg = (
                    f'scorer "{rule.bound.name}" gave a value and no verdict; '
                    'give the guardrail above= or below=, or return "flagged"'
                )
                raise ScorerError(msg)  # noqa: TRY301 - or every text would pass
            if score.unscored:
                error = ScorerError(f'scorer "{rule.bound.name}" could not score')
            else:
                score = _decided(rule, score, text)
        except LLMGuardError as raised:
            error = raised
        except Exception as raised:  # noqa: BLE001 - a rule's predicate is foreign code
            error = raised
    if error is not None:
        return Finding(rule.name, rule.remedy.name, "error", score, error, rule.on_error == "block", done.seconds)
    assert score is not None
    if not score.flagged:
        return Finding(rule.name, rule.remedy.name, "passed", score, None, False, done.seconds)
    remedy = rule.remedy
    if remedy.stops:
        return Finding(rule.name, rule.remedy.name, "blocked", score, None, True, done.seconds)
    outcome = {"": "flagged", "spans": "redacted", "whole": "replaced"}[remedy.edits]
    return Finding(rule.name, rule.remedy.name, outcome, score, None, False, done.seconds)  # type: ignore[arg-type]  # a word of Outcome


def _decided(rule: Guardrail, score: Any, text: str) -> Any:
    """The score with what the rule says about flags and exceptions.

    Raises:
        ScorerError: if its spans do not fit the text, or are missing.
    """
    length = len(text)
    if score.spans and any(end > length for _, end, _ in rows(score.spans)):
        msg = f'scorer "{rule.bound.name}" returned a span that ends after the text'
        raise ScorerError(msg)
    if rule.condition:
        score = replace(score, flagged=rule.condition.flags(score, rule.bound.name))
    if rule.allowed:
        score = rule.allowed.without(score, text)
    if score.flagged and not score.spans and rule.edits and rule.window is not None:
        msg = f'scorer "{rule.bound.name}" is local and flagged a text without saying where; return spans'
        raise ScorerError(msg)
    return score


def _whole(rule: Guardrail, finding: Finding) -> str | None:
    """What takes the place of the whole text, if it is not for its spans to be edited."""
    if isinstance(rule.remedy, Replace):
        return rule.remedy.text
    assert finding.score is not None
    return None if finding.score.spans else finding.score.modified
