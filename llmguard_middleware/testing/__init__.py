"""For tests of guards, scorers and adapters: fake scorers, telemetry kept in memory, and the conformance suite.

    def test_a_secret_is_flagged():
        telemetry = captured_telemetry()
        guard = Guard(Guardrail(Flags(when="secret"), stage="input"), **telemetry.providers)
        ...
        assert telemetry.span("chat gpt").attributes["llmguard.verdict"] == "blocked"

As a fixture of pytest, in `conftest.py`:

    @pytest.fixture
    def telemetry():
        with captured_telemetry() as captured:
            yield captured

`llmguard_middleware.testing.conformance` tells whether an adapter keeps what the guards it carries promise.

Importing this package needs neither pytest nor the OpenTelemetry SDK; `captured_telemetry()` needs the SDK (extra
`otlp`).
"""

from ._fakes import FakeScorer, Flags, Hangs, Raises, Returns
from ._telemetry import CapturedPoint, CapturedRecord, CapturedSpan, CapturedTelemetry, captured_telemetry

__all__ = [
    "CapturedPoint",
    "CapturedRecord",
    "CapturedSpan",
    "CapturedTelemetry",
    "FakeScorer",
    "Flags",
    "Hangs",
    "Raises",
    "Returns",
    "captured_telemetry",
]
