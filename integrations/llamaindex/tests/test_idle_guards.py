"""A guard with no rules looks at nothing, and forgets nothing: what another guard stopped, what a model is told."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.base.response.schema import Response, StreamingResponse
from llama_index.core.query_engine import CustomQueryEngine

from llmguard_llamaindex import attach, protect
from llmguard_middleware import Guard, Guardrail, GuardrailViolation
from llmguard_middleware.scorers import pii


class Careless(CustomQueryEngine):
    """Swallows whatever its model raises, and answers all the same."""

    llm: Any
    streamed: bool = False

    def custom_query(self, query_str: str) -> Any:
        """One call of the model, whose failure nobody hears of."""
        try:
            said = str(self.llm.complete(query_str))
        except Exception:  # noqa: BLE001 - it is careless
            said = "never mind"
        return StreamingResponse(iter([said])) if self.streamed else Response(said)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_swallowed_violation_is_raised_under_an_idle_guard(completing: Any, telemetry: Any, streamed: bool) -> None:
    """The engine's guard has no rules; what its model's guard stopped ends the query all the same."""
    strict = Guard(Guardrail(pii(), stage="input"))
    engine = attach(Careless(llm=protect(completing, strict), streamed=streamed), telemetry.guard())
    with pytest.raises(GuardrailViolation):
        "".join(getattr(engine.query("bob@example.com"), "response_gen", ()))
    assert str(engine.query("Hi")) == completing.script.answer


def test_spans_tell_what_a_model_is_told_now(chatting: Any, telemetry: Any) -> None:
    """Calls that look the same share their attributes; one with another model or another temperature does not."""
    chatting.script.answer = "Hello"
    llm = protect(chatting, telemetry.guard())
    for options in ({"temperature": 0.1}, {"temperature": 0.1}, {"temperature": 0.9}, {}):
        llm.complete("Hi", **options)
    told = [dict(span.attributes).get("gen_ai.request.temperature") for span in telemetry.spans]
    assert told == [0.1, 0.1, 0.9, None]
