"""LangChain's objects to the core's values and back: pure functions, no life cycle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatResult, Generation, LLMResult
from langchain_core.prompt_values import PromptValue

from llmguard_middleware import Call, Message, Usage

__all__ = [
    "answer",
    "asked",
    "generated",
    "inputs",
    "model_call",
    "plain",
    "read",
    "regenerated",
    "texts",
    "with_texts",
]

M = TypeVar("M", bound=BaseMessage)

_ROLES = {
    "human": "user",
    "ai": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
}

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


def texts(message: BaseMessage) -> Iterator[str]:
    """The text parts of a message, in order: its string, or its text blocks."""
    if isinstance(message.content, str):
        yield message.content
        return
    for block in message.content:
        if isinstance(block, str):
            yield block
        elif block.get("type") == "text" and isinstance(block.get("text"), str):
            yield block["text"]


def with_texts(message: M, take: Callable[[], str]) -> M:
    """A copy of the message with its text parts, in order, from `take`; the message itself if none changes."""
    if isinstance(message.content, str):
        text = take()
        return message if text == message.content else message.model_copy(update={"content": text})
    content: list[Any] = []
    for block in message.content:
        if isinstance(block, str):
            content.append(take())
        elif block.get("type") == "text" and isinstance(block.get("text"), str):
            content.append({**block, "text": take()})
        else:
            content.append(block)
    return message if content == message.content else message.model_copy(update={"content": content})


def read(messages: Sequence[BaseMessage]) -> list[Message]:
    """One core message for each text part."""
    return [Message(_ROLES.get(message.type, message.type), text) for message in messages for text in texts(message)]


def asked(messages: Sequence[BaseMessage], guarded: Sequence[str]) -> list[BaseMessage]:
    """The messages with `guarded` in the place of the texts that `read` gave; never the caller's objects changed."""
    take = iter(guarded).__next__
    return [with_texts(message, take) for message in messages]


def generated(result: ChatResult) -> list[str]:
    """The text parts of every candidate answer."""
    return [text for generation in result.generations for text in texts(generation.message)]


def regenerated(result: ChatResult, released: Sequence[str]) -> ChatResult:
    """The result with `released` in the place of the texts that `generated` gave."""
    take = iter(released).__next__
    generations = [
        # A ChatGeneration derives its `text` from its message when it is validated, so it is made anew.
        type(generation)(message=with_texts(generation.message, take), generation_info=generation.generation_info)
        for generation in result.generations
    ]
    return result.model_copy(update={"generations": generations})


def model_call(operation: str, ls_params: Mapping[str, Any], source: Mapping[str, Any]) -> Call:
    """The call as far as it is known beforehand; `source` holds the model's fields (or its serialized kwargs)."""
    provider = str(ls_params.get("ls_provider") or "unknown")
    url = urlsplit(next((str(source[key]) for key in _BASE_URLS if source.get(key)), ""))
    return Call(
        operation,
        provider=_PROVIDERS.get(provider, provider),
        model=str(ls_params.get("ls_model_name") or ""),
        server_address=url.hostname or "",
        server_port=url.port or {"http": 80, "https": 443}.get(url.scheme),
        settings={
            "temperature": ls_params.get("ls_temperature"),
            "max_tokens": ls_params.get("ls_max_tokens"),
            "stop": ls_params.get("ls_stop"),
        },
    )


def answer(generations: Sequence[Generation], llm_output: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What `Flow.answered` takes, from the candidates of one prompt and what the provider said of them together."""
    if not generations:
        return {"output": ""}
    messages = [m for g in generations if isinstance(m := getattr(g, "message", None), BaseMessage)]
    if not messages:
        return {"output": generations[0].text}
    first = messages[0]
    # LangChain copies the first two into the third, but only after the model's own method has returned.
    metadata = {**(llm_output or {}), **(generations[0].generation_info or {}), **first.response_metadata}
    finish = [(g.generation_info or {}).get("finish_reason") or metadata.get("finish_reason") for g in generations]
    return {
        "output": "".join(texts(first)),
        "usage": _usage(first),
        "response_id": _own_id(metadata.get("id") or first.id or ""),
        "response_model": str(metadata.get("model_name") or metadata.get("model") or ""),
        "finish_reasons": tuple(str(reason) for reason in finish if reason),
    }


def _usage(message: BaseMessage) -> Usage | None:
    counted = getattr(message, "usage_metadata", None)
    if not isinstance(message, AIMessage) or not counted:
        return None
    return Usage(counted.get("input_tokens"), counted.get("output_tokens"))


def _own_id(identity: str) -> str:
    """The provider's id of the response; LangChain's stand-ins (lc_run--..., run-...) are none."""
    return "" if identity.startswith(("lc_", "run-")) else identity


def first_candidates(response: LLMResult) -> Sequence[Generation]:
    """The candidates of the only prompt of a run."""
    return response.generations[0] if response.generations else ()


def inputs(given: Any) -> dict[str, Any]:
    """A chain's input by name: its dict, or a bare text under the names that scorers ask for."""
    if isinstance(given, Mapping):
        return {str(name): plain(value) for name, value in given.items()}
    value = plain(given)
    return {"input": value, "question": value, "prompt": value} if isinstance(value, str) else {"input": value}


def plain(value: Any) -> Any:
    """The text of a message, a prompt or documents; anything else as it is."""
    if isinstance(value, BaseMessage):
        return "".join(texts(value))
    if isinstance(value, PromptValue):
        return value.to_string()
    if isinstance(value, Document):
        return value.page_content
    return value
