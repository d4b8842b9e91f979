"""LangChain's objects to the core's values and back: pure functions, no life cycle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import urlsplit

from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ChatMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, Generation, LLMResult
from langchain_core.prompt_values import PromptValue

from llmguard_middleware import Call, Message, Usage

__all__ = [
    "NOTHING",
    "StreamFacts",
    "again",
    "answer",
    "first_candidates",
    "inputs",
    "model_call",
    "parts",
    "plain",
    "read",
    "refusal",
    "refusal_chunk",
    "role",
    "text_of",
    "with_messages",
    "with_parts",
    "with_text",
    "without_logprobs",
    "without_tokens",
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
NOTHING: Mapping[str, Any] = MappingProxyType({})
_BASE_URLS = ("openai_api_base", "base_url", "azure_endpoint", "endpoint_url", "endpoint")


def parts(message: BaseMessage) -> list[str]:
    """The text parts of a message, in order: its string, or the texts of its blocks."""
    if isinstance(message.content, str):
        return [message.content]
    texts = (block if isinstance(block, str) else block.get("text") for block in message.content)
    return [text for text in texts if isinstance(text, str)]


def text_of(message: BaseMessage) -> str:
    """The text of a message, whatever its parts."""
    return "".join(parts(message))


def with_parts(message: M, texts: Sequence[str]) -> M:
    """A copy of the message with other text parts; the message itself if they are the same."""
    if list(texts) == parts(message):
        return message
    if isinstance(message.content, str):
        return message.model_copy(update={"content": "".join(texts)})
    take = iter(texts)
    content: list[Any] = []
    for block in message.content:
        if isinstance(block, str):
            content.append(next(take))
        elif isinstance(block.get("text"), str):
            content.append({**block, "text": next(take)})
        else:
            content.append(block)
    return message.model_copy(update={"content": content})


def with_text(message: M, text: str) -> M:
    """A copy of the message with another text, all of it in the first part; the message itself if it has this text."""
    old = parts(message)
    return message if "".join(old) == text else with_parts(message, [text, *[""] * (len(old) - 1)])


def role(message: BaseMessage) -> str:
    """The conventions' role. One that nobody knows counts as the user's: guardrails look most closely there."""
    if isinstance(message, ChatMessage):
        return _ROLES.get(message.role, message.role if message.role in _ROLES.values() else "user")
    kind = message.type.removesuffix("MessageChunk").lower()
    return _ROLES.get(kind, "user")


def read(messages: Sequence[BaseMessage]) -> list[Message]:
    """One core message for each message."""
    return [Message(role(message), text_of(message)) for message in messages]


def with_messages(result: ChatResult, messages: Sequence[BaseMessage]) -> ChatResult:
    """The result with these messages for its candidates'."""
    generations = [
        # A ChatGeneration derives its `text` from its message when it is validated, so it is made anew.
        type(generation)(message=message, generation_info=without_logprobs(generation.generation_info))
        for generation, message in zip(result.generations, messages, strict=True)
    ]
    return result.model_copy(update={"generations": generations})


def without_tokens(message: M) -> M:
    """The message without `logprobs`, which repeat the answer token by token, as the model gave it."""
    if "logprobs" not in message.response_metadata:
        return message
    return message.model_copy(update={"response_metadata": without_logprobs(message.response_metadata)})


def without_logprobs(info: dict[str, Any] | None) -> Any:
    """A provider's facts about an answer, without its `logprobs`."""
    return info and {key: value for key, value in info.items() if key != "logprobs"}


def model_call(operation: str, ls_params: Mapping[str, Any], source: Mapping[str, Any]) -> Call:
    """The call as far as it is known beforehand; `source` holds the model's fields (or its serialized kwargs)."""
    provider = str(ls_params.get("ls_provider") or "unknown")
    address, port = "", None
    if source and (base := next((source[key] for key in _BASE_URLS if source.get(key)), None)):
        url = urlsplit(str(base))
        address, port = url.hostname or "", url.port or {"http": 80, "https": 443}.get(url.scheme)
    return Call.made(
        operation,
        provider=_PROVIDERS.get(provider, provider),
        model=str(ls_params.get("ls_model_name") or ""),
        server_address=address,
        server_port=port,
        settings={
            "temperature": ls_params.get("ls_temperature"),
            "max_tokens": ls_params.get("ls_max_tokens"),
            "stop": ls_params.get("ls_stop"),
        },
    )


def again(messages: Sequence[BaseMessage], turned_down: str, feedback: str) -> list[BaseMessage]:
    """The messages with an answer that was turned down, and what was wrong with it."""
    return [*messages, AIMessage(turned_down), HumanMessage(feedback)]


def refusal(text: str) -> ChatResult:
    """An answer that says this."""
    return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])


def refusal_chunk(text: str) -> ChatGenerationChunk:
    """The only chunk of an answer that says this."""
    return ChatGenerationChunk(message=AIMessageChunk(content=text))


def answer(generations: Sequence[Generation], llm_output: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What `Flow.answered` takes, from the candidates of one prompt and what the provider said of them together."""
    if not generations:
        return {"output": ""}
    first = getattr(generations[0], "message", None)
    if not isinstance(first, BaseMessage):
        return {"output": generations[0].text}
    metadata = first.response_metadata
    if llm_output or generations[0].generation_info:
        # LangChain copies the first two into the third, but only after the model's own method has returned.
        metadata = {**(llm_output or {}), **(generations[0].generation_info or {}), **metadata}
    reason = metadata.get("finish_reason")
    if len(generations) == 1:
        finish: tuple[str, ...] = (str(reason),) if reason else ()
    else:
        finish = tuple(
            str(own) for g in generations if (own := (g.generation_info or {}).get("finish_reason") or reason)
        )
    return {
        "output": first.content if isinstance(first.content, str) else text_of(first),
        "usage": _usage(first),
        "response_id": _own_id(metadata.get("id") or first.id or ""),
        "response_model": str(metadata.get("model_name") or metadata.get("model") or ""),
        "finish_reasons": finish,
    }


class StreamFacts:
    """What the chunks of a streamed answer tell besides its text, gathered without making a message of them."""

    def __init__(self) -> None:
        self._id = ""
        self._metadata: dict[str, Any] = {}
        self._usage: Usage | None = None

    def note(self, chunk: ChatGenerationChunk) -> None:
        """Take one chunk's."""
        message = chunk.message
        if message.id and (not self._id or not _own_id(self._id)):
            self._id = message.id
        if message.response_metadata:
            self._metadata.update(message.response_metadata)
        if chunk.generation_info:
            self._metadata.update(chunk.generation_info)
        if (usage := _usage(message)) is not None:
            self._usage = usage if self._usage is None else _added(self._usage, usage)

    def answer(self) -> dict[str, Any]:
        """What `Flow.answered` takes."""
        finish = self._metadata.get("finish_reason")
        return {
            "usage": self._usage,
            "response_id": _own_id(self._metadata.get("id") or self._id),
            "response_model": str(self._metadata.get("model_name") or self._metadata.get("model") or ""),
            "finish_reasons": (str(finish),) if finish else (),
        }


def _added(one: Usage, other: Usage) -> Usage:
    def both(a: int | None, b: int | None) -> int | None:
        return b if a is None else a if b is None else a + b

    return Usage(both(one.input_tokens, other.input_tokens), both(one.output_tokens, other.output_tokens))


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
        return text_of(value)
    if isinstance(value, PromptValue):
        return value.to_string()
    if isinstance(value, Document):
        return value.page_content
    return value
