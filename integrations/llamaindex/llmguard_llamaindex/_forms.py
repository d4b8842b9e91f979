"""The two ways to talk to an LLM, by messages or by a prompt: where their texts are, and copies with other texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    BaseContentBlock,
    BaseRecursiveContentBlock,
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    MessageRole,
    TextBlock,
    ThinkingBlock,
)

from llmguard_middleware import Message

from ._convert import facts, get

__all__ = ["CHAT", "COMPLETION", "Form"]

_ROLES = {"developer": "system", "chatbot": "assistant", "model": "assistant", "function": "tool"}


def _envelope(response: Any) -> dict[str, Any] | None:
    """The provider's raw answer without what it says, which was guarded: identity, usage and finish reasons only."""
    if response.raw is None:
        return None
    kept: dict[str, Any] = {
        name: value for name in ("id", "model", "usage") if (value := get(response.raw, name)) is not None
    }
    if reasons := facts(response).get("finish_reasons"):
        kept["choices"] = [{"finish_reason": reason} for reason in reasons]
    return kept


# Texts in blocks: text, thinking, and what citations quote. Images, sound, documents and tool calls pass.


def _texts(block: BaseContentBlock) -> Iterator[str]:
    if isinstance(block, TextBlock):
        yield block.text
    elif isinstance(block, ThinkingBlock):
        yield block.content or ""
    elif isinstance(block, BaseRecursiveContentBlock):
        for nested in block.nested_blocks:
            yield from _texts(nested)


def _rewritten(block: Any, texts: Iterator[str]) -> Any:
    """`block` with its texts, in order, replaced; itself if none differs."""
    if isinstance(block, TextBlock):
        text = next(texts)
        return block if text == block.text else block.model_copy(update={"text": text})
    if isinstance(block, ThinkingBlock):
        text = next(texts)
        return block if text == (block.content or "") else block.model_copy(update={"content": text})
    if isinstance(block, BaseRecursiveContentBlock):
        name = block.nested_blocks_field_name()
        value = getattr(block, name)
        nested = [_rewritten(b, texts) for b in value] if isinstance(value, list) else _rewritten(value, texts)
        same = nested is value or (isinstance(value, list) and all(a is b for a, b in zip(nested, value, strict=True)))
        if same:
            return block
        update = {name: nested}
        if isinstance(block, ChatMessage):
            update["additional_kwargs"] = dict(block.additional_kwargs)
        return block.model_copy(update=update)
    return block


class Form:
    """One of the two ways to talk to an LLM: by messages or by a prompt. Everything is returned as a changed copy."""

    def asked(self, request: Any) -> list[Message]:
        """What is asked, one core message for each text."""
        raise NotImplementedError

    def rewritten(self, request: Any, texts: Sequence[str]) -> Any:
        """The request with those texts; the caller's own object if none differs."""
        raise NotImplementedError

    def said(self, response: Any) -> list[str]:
        """Every text of a whole answer."""
        raise NotImplementedError

    def answer(self, response: Any) -> str:
        """The text of an answer, or of a stream so far, without thinking."""
        raise NotImplementedError

    def told(self, response: Any, texts: Sequence[str]) -> Any:
        """The answer with those texts, and nothing left of the old ones in `raw` or `logprobs`."""
        raise NotImplementedError

    def again(self, request: Any, answer: str, feedback: str) -> Any:
        """The request with the answer that was turned down, and what was wrong with it."""
        raise NotImplementedError

    def refusal(self, text: str) -> Any:
        """An answer, or the only chunk of one, that says this."""
        raise NotImplementedError

    def thoughts(self, chunk: Any) -> list[str]:
        """The thinking in a stream so far."""
        return []

    def acts(self, chunk: Any) -> bool:
        """Whether a chunk carries something besides text that must not be held, such as a tool call."""
        return False

    def chunk(self, chunk: Any, text: str, delta: str, thoughts: Sequence[str] = ()) -> Any:
        """A chunk of which `text` has left so far and `delta` leaves now."""
        raise NotImplementedError


class _Chat(Form):
    def asked(self, request: Sequence[ChatMessage]) -> list[Message]:
        return [Message(_ROLES.get(m.role.value, m.role.value), text) for m in request for text in _texts(m)]

    def rewritten(self, request: Sequence[ChatMessage], texts: Sequence[str]) -> Sequence[ChatMessage]:
        source = iter(texts)
        messages = [_rewritten(message, source) for message in request]
        return request if all(a is b for a, b in zip(messages, request, strict=True)) else messages

    def said(self, response: ChatResponse) -> list[str]:
        return list(_texts(response.message))

    def answer(self, response: ChatResponse) -> str:
        return response.message.content or ""

    def told(self, response: ChatResponse, texts: Sequence[str]) -> ChatResponse:
        message = _rewritten(response.message, iter(texts))
        return response.model_copy(update={"message": message, "raw": _envelope(response), "logprobs": None})

    def again(self, request: Sequence[ChatMessage], answer: str, feedback: str) -> list[ChatMessage]:
        turned_down = ChatMessage(role=MessageRole.ASSISTANT, content=answer)
        return [*request, turned_down, ChatMessage(role=MessageRole.USER, content=feedback)]

    def refusal(self, text: str) -> ChatResponse:
        return ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, content=text), delta=text)

    def thoughts(self, chunk: ChatResponse) -> list[str]:
        return [block.content or "" for block in chunk.message.blocks if isinstance(block, ThinkingBlock)]

    def acts(self, chunk: ChatResponse) -> bool:
        return any(not isinstance(block, (TextBlock, ThinkingBlock)) for block in chunk.message.blocks)

    def chunk(self, chunk: ChatResponse, text: str, delta: str, thoughts: Sequence[str] = ()) -> ChatResponse:
        thinking = [block for block in chunk.message.blocks if isinstance(block, ThinkingBlock)] if thoughts else []
        source = iter(thoughts)
        others = [block for block in chunk.message.blocks if not isinstance(block, (TextBlock, ThinkingBlock))]
        blocks = [*(_rewritten(block, source) for block in thinking), TextBlock(text=text), *others]
        kept = {name: value for name, value in chunk.additional_kwargs.items() if name != "thinking_delta"}
        return chunk.model_copy(
            update={
                "message": chunk.message.model_copy(update={"blocks": blocks}),
                "delta": delta,
                "raw": _envelope(chunk),
                "logprobs": None,
                "additional_kwargs": kept,
            }
        )


class _Completion(Form):
    def asked(self, request: str) -> list[Message]:
        return [Message("user", request)]

    def rewritten(self, request: str, texts: Sequence[str]) -> str:
        return texts[0]

    def said(self, response: CompletionResponse) -> list[str]:
        return [response.text]

    def answer(self, response: CompletionResponse) -> str:
        return response.text

    def told(self, response: CompletionResponse, texts: Sequence[str]) -> CompletionResponse:
        return response.model_copy(update={"text": texts[0], "raw": _envelope(response), "logprobs": None})

    def again(self, request: str, answer: str, feedback: str) -> str:
        return f"{request}\n\n{answer}\n\n{feedback}\n"

    def refusal(self, text: str) -> CompletionResponse:
        return CompletionResponse(text=text, delta=text)

    def chunk(
        self, chunk: CompletionResponse, text: str, delta: str, thoughts: Sequence[str] = ()
    ) -> CompletionResponse:
        update = {"text": text, "delta": delta, "raw": _envelope(chunk), "logprobs": None}
        return chunk.model_copy(update=update)


CHAT: Form = _Chat()
COMPLETION: Form = _Completion()
