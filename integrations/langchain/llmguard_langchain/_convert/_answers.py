"""What a model answered, besides its texts: facts for the span."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, Generation, LLMResult

from llmguard_middleware import Usage

from ._messages import text_of

__all__ = ["StreamFacts", "answer", "first_candidates", "without_logprobs", "without_tokens"]

M = TypeVar("M", bound=BaseMessage)

_NOTHING: Mapping[str, Any] = {}
_STAND_INS = ("lc_", "run-")  # of LangChain, for a response without an id
_FEEDBACK = frozenset(("incomplete_details", "prompt_feedback"))


def without_tokens(message: M) -> M:
    """The message without `logprobs`, which repeat the answer token by token, as the model gave it."""
    changes: dict[str, Any] = {}
    if "logprobs" in message.response_metadata:
        changes["response_metadata"] = without_logprobs(message.response_metadata)
    content = message.__dict__["content"]
    if isinstance(content, list) and any(isinstance(block, dict) and "logprobs" in block for block in content):
        changes["content"] = [without_logprobs(block) if isinstance(block, dict) else block for block in content]
    return message.model_copy(update=changes) if changes else message


def without_logprobs(info: dict[str, Any] | None) -> Any:
    """A provider's facts about an answer, without its `logprobs`."""
    return info and {key: value for key, value in info.items() if key != "logprobs"}


def answer(generations: Sequence[Generation], llm_output: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What `Flow.answered` takes, from the candidates of one prompt and what the provider said of them together."""
    first = generations[0] if len(generations) == 1 else None  # as most answers have one candidate
    if first is None or not isinstance(message := getattr(first, "message", None), BaseMessage):
        return _of_several(generations, llm_output)
    fields = message.__dict__  # no model of ours: each of its attributes is looked for in three places
    metadata, content = fields["response_metadata"], fields["content"]
    if llm_output or first.generation_info:
        metadata = _merged(first, llm_output)
    reason = metadata.get("finish_reason") or _reason(metadata)
    identity = metadata.get("id") or fields["id"] or ""
    told: dict[str, Any] = {
        "output": content if type(content) is str else text_of(message),
        "usage": _usage(message) if fields.get("usage_metadata") else None,
        "response_id": "" if identity.startswith(_STAND_INS) else identity,
        "response_model": str(metadata.get("model_name") or metadata.get("model") or ""),
        "finish_reasons": (str(reason),) if reason else (),
    }
    blocked = _refusal(message) if type(content) is not str or fields["additional_kwargs"] else ""
    if not blocked and not _FEEDBACK.isdisjoint(metadata):
        blocked = _feedback(metadata)
    if blocked:
        told["block_reason"] = blocked
    return told


def _of_several(generations: Sequence[Generation], llm_output: Mapping[str, Any] | None) -> dict[str, Any]:
    if not generations:
        return {"output": ""}
    said = [_merged(one, llm_output) for one in generations]
    finish = tuple(str(reason) for one in said if (reason := _reason(one)))
    messages = [message for one in generations if isinstance(message := getattr(one, "message", None), BaseMessage)]
    if not messages:
        return {"output": generations[0].text, **({"finish_reasons": finish} if finish else {})}
    told = {**answer(generations[:1], llm_output), "finish_reasons": finish}
    # Of any candidate: the caller gets them all.
    if blocked := next(filter(None, (*map(_refusal, messages), *map(_feedback, said))), ""):
        told["block_reason"] = blocked
    return told


def _merged(candidate: Generation, llm_output: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """LangChain copies the first two into the third, but only after the model's own method has returned."""
    metadata = getattr(getattr(candidate, "message", None), "response_metadata", _NOTHING)
    return {**(llm_output or {}), **(candidate.generation_info or {}), **metadata}


class StreamFacts:
    """What the chunks of a streamed answer tell besides its text, gathered without making a message of them."""

    def __init__(self) -> None:
        self._id = ""
        self._metadata: dict[str, Any] = {}
        self._usage: Usage | None = None
        self._blocked = ""

    def note(self, chunk: ChatGenerationChunk) -> None:
        """Take one chunk's."""
        message = chunk.message
        if message.id and (not self._id or not _own_id(self._id)):
            self._id = message.id
        if message.response_metadata:
            self._metadata.update(message.response_metadata)
        if chunk.generation_info:
            self._metadata.update(chunk.generation_info)
        if blocked := _refusal(message):
            self._blocked = blocked
        if (usage := _usage(message)) is not None:
            self._usage = usage if self._usage is None else self._usage + usage

    def answer(self) -> dict[str, Any]:
        """What `Flow.answered` takes."""
        finish = _reason(self._metadata)
        told: dict[str, Any] = {
            "usage": self._usage,
            "response_id": _own_id(self._metadata.get("id") or self._id),
            "response_model": str(self._metadata.get("model_name") or self._metadata.get("model") or ""),
            "finish_reasons": (str(finish),) if finish else (),
        }
        if blocked := self._blocked or _feedback(self._metadata):
            told["block_reason"] = blocked
        return told


def _reason(metadata: Mapping[str, Any]) -> Any:
    """Why the model stopped, as OpenAI and Google, Anthropic, and Bedrock call it."""
    return metadata.get("finish_reason") or metadata.get("stop_reason") or metadata.get("stopReason")


def _refusal(message: BaseMessage) -> str:
    """OpenAI's refusals stand beside the text or, in its Responses API, in its place."""
    fields = message.__dict__
    if (more := fields["additional_kwargs"]) and more.get("refusal"):
        return "refusal"
    content = fields["content"]
    if type(content) is list and any(isinstance(one, dict) and one.get("type") == "refusal" for one in content):
        return "refusal"
    return ""


def _feedback(metadata: Mapping[str, Any]) -> str:
    """What Google says of a prompt that it turned down, and OpenAI's Responses API of an answer that it cut."""
    if isinstance(cut := metadata.get("incomplete_details"), dict) and cut.get("reason") == "content_filter":
        return "content_filter"
    feedback = metadata.get("prompt_feedback")
    if not feedback or not isinstance(feedback, Mapping):
        return ""
    reason = feedback.get("block_reason") or feedback.get("blockReason")
    return str(getattr(reason, "name", reason) or "")


def _usage(message: BaseMessage) -> Usage | None:
    counted = getattr(message, "usage_metadata", None)
    if not isinstance(message, AIMessage) or not counted:
        return None
    read, written = counted.get("input_token_details"), counted.get("output_token_details")
    if not (read or written):
        return Usage(counted.get("input_tokens"), counted.get("output_tokens"))
    read, written = read or _NOTHING, written or _NOTHING
    return Usage(
        counted.get("input_tokens"),
        counted.get("output_tokens"),
        read.get("cache_read"),
        read.get("cache_creation"),
        written.get("reasoning"),
    )


def _own_id(identity: str) -> str:
    """The provider's id of the response; LangChain's stand-ins (lc_run--..., run-...) are none."""
    return "" if identity.startswith(_STAND_INS) else identity


def first_candidates(response: LLMResult) -> Sequence[Generation]:
    """The candidates of the only prompt of a run."""
    return response.generations[0] if response.generations else ()
