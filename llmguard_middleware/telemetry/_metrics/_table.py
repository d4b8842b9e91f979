"""Every metric: its name, kind, unit, buckets and what it says.

`gen_ai.*` follows the OpenTelemetry GenAI semantic conventions (semantic-conventions-genai, main, 2026-10), those that
they have dropped (`gen_ai.client.operation.*`, `gen_ai.client.token.usage`) as the last release had them.
`llmguard.*` is ours.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["TABLE", "Metric"]

_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
_AGENT_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6)
_WORKFLOW_SECONDS = (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)
_CALLS = (1, 2, 4, 8, 16, 32, 64, 128)
_GUARDRAIL_SECONDS = (0.00001, 0.0001, 0.001, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24)
_TENTHS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class Metric(NamedTuple):
    """One metric. A `counter` is kept by us and read when it is collected: adding to one then costs next to nothing."""

    kind: Literal["histogram", "counter", "gauge"]
    unit: str
    says: str
    buckets: tuple[float, ...] = ()


def _duration(says: str, buckets: tuple[float, ...] = _SECONDS) -> Metric:
    return Metric("histogram", "s", says, buckets)


TABLE: dict[str, Metric] = {
    "gen_ai.client.operation.duration": _duration("GenAI operation duration."),
    "gen_ai.client.operation.time_to_first_chunk": _duration("Time from the request to the first chunk of the answer."),
    "gen_ai.client.operation.time_per_output_chunk": _duration("Time between two chunks of a streamed answer."),
    "gen_ai.client.token.usage": Metric("histogram", "{token}", "Number of input and output tokens used.", _TOKENS),
    "gen_ai.client.inference.duration": _duration("GenAI client inference operation duration."),
    "gen_ai.client.inference.time_to_first_chunk": _duration("Time from the request to the first chunk of the answer."),
    "gen_ai.client.inference.time_per_output_chunk": _duration("Time between two chunks of a streamed answer."),
    "gen_ai.client.inference.operation.input_tokens": Metric(
        "histogram", "{token}", "Input tokens of one inference operation.", _TOKENS
    ),
    "gen_ai.client.inference.operation.output_tokens": Metric(
        "histogram", "{token}", "Output tokens of one inference operation.", _TOKENS
    ),
    "gen_ai.client.inference.usage.input_tokens": Metric("counter", "{token}", "Input tokens used."),
    "gen_ai.client.inference.usage.output_tokens": Metric("counter", "{token}", "Output tokens used."),
    "gen_ai.client.inference.usage.cache_read.input_tokens": Metric(
        "counter", "{token}", "Input tokens served from the provider's cache."
    ),
    "gen_ai.client.inference.usage.cache_write.input_tokens": Metric(
        "counter", "{token}", "Input tokens written to the provider's cache."
    ),
    "gen_ai.client.inference.usage.reasoning.output_tokens": Metric(
        "counter", "{token}", "Output tokens used for reasoning."
    ),
    "gen_ai.client.embeddings.duration": _duration("GenAI client embeddings operation duration."),
    "gen_ai.client.embeddings.operation.input_tokens": Metric(
        "histogram", "{token}", "Input tokens of one embeddings operation.", _TOKENS
    ),
    "gen_ai.invoke_agent.duration": _duration("Duration of one agent invocation.", _AGENT_SECONDS),
    "gen_ai.invoke_agent.inference_calls": Metric(
        "histogram", "{inference_call}", "Model calls that an agent makes during one invocation.", _CALLS
    ),
    "gen_ai.invoke_agent.tool_calls": Metric(
        "histogram", "{tool_call}", "Tool calls that an agent makes during one invocation.", _CALLS
    ),
    "gen_ai.execute_tool.duration": _duration("Duration of one tool execution."),
    "gen_ai.invoke_workflow.duration": _duration("Duration of one workflow.", _WORKFLOW_SECONDS),
    "llmguard.cost": Metric("counter", "{USD}", "What calls of models cost, where their price is known."),
    "llmguard.guardrail.verdicts": Metric("counter", "{verdict}", "Texts that a guardrail judged, by its verdict."),
    "llmguard.guardrail.duration": _duration("How long a guardrail took for one text.", _GUARDRAIL_SECONDS),
    "llmguard.evaluation.score": Metric(
        "histogram", "1", "Scores of guardrails, monitors and persons, as far as they are not negative.", _TENTHS
    ),
    "llmguard.monitor.queue.size": Metric("gauge", "{score}", "Scores of monitors that wait or run."),
    "llmguard.monitor.scores": Metric("counter", "{score}", "Scores of monitors, by what became of them."),
    "llmguard.breaker.state": Metric("gauge", "1", "A guardrail's circuit breaker: 0 closed, 1 half open, 2 open."),
}
