"""The demo's application."""

from __future__ import annotations

from typing import Any

from llmguard_llamaindex._demo import build
from llmguard_middleware import Guardrail
from llmguard_middleware._demo._scenario import Scenario
from llmguard_middleware.scorers import pii, secrets

KEY = "sk-abcdefghijklmnopqrstuvwx"


async def test_offline(telemetry: Any) -> None:
    """The application answers from the nearest documents, guarded, whole and in pieces, with usage on the span."""
    prompts: list[str] = []

    def reply(prompt: str) -> str:
        prompts.append(prompt)
        return (
            f"The key is {KEY}, which you should change as soon as you can; ask whoever gave it to you for another one."
        )

    guard = telemetry.guard(
        Guardrail(pii(), stage="input", action="redact"), Guardrail(secrets(), stage="output", action="redact")
    )
    documents = ["Cats sleep a lot.", "The key belongs to bob@example.com", "Dogs bark.", "Birds sing."]
    app = build(Scenario(guard=guard, documents=documents, reply=reply))

    answer = app.ask("To whom does the key belong?")
    pieces = list(app.stream("To whom does the key belong?"))

    assert answer.startswith("The key is <OPENAI_API_KEY>, which")
    assert "".join(pieces) == answer
    assert len(pieces) > 1
    assert all("The key belongs to <EMAIL_ADDRESS>" in prompt for prompt in prompts)
    tree = [("invoke_workflow RetrieverQueryEngine", None)] + [
        (n, "invoke_workflow RetrieverQueryEngine") for n in ("retrieval", "chat in-process")
    ]
    assert telemetry.tree == [*tree, *tree]
    for chat in telemetry.spans[2::3]:
        assert chat.attributes["gen_ai.usage.output_tokens"] == 22
        assert chat.attributes["gen_ai.usage.input_tokens"] == len(prompts[0].split())


def test_openai_compatible(telemetry: Any) -> None:
    """With a base URL the application asks that server's model."""
    scenario = Scenario(
        guard=telemetry.guard(), documents=["a"], reply=str, model="smollm2", base_url="http://127.0.0.1:9/v1"
    )
    assert build(scenario)._whole._response_synthesizer._llm.api_base == scenario.base_url  # type: ignore[attr-defined]  # LlamaIndex's
