"""Guardrails and monitors around LLM applications, traced in plain OpenTelemetry."""

from ._call import Call, Message, Stage, Usage
from ._guard import Guard
from ._queue import MonitorQueue, MonitorStats
from ._rules import Action, Guardrail, Monitor
from ._score import Score, TextSpan
from ._scorer import Scorer, scorer
from ._verdict import Finding, Outcome, Verdict
from .errors import (
    ConfigurationError,
    GuardrailViolation,
    LLMGuardError,
    ScorerError,
    ScorerInputError,
    ScorerTimeoutError,
    UnenforceableError,
)

__all__ = [
    "Action",
    "Call",
    "ConfigurationError",
    "Finding",
    "Guard",
    "Guardrail",
    "GuardrailViolation",
    "LLMGuardError",
    "Message",
    "Monitor",
    "MonitorQueue",
    "MonitorStats",
    "Outcome",
    "Score",
    "Scorer",
    "ScorerError",
    "ScorerInputError",
    "ScorerTimeoutError",
    "Stage",
    "TextSpan",
    "UnenforceableError",
    "Usage",
    "Verdict",
    "scorer",
]
