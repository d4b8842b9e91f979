"""Guardrails and monitors around LLM applications, traced in plain OpenTelemetry."""

from ._actions import Action, Block, Encrypt, Hash, Log, Mask, Pseudonymize, Reask, Redact, Replace
from ._breaker import Breaker
from ._cache import VerdictCache
from ._call import Call, Message, Stage, Usage
from ._guard import Guard
from ._monitoring import MonitorQueue, MonitorStats
from ._rules import Guardrail, Monitor
from ._score import Score, TextSpan
from ._scorer import Scorer, scorer
from ._verdict import Finding, Outcome, Verdict
from .errors import (
    ConfigurationError,
    GuardrailViolation,
    LLMGuardError,
    ScorerError,
    ScorerInputError,
    ScorerServiceError,
    ScorerTimeoutError,
    ScorerUnavailableError,
    UnenforceableError,
)

__all__ = [
    "Action",
    "Block",
    "Breaker",
    "Call",
    "ConfigurationError",
    "Encrypt",
    "Finding",
    "Guard",
    "Guardrail",
    "GuardrailViolation",
    "Hash",
    "LLMGuardError",
    "Log",
    "Mask",
    "Message",
    "Monitor",
    "MonitorQueue",
    "MonitorStats",
    "Outcome",
    "Pseudonymize",
    "Reask",
    "Redact",
    "Replace",
    "Score",
    "Scorer",
    "ScorerError",
    "ScorerInputError",
    "ScorerServiceError",
    "ScorerTimeoutError",
    "ScorerUnavailableError",
    "Stage",
    "TextSpan",
    "UnenforceableError",
    "Usage",
    "Verdict",
    "VerdictCache",
    "scorer",
]
