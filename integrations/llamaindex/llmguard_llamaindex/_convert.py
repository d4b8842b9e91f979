"""What LlamaIndex knows of a call and its answer, in the core's words: pure functions, no provider package imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from llama_index.core.base.llms.base import BaseLLM

from llmguard_middleware import Call, Usage
from llmguard_middleware.telemetry._output_type import output_type

__all__ = ["envelope", "facts", "get", "model_call", "provider"]

# `llama_index.llms.<part>` where that is not the value of `gen_ai.provider.name`.
_PROVIDERS = {
    "azure_inference": "azure.ai.inference",
    "azure_openai": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "gemini": "gcp.gemini",
    "google_genai": "gcp.gen_ai",
    "ibm": "ibm.watsonx.ai",
    "mistralai": "mistral_ai",
    "openai_like": "openai",
    "vertex": "gcp.vertex_ai",
}
_PACKAGE = "llama_index.llms."


# What is asked of a model


def model_call(llm: BaseLLM, options: Mapping[str, Any], *, streamed: bool) -> Call:
    """The call of `llm` with the keyword arguments `options`, before anything is known of the messages."""
    address, port = _server(llm)
    return Call(
        operation="chat",
        provider=provider(type(llm)),
        model=_model(llm),
        server_address=address,
        server_port=port,
        settings=_settings(llm, options),
        streamed=streamed,
    )


def provider(cls: type) -> str:
    """The value of `gen_ai.provider.name` for an LLM class; its name in lower case if it is no known provider's."""
    for base in cls.__mro__:
        if base.__module__.startswith(_PACKAGE):
            part = base.__module__.removeprefix(_PACKAGE).partition(".")[0]
            return _PROVIDERS.get(part, part)
    return cls.__name__.lower()


def _model(llm: BaseLLM) -> str:
    for name in ("model", "model_name"):
        if isinstance(value := getattr(llm, name, None), str) and value:
            return value
    try:
        named = llm.metadata.model_name
    except Exception:  # noqa: BLE001 - some providers raise for a model they do not know; a span can do without its name
        return ""
    return "" if named == "unknown" else named


def _settings(llm: BaseLLM, options: Mapping[str, Any]) -> dict[str, Any]:
    extra = getattr(llm, "additional_kwargs", None)
    layers = [options, extra if isinstance(extra, Mapping) else {}, vars(llm)]
    found = {
        name: next((layer[name] for layer in layers if layer.get(name) is not None), None)
        for name in ("temperature", "top_p", "max_tokens", "stop")
    }
    if isinstance(found["stop"], str):
        found["stop"] = [found["stop"]]
    for layer in layers[:2]:
        for name, ours in _MORE:
            if found.get(ours) is None and isinstance(value := layer.get(name), (int, float)):
                found[ours] = value
    if found.get("choices") == 1:
        del found["choices"]
    told: dict[str, Any] = {
        name: value for name, value in found.items() if isinstance(value, (int, float, list, tuple))
    }
    if wanted := output_type(layers[0]) or output_type(layers[1]):
        told["output_type"] = wanted
    return told


# What no LLM has as a field of its own: how it is given, and how we say it.
_MORE = (
    ("n", "choices"),
    ("seed", "seed"),
    ("frequency_penalty", "frequency_penalty"),
    ("presence_penalty", "presence_penalty"),
)


def _server(llm: BaseLLM) -> tuple[str, int | None]:
    for name in ("api_base", "base_url", "azure_endpoint"):
        if isinstance(value := getattr(llm, name, None), str) and value:
            url = urlsplit(value if "//" in value else f"//{value}")
            return url.hostname or "", url.port or {"http": 80, "https": 443}.get(url.scheme)
    return "", None


# What a model says


