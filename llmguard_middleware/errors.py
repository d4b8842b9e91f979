"""Every error this library raises on purpose.

LLMGuardError
├── ConfigurationError            a mistake in a rule, a name, a setting (also a ValueError)
│   └── UnenforceableError        the guard asks for more than this attachment point can enforce
├── ScorerError                   a scorer failed
│   ├── ScorerInputError          it asks for something the call does not have
│   ├── ScorerServiceError        the service that it asks did not answer, or refused it (also a ConnectionError)
│   ├── ScorerTimeoutError        it took longer than its guardrail or monitor allows
│   └── ScorerUnavailableError    it kept failing and is left alone for a while
└── GuardrailViolation            a guardrail stopped the call

No message holds user content: texts under judgement stay out of logs, spans and error trackers.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._verdict import Verdict

__all__ = [
    "ConfigurationError",
    "GuardrailViolation",
    "LLMGuardError",
    "ScorerError",
    "ScorerInputError",
    "ScorerServiceError",
    "ScorerTimeoutError",
    "ScorerUnavailableError",
    "UnenforceableError",
]


class LLMGuardError(Exception):
    """Base of every error raised on purpose by llmguard_middleware."""


class ConfigurationError(LLMGuardError, ValueError):
    """A rule, a name or a setting is wrong; the message says what to write instead."""


class UnenforceableError(ConfigurationError):
    """A guardrail was attached where it could only be skipped silently; the message names what enforces it."""


class ScorerError(LLMGuardError):
    """A scorer failed or returned something that is not a score."""


class ScorerInputError(ScorerError):
    """A scorer asks for an input that this call does not have; the message lists what it has."""


class ScorerServiceError(ScorerError, ConnectionError):
    """The service that a scorer asks did not answer, or refused it: no text's doing, so circuit breakers count it.

    Attributes:
        retryable: whether it is worth asking once more at once.
    """

    def __init__(self, sentence: str = "", *, retryable: bool = False) -> None:
        super().__init__(sentence)
        self.retryable = retryable


class ScorerTimeoutError(ScorerError):
    """A scorer was still running when its time was up."""


class ScorerUnavailableError(ScorerError):
    """A scorer was not asked, because it failed too often; its circuit breaker tries again later."""


class GuardrailViolation(LLMGuardError):  # noqa: N818 - the public name, fixed in the design
    """A guardrail stopped the call: nothing went on to the model, or nothing came back from it.

    Attributes:
        verdict: the outcome with every score behind it. `verdict.text` holds the text under judgement.
        code: stable and machine-readable: `blocked`, or `guardrail_failed` when a guardrail could not judge
            and its `on_error` is `"block"`.
        retryable: whether the same call may pass later (only a guardrail that failed is worth a retry).
    """

    _sticks = True  # to the calls above; not in refusal mode, in which the call that is stopped has an answer

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        cause = verdict.cause
        self.code = "guardrail_failed" if cause.error is not None else "blocked"
        self.retryable = cause.error is not None and not isinstance(cause.error, ScorerInputError)
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        cause = self.verdict.cause
        if cause.error is None:
            return f'guardrail "{cause.rule}" of guard "{self.verdict.guard}" blocked the {self.verdict.stage}'
        # A foreign exception's text may quote the prompt, so only our own errors are repeated.
        why = str(cause.error) if isinstance(cause.error, LLMGuardError) else type(cause.error).__name__
        return f'guardrail "{cause.rule}" could not judge the {self.verdict.stage}, so the call was stopped: {why}'

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready description without user content, for an HTTP response or a log line."""
        return {
            "code": self.code,
            "guard": self.verdict.guard,
            "guardrail": self.verdict.cause.rule,
            "message": str(self),
            "retryable": self.retryable,
            "stage": self.verdict.stage,
        }

    def __reduce__(self) -> tuple[type[GuardrailViolation], tuple[Verdict]]:
        return type(self), (self.verdict.portable(),)


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of an error sentence about an unknown `word`: the closest known one, and all there are."""
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1)
    hint = f'did you mean "{close[0]}"? ' if close else ""
    return f"{hint}Known: {', '.join(names)}"
