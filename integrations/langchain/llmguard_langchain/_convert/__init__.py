"""LangChain's objects to the core's values and back: pure functions, no life cycle."""

from ._answers import StreamFacts, answer, first_candidates, without_logprobs, without_tokens
from ._calls import NOTHING, again, model_call, refusal, refusal_chunk
from ._messages import inputs, parts, plain, read, role, text_of, with_parts, with_text
from ._texts import DROP, Kind, Walk, is_plain, texts_of

__all__ = [
    "DROP",
    "NOTHING",
    "Kind",
    "StreamFacts",
    "Walk",
    "again",
    "answer",
    "first_candidates",
    "inputs",
    "is_plain",
    "model_call",
    "parts",
    "plain",
    "read",
    "refusal",
    "refusal_chunk",
    "role",
    "text_of",
    "texts_of",
    "with_parts",
    "with_text",
    "without_logprobs",
    "without_tokens",
]
