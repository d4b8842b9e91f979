"""What LlamaIndex knows of a call and its answer, in the core's words: pure functions, no provider package imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from llama_index.core.base.llms.base import BaseLLM

from llmguard_middleware import Call, Usage

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
    return {name: value for name, value in found.items() if isinstance(value, (int, float, list, tuple))}


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
    if counted := get(raw, "usage") or getattr(response, "additional_kwargs", None):
        asked = _count(counted, "prompt_tokens", "input_tokens")
        answered = _count(counted, "completion_tokens", "output_tokens")
        if not (asked is None and answered is None):
            found["usage"] = Usage(asked, answered)
    if raw is None:
        return found
    if (value := get(raw, "id")) and isinstance(value, str):
        found["response_id"] = value
    if (value := get(raw, "model")) and isinstance(value, str):
        found["response_model"] = value
    choices = get(raw, "choices")
    reasons = [get(choice, "finish_reason") for choice in choices] if isinstance(choices, (list, tuple)) else []
    reasons.append(get(raw, "stop_reason"))
    if told := [str(reason) for reason in reasons if reason]:
        found["finish_reasons"] = tuple(told)
    return found


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


def _count(counted: Any, *names: str) -> int | None:
    for name in names:
        if isinstance(value := get(counted, name), int):
            return value
    return None
