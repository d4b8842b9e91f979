"""The two ways to talk to an LLM, by messages or by a prompt: what goes through the guardrails, and copies of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    MessageRole,
    TextBlock,
)

from llmguard_middleware import Message
from llmguard_middleware._flow import Flow
from llmguard_middleware._judge import Plan

from ._convert import envelope, facts
from ._judged import admitted, read, released, text_of

__all__ = ["CHAT", "COMPLETION", "Form"]


class Form:
    """One of the two ways to talk to an LLM. Everything is returned as a changed copy."""

    def asked(self, request: Any) -> list[Message]:
        """What is asked, one core message for each message."""
        raise NotImplementedError

    def admitted(self, flow: Flow, request: Any) -> Plan[Any]:
        """The request as it may go to the model; the caller's own object if nothing changes."""
        raise NotImplementedError

    def released(self, flow: Flow, response: Any) -> Plan[Any]:
        """A whole answer as it may go to the caller."""
        if flow.transparent:
            return response
        if flow.policy.of_call:
            yield from flow.settle_races()
            flow.told(**facts(response))
        message, extra = yield from released(flow, self.message(response), response.additional_kwargs)
        return self.made(response, message, extra, raw=envelope(response)) if flow.acts else response

    def message(self, response: Any) -> ChatMessage:
        """What an answer says, or a stream up to this chunk of it."""
        raise NotImplementedError

    def answer(self, response: Any) -> str:
        """The text of an answer."""
        return text_of(self.message(response))

    def made(
        self, like: Any, message: ChatMessage, extra: dict[str, Any], *, raw: Any, delta: str | None = None
    ) -> Any:
        """An answer, or a chunk of one, that says this; nothing of what `like` said is left in it.

        Args:
            like: the one that takes its place.
            message: what it says.
            extra: what stands beside the message.
            raw: the provider's own answer.
            delta: what a chunk adds.
        """
        raise NotImplementedError

    def again(self, request: Any, answer: str, feedback: str) -> Any:
        """The request with the answer that was turned down, and what was wrong with it."""
        raise NotImplementedError

    def refusal(self, text: str, said: str = "") -> Any:
        """An answer that says this, or the last chunk of one of which `said` has left."""
        raise NotImplementedError


class _Chat(Form):
    def asked(self, request: Sequence[ChatMessage]) -> list[Message]:
        return read(request)

    def admitted(self, flow: Flow, request: Sequence[ChatMessage]) -> Plan[Any]:
        return admitted(flow, request)

    def message(self, response: ChatResponse) -> ChatMessage:
        return response.message

    def made(
        self, like: Any, message: ChatMessage, extra: dict[str, Any], *, raw: Any, delta: str | None = None
    ) -> Any:
        update = {"message": message, "additional_kwargs": extra, "raw": raw, "delta": delta, "logprobs": None}
        return like.model_copy(update=update)

    def again(self, request: Sequence[ChatMessage], answer: str, feedback: str) -> list[ChatMessage]:
        turned_down = ChatMessage(role=MessageRole.ASSISTANT, content=answer)
        return [*request, turned_down, ChatMessage(role=MessageRole.USER, content=feedback)]

    def refusal(self, text: str, said: str = "") -> ChatResponse:
        return ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, content=said + text), delta=text)


class _Completion(Form):
    def asked(self, request: str) -> list[Message]:
        return [Message("user", request)]

    def admitted(self, flow: Flow, request: str) -> Plan[Any]:
        (text,) = yield from flow.admit(self.asked(request))
        return text

    def message(self, response: CompletionResponse) -> ChatMessage:
        blocks = [TextBlock.model_construct(text=response.text)]
        return ChatMessage.model_construct(role=MessageRole.ASSISTANT, blocks=blocks, additional_kwargs={})

    def made(
        self, like: Any, message: ChatMessage, extra: dict[str, Any], *, raw: Any, delta: str | None = None
    ) -> Any:
        update = {
            "text": text_of(message), "additional_kwargs": extra, "raw": raw, "delta": delta, "logprobs": None,
        }  # fmt: skip
        return like.model_copy(update=update)

    def again(self, request: str, answer: str, feedback: str) -> str:
        return f"{request}\n\n{answer}\n\n{feedback}\n"

    def refusal(self, text: str, said: str = "") -> CompletionResponse:
        return CompletionResponse(text=said + text, delta=text)


CHAT: Form = _Chat()
COMPLETION: Form = _Completion()
