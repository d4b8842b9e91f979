"""Verdict: the outcome of judging one text, with every score behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ._call import Stage
from ._edits import Edit, apply
from ._placeholders import put_back
from ._score import Score
from .errors import LLMGuardError, ScorerError

__all__ = ["Finding", "Outcome", "Verdict", "worst"]

Outcome = Literal["passed", "flagged", "blocked", "redacted", "replaced", "error", "skipped"]

# From what matters most to what matters least.
_SEVERITY: tuple[Outcome, ...] = ("blocked", "error", "replaced", "redacted", "flagged", "skipped", "passed")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one guardrail found.

    `stops` says whether the call must not go on, `seconds` how long it took, `remembered` whether it was found before,
    under the same outermost call or in the same conversation, and is told there.
    """

    rule: str
    action: str
    outcome: Outcome
    # Not shown: a foreign scorer's explanation, result or exception may quote the text under judgement.
    score: Score | None = field(default=None, repr=False)
    error: BaseException | None = field(default=None, repr=False)
    stops: bool = False
    seconds: float = 0.0
    remembered: bool = False

    @property
    def edits(self) -> bool:
        """Whether the text is changed for it."""
        return self.outcome in ("redacted", "replaced")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome for one text at one stage. `text` is the text as it was, `guarded` the text as it may pass on."""

    outcome: Outcome
    stage: Stage
    text: str = field(repr=False)
    findings: tuple[Finding, ...] = ()
    edits: Sequence[Edit] = field(default=(), repr=False)
    guard: str = ""
    digest: str = ""

    @property
    def stops(self) -> bool:
        """Whether the call must not go on."""
        return any(finding.stops for finding in self.findings)

    @property
    def guarded(self) -> str:
        """The text with its redactions made."""
        return apply(self.text, self.edits)

    def restore(self, text: str) -> str:
        """`text` with the originals put back in for the pseudonyms that this verdict gave out.

        Other edits cannot be undone: `<KIND>` says nothing about what it stands for.
        """
        by = {edit.replacement: self.text[edit.start : edit.end] for edit in self.edits if edit.reversible}
        return put_back(text, by)

    @property
    def cause(self) -> Finding:
        """The finding that decided the outcome (of equals, the earliest rule's).

        Raises:
            ValueError: if no guardrail judged the text.
        """
        return min(self.findings, key=lambda f: (not f.stops, _SEVERITY.index(f.outcome)))

    def portable(self) -> Verdict:
        """A copy that can be pickled: without what scorers returned and raised, which may be anything."""
        findings = tuple(
            replace(finding, score=_bare(finding.score), error=_told(finding.error)) for finding in self.findings
        )
        return replace(self, findings=findings)


def _bare(score: Score | None) -> Score | None:
    return None if score is None else replace(score, result=None, metadata={})


def _told(error: BaseException | None) -> BaseException | None:
    return error if error is None or isinstance(error, LLMGuardError) else ScorerError(type(error).__name__)


def worst(outcomes: list[Outcome]) -> Outcome:
    """The outcome that matters most; `skipped` only if nothing at all was judged, and `passed` if nothing was to be."""
    judged = [outcome for outcome in outcomes if outcome != "skipped"]
    return min(judged, key=_SEVERITY.index) if judged else "skipped" if outcomes else "passed"
