"""Every attribute, span and event name in use, in one place.

`gen_ai.*` follows the OpenTelemetry GenAI semantic conventions (semantic-conventions-genai, main, 2026-10); the
`opentelemetry-semantic-conventions` package marks these deprecated and lacks the current ones. `llmguard.*` is ours.
"""

from __future__ import annotations

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
WORKFLOW = "gen_ai.workflow.name"
TOOL = "gen_ai.tool.name"
AGENT = "gen_ai.agent.name"
CONVERSATION = "gen_ai.conversation.id"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_STREAM = "gen_ai.request.stream"
REQUEST_TEMPERATURE = "gen_ai.request.temperature"
REQUEST_TOP_P = "gen_ai.request.top_p"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
REQUEST_STOP = "gen_ai.request.stop_sequences"
RESPONSE_ID = "gen_ai.response.id"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_FINISH = "gen_ai.response.finish_reasons"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
ERROR_TYPE = "error.type"

EVALUATION = "gen_ai.evaluation.result"
EVALUATION_NAME = "gen_ai.evaluation.name"
EVALUATION_VALUE = "gen_ai.evaluation.score.value"
EVALUATION_LABEL = "gen_ai.evaluation.score.label"

GUARD = "llmguard.guard.name"
DIGEST = "llmguard.guard.digest"
VERDICT = "llmguard.verdict"
FLAGGED_BY = "llmguard.flagged_by"
REDACTIONS = "llmguard.redactions"
GUARDRAIL = "llmguard.guardrail.name"
GUARDRAIL_NAMES = "llmguard.guardrail.names"
STAGE = "llmguard.stage"
ACTION = "llmguard.action"
MONITOR = "llmguard.monitor.name"
INTERRUPTED = "llmguard.interrupted"
ABANDONED = "llmguard.abandoned"
SOURCE = "llmguard.feedback.source"
BYPASS = "llmguard.bypass"
BYPASS_REASON = "llmguard.bypass.reason"
