"""A framework's signals are exceptions and no failures: they pass as if there were no guard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from llmguard_middleware import Guard, Guardrail
from llmguard_middleware.testing import Raises

if TYPE_CHECKING:
    from llmguard_middleware.testing import CapturedTelemetry


class Interrupt(Exception):  # noqa: N818 - as LangGraph's
    """Asks a person."""


def interrupts(error: BaseException) -> bool:
    """Whether it is one."""
    return isinstance(error, Interrupt)


@pytest.mark.parametrize("options", [{"cheap": True}, {}, {"use_async": True}], ids=["inline", "pool", "async"])
@pytest.mark.parametrize("on_error", ["block", "allow"])
async def test_a_signal_from_a_scorer_passes(options: dict[str, bool], on_error: str) -> None:
    """What a scorer raises as a signal is no verdict, whatever on_error says."""
    guard = Guard(Guardrail(Raises(Interrupt(), **options), stage="input", on_error=on_error))
    guard.pass_untouched(interrupts)
    with pytest.raises(Interrupt):
        guard.check("x", stage="input")
    with pytest.raises(Interrupt):
        await guard.acheck("x", stage="input")


def test_a_call_that_is_interrupted_did_not_fail(telemetry: CapturedTelemetry) -> None:
    """Its span ends without an error, marked."""
    guard = Guard(**telemetry.providers)
    guard.pass_untouched(interrupts)

    @guard.op
    def asks() -> None:
        raise Interrupt

    with pytest.raises(Interrupt):
        asks()
    (span,) = telemetry.spans
    assert (span.status, span.attributes["llmguard.interrupted"]) == ("UNSET", True)
    assert "error.type" not in span.attributes


def test_without_being_told_it_is_a_failure_like_another() -> None:
    """A guard knows no framework by itself."""
    guard = Guard(Guardrail(Raises(Interrupt()), stage="input"))
    assert guard.check("x", stage="input").outcome == "error"