def facts(response: Any) -> dict[str, Any]:
    """What a response, or a chunk of one, tells of itself, as fields of `Call`; what it does not tell is left out."""
    raw = getattr(response, "raw", None)
    found: dict[str, Any] = {}
    counted = get(raw, "usage")
    if not counted and (more := getattr(response, "additional_kwargs", None)):
        counted = get(more, "usage") or more
    if counted and (usage := _usage(counted)) is not None:
        found["usage"] = usage
    if raw is None:
        return found
    if (value := get(raw, "id")) and isinstance(value, str):
        found["response_id"] = value
    if (value := get(raw, "model")) and isinstance(value, str):
        found["response_model"] = value
    choices = get(raw, "choices")
    if not isinstance(choices, (list, tuple)):
        choices = ()
    reasons = [get(choice, "finish_reason") for choice in choices]
    reasons.append(get(raw, "stop_reason"))
    if reasons == [None]:  # as Bedrock and Google call it; to ask others for what they do not have costs
        reasons = [get(raw, "stopReason") or get(raw, "finish_reason")]
    if told := [str(getattr(reason, "name", reason)) for reason in reasons if reason]:
        found["finish_reasons"] = tuple(told)
    if blocked := _refusal(choices) if choices else _unanswered(raw, response):
        found["block_reason"] = blocked
    return found


def _refusal(choices: Any) -> str:
    """OpenAI's refusals stand beside the text."""
    for choice in choices:
        said = get(choice, "delta") or get(choice, "message")
        if said is not None and get(said, "refusal"):
            return "refusal"
    return ""


def _unanswered(raw: Any, response: Any) -> str:
    """What Google says of a prompt that it turned down, and OpenAI's Responses API of an answer that it cut."""
    if (more := getattr(response, "additional_kwargs", None)) and get(more, "refusal"):
        return "refusal"
    if get(get(raw, "incomplete_details"), "reason") == "content_filter":
        return "content_filter"
    reason = get(raw, "block_reason") or get(get(raw, "prompt_feedback"), "block_reason")
    return str(getattr(reason, "name", reason) or "")


def envelope(response: Any, known: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """The provider's raw answer without what it says, which was guarded: identity, usage and finish reasons only.

    `known` is what `facts` tells of it.
    """
    raw = response.raw
    if raw is None:
        return None
    kept = {name: value for name in ("id", "model", "usage") if (value := get(raw, name)) is not None}
    if reasons := (facts(response) if known is None else known).get("finish_reasons"):
        kept["choices"] = [{"finish_reason": reason} for reason in reasons]
    return kept


def get(thing: Any, name: str) -> Any:
    """What `thing`, a mapping or an object, has under `name`, or None."""
    if type(thing) is dict:  # mostly; asking whether it is a Mapping costs
        return thing.get(name)
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)


def _usage(counted: Any) -> Usage | None:
    """Tokens as OpenAI's two APIs and Anthropic's count them, in an object or a mapping.

    OpenAI says of the input and of the output how many of them were cached, or reasoning. Anthropic counts as input
    only what was neither read from a cache nor written to it; here, and in the conventions, the input is all three.
    """
    asked, answered = _count(counted, "prompt_tokens"), _count(counted, "completion_tokens", "output_tokens")
    apart = asked is None
    if apart:
        asked = _count(counted, "input_tokens")
    if asked is None and answered is None:
        return None
    read, written = _count(counted, "cache_read_input_tokens"), _count(counted, "cache_creation_input_tokens")
    if apart and asked is not None:
        asked += (read or 0) + (written or 0)
    if read is None and (of_input := get(counted, "prompt_tokens_details") or get(counted, "input_tokens_details")):
        read = _count(of_input, "cached_tokens")
    of_output = get(counted, "completion_tokens_details") or get(counted, "output_tokens_details")
    return Usage(asked, answered, read, written, _count(of_output, "reasoning_tokens") if of_output else None)


def _count(counted: Any, *names: str) -> int | None:
    for name in names:
        if isinstance(value := get(counted, name), int):
            return value
    return None
