"""What a model is asked, and what we answer in its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from llmguard_middleware import Call
from llmguard_middleware.telemetry._output_type import output_type

__all__ = ["NOTHING", "again", "model_call", "refusal", "refusal_chunk"]

# LangChain's `ls_provider` where the GenAI conventions know the provider by another name.
_PROVIDERS = {
    "amazon_bedrock": "aws.bedrock",
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "google_genai": "gcp.gemini",
    "google_vertexai": "gcp.vertex_ai",
    "ibm": "ibm.watsonx.ai",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "xai": "x_ai",
}
_BASE_URLS = ("openai_api_base", "base_url", "azure_endpoint", "endpoint_url", "endpoint")


NOTHING: Mapping[str, Any] = {}
# How providers spell a setting, how we do, and the types that it may have, of which it becomes the last.
_NUMBER: tuple[type, ...] = (int, float)
_SETTINGS: tuple[tuple[str, str, tuple[type, ...]], ...] = (
    ("temperature", "temperature", _NUMBER),
    ("top_p", "top_p", _NUMBER),
    ("top_k", "top_k", (int,)),
    ("seed", "seed", (int,)),
    ("frequency_penalty", "frequency_penalty", _NUMBER),
    ("presence_penalty", "presence_penalty", _NUMBER),
    ("n", "choices", (int,)),
    ("candidate_count", "choices", (int,)),
    ("num_predict", "max_tokens", (int,)),
    ("max_output_tokens", "max_tokens", (int,)),
    ("max_completion_tokens", "max_tokens", (int,)),
    ("max_tokens", "max_tokens", (int,)),
    ("stop_sequences", "stop", (tuple, list)),
    ("stop", "stop", (tuple, list)),
)


def model_call(
    operation: str, ls_params: Mapping[str, Any], source: Mapping[str, Any], given: Mapping[str, Any] = NOTHING
) -> Call:
    """The call as far as it is known beforehand.

    Args:
        operation: of the conventions.
        ls_params: LangChain's standard parameters of the call.
        source: the model's fields, or its serialized kwargs.
        given: what is given for this call only (the kwargs of the call, or `invocation_params`), which wins.
    """
    provider = str(ls_params.get("ls_provider") or "unknown")
    address, port = "", None
    if source and (base := next((source[key] for key in _BASE_URLS if source.get(key)), None)):
        url = urlsplit(str(base))
        address, port = url.hostname or "", url.port or {"http": 80, "https": 443}.get(url.scheme)
    settings = _settings(source, given) if source or given else {}
    if (temperature := ls_params.get("ls_temperature")) is not None:
        settings["temperature"] = temperature
    if (max_tokens := ls_params.get("ls_max_tokens")) is not None:
        settings["max_tokens"] = max_tokens
    if (stop := ls_params.get("ls_stop")) is not None:
        settings["stop"] = stop
    return Call.made(
        operation,
        provider=_PROVIDERS.get(provider, provider),
        model=str(ls_params.get("ls_model_name") or ""),
        server_address=address,
        server_port=port,
        settings=settings,
    )


def _settings(*sources: Mapping[str, Any]) -> dict[str, Any]:
    """What these say of the conventions' settings; the last one wins."""
    settings: dict[str, Any] = {}
    for source in sources:
        for key, name, kinds in _SETTINGS if source else ():
            if key in source and isinstance(value := source[key], kinds):
                settings[name] = kinds[-1](value)
        if source and (wanted := output_type(source)):
            settings["output_type"] = wanted
    if settings.get("choices") == 1:
        del settings["choices"]
    return settings


def again(messages: Sequence[BaseMessage], turned_down: str, feedback: str) -> list[BaseMessage]:
    """The messages with an answer that was turned down, and what was wrong with it."""
    return [*messages, AIMessage(turned_down), HumanMessage(feedback)]


def refusal(text: str) -> ChatResult:
    """An answer that says this."""
    return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])


def refusal_chunk(text: str) -> ChatGenerationChunk:
    """The only chunk of an answer that says this."""
    return ChatGenerationChunk(message=AIMessageChunk(content=text))
