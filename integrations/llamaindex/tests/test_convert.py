"""Between LlamaIndex's values and the core's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from llama_index.core.base.llms.types import CompletionResponse
from llama_index.core.llms.mock import MockLLM
from llama_index.llms.openai_like import OpenAILike

from llmguard_llamaindex._convert import facts, model_call, provider
from llmguard_middleware import Usage


def like(**options: Any) -> OpenAILike:
    """An OpenAI-compatible model."""
    return OpenAILike(model="smollm2", api_key="none", is_chat_model=True, **options)


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("llama_index.llms.openai.base", "openai"),
        ("llama_index.llms.openai_like.base", "openai"),
        ("llama_index.llms.anthropic.base", "anthropic"),
        ("llama_index.llms.mistralai.base", "mistral_ai"),
        ("llama_index.llms.bedrock_converse.base", "aws.bedrock"),
        ("llama_index.llms.azure_openai.base", "azure.ai.openai"),
        ("llama_index.llms.ollama", "ollama"),
        ("mine", "model"),
    ],
)
def test_provider(module: str, expected: str) -> None:
    """The provider is read off the package that the class, or a base of it, comes from."""
    base = type("Model", (), {"__module__": module})
    assert provider(base) == expected
    assert provider(type("Mine", (base,), {"__module__": "mine"})) == (expected if module != "mine" else "mine")


@pytest.mark.parametrize(
    ("api_base", "address", "port"),
    [
        ("http://127.0.0.1:8080/v1", "127.0.0.1", 8080),
        ("https://api.example.com/v1", "api.example.com", 443),
        ("http://example.com", "example.com", 80),
    ],
)
def test_server(api_base: str, address: str, port: int) -> None:
    """The server's address and port come from the API base."""
    call = model_call(like(api_base=api_base), {}, streamed=False)
    assert (call.server_address, call.server_port) == (address, port)


def test_settings() -> None:
    """Settings of the call win over those of the model."""
    call = model_call(
        like(temperature=0.5, max_tokens=9, additional_kwargs={"top_p": 0.9}),
        {"temperature": 0.0, "stop": "."},
        streamed=True,
    )
    assert (call.model, call.provider, call.streamed) == ("smollm2", "openai", True)
    assert call.settings == {"temperature": 0.0, "max_tokens": 9, "top_p": 0.9, "stop": ["."]}


def test_less_common_settings() -> None:
    """How many answers are asked for, their kind, the seed and the penalties; a call's own before the model's."""
    model = like(additional_kwargs={"n": 3, "seed": 7, "response_format": {"type": "text"}})
    own = {"presence_penalty": 0.1, "frequency_penalty": 0, "response_format": {"type": "json_object"}}
    call = model_call(model, own, streamed=False)
    told = {"choices": 3, "seed": 7, "presence_penalty": 0.1, "frequency_penalty": 0, "output_type": "json"}
    assert {name: call.settings.get(name) for name in told} == told
    assert "choices" not in model_call(model, {"n": 1}, streamed=False).settings
    assert model_call(model, {}, streamed=False).settings["output_type"] == "text"


def test_nothing_known() -> None:
    """A model that tells nothing of itself still has a provider."""
    call = model_call(MockLLM(), {}, streamed=False)
    assert (call.operation, call.provider, call.model, call.server_address, call.server_port) == (
        "chat",
        "mockllm",
        "",
        "",
        None,
    )


def test_facts() -> None:
    """Usage, id, model and finish reasons are read from objects, from dicts, and from LlamaIndex's own counts."""
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    expected = {"usage": Usage(1, 2), "response_id": "a", "response_model": "m", "finish_reasons": ("stop",)}
    raw = {"id": "a", "model": "m", "usage": usage, "choices": [{"finish_reason": "stop"}]}
    as_object = SimpleNamespace(
        id="a", model="m", usage=SimpleNamespace(**usage), choices=[SimpleNamespace(finish_reason="stop")]
    )

    assert facts(CompletionResponse(text="", raw=raw)) == expected
    assert facts(CompletionResponse(text="", raw=as_object)) == expected
    assert facts(CompletionResponse(text="", raw=SimpleNamespace(), additional_kwargs=usage)) == {"usage": Usage(1, 2)}
    assert facts(
        CompletionResponse(text="", raw={"usage": {"input_tokens": 3, "output_tokens": 4}, "stop_reason": "end_turn"})
    ) == {
        "usage": Usage(3, 4),
        "finish_reasons": ("end_turn",),
    }
    assert facts(CompletionResponse(text="", raw={"usage": None, "choices": [{"finish_reason": None}]})) == {}
    assert facts(None) == {}


OPENAI = {
    "prompt_tokens": 9,
    "completion_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
RESPONSES = {
    "input_tokens": 9,
    "output_tokens": 5,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens_details": {"reasoning_tokens": 3},
}
ANTHROPIC = {"input_tokens": 3, "output_tokens": 5, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 2}


def _object(tree: Any) -> Any:
    return SimpleNamespace(**{key: _object(one) for key, one in tree.items()}) if isinstance(tree, dict) else tree


@pytest.mark.parametrize("shape", [lambda tree: tree, _object], ids=["dict", "object"])
@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (OPENAI, Usage(9, 5, 4, None, 3)),
        (RESPONSES, Usage(9, 5, 4, None, 3)),
        (ANTHROPIC, Usage(9, 5, 4, 2)),
        ({**ANTHROPIC, "cache_read_input_tokens": None, "cache_creation_input_tokens": None}, Usage(3, 5)),
        ({**OPENAI, "prompt_tokens_details": None, "completion_tokens_details": None}, Usage(9, 5)),
        ({**OPENAI, "cache_read_input_tokens": 4}, Usage(9, 5, 4, None, 3)),
    ],
    ids=["openai", "responses", "anthropic", "uncached", "no details", "litellm"],
)
def test_cached_and_reasoning_tokens(usage: dict[str, Any], shape: Any, expected: Usage) -> None:
    """They are read as each API tells them, from the raw answer or what LlamaIndex keeps of it; input is all of it."""
    told = shape(usage)
    for raw in ({"usage": told}, SimpleNamespace(usage=told)):
        assert facts(CompletionResponse(text="", raw=raw)) == {"usage": expected}
    assert facts(CompletionResponse(text="", additional_kwargs={"usage": told})) == {"usage": expected}
    assert facts(CompletionResponse(text="", additional_kwargs=usage)) == {"usage": expected}
