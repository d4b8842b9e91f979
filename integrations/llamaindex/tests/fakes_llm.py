"""Fakes: a provider that answers with any message, whole or in chunks, and remembers the messages it was asked."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from typing import Any

from fakes_parts import ThinkingBlock, ToolCallBlock, answer_of, own_kwargs, parts_of, raw_call, selected
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    TextBlock,
)
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from pydantic import Field, PrivateAttr

STREAMS = ("stream_chat", "astream_chat", "stream_complete", "astream_complete")
CHATS = ("chat", "achat", "stream_chat", "astream_chat")


def called(**arguments: Any) -> Any:
    """A call of the tool `send`."""
    return ToolCallBlock(tool_call_id="call_1", tool_name="send", tool_kwargs=arguments)


class Speaking(FunctionCallingLLM):
    """A provider that gives this answer, in chunks of `size` characters, as providers do.

    Chunks hold all that was said so far, tool calls as JSON that grows, and at the end the usage in a chunk of its own.
    """

    answer: ChatMessage = Field(default_factory=lambda: answer_of("fine"))
    extra: dict[str, Any] = Field(default_factory=dict)
    size: int = 1
    cut: Callable[[str], Sequence[str]] | None = Field(default=None, exclude=True)
    chat_model: bool = True
    raw_calls: bool = False  # whether calls are in additional_kwargs, too, in one list that grows, as OpenAI's are
    _asked: list[Any] = PrivateAttr(default_factory=list)

    @property
    def metadata(self) -> LLMMetadata:
        """What LlamaIndex asks about the model."""
        return LLMMetadata(model_name="speaking", is_chat_model=self.chat_model, is_function_calling_model=True)

    @property
    def asked(self) -> list[Any]:
        """The messages, or the prompt, of every call; shared by copies."""
        return self._asked

    @property
    def text(self) -> str:
        """What a completion says."""
        return self.answer.content or ""

    def raw(self) -> dict[str, Any]:
        """The provider's own answer, which quotes it."""
        usage = {"prompt_tokens": 1, "completion_tokens": 2}
        quoted = {"finish_reason": "stop", "message": {"content": str(self.answer.model_dump())}}
        return {"id": "a-1", "model": "speaking-1", "usage": usage, "choices": [quoted]}

    def whole(self) -> ChatMessage:
        """The answer, with its raw calls."""
        calls = [raw_call(part) for part in parts_of(self.answer) if isinstance(part, ToolCallBlock)]
        more = {"tool_calls": calls} if calls and self.raw_calls else {}
        kwargs = {**self.answer.additional_kwargs, **more}
        return self.answer.model_copy(update={"additional_kwargs": kwargs}) if more else self.answer

    def _pieces(self, text: str) -> list[str]:
        if self.cut is not None:
            return [piece for piece in self.cut(text) if piece]
        return [text[start : start + self.size] for start in range(0, len(text), self.size)]

    def _chunks(self) -> Iterator[ChatResponse]:
        done: list[Any] = []
        growing: list[Any] = []
        kwargs: dict[str, Any] = {}
        for block in parts_of(self.answer):
            said = ""
            calls = isinstance(block, ToolCallBlock)
            if calls and self.raw_calls:
                growing.append(raw_call(block, ""))
                kwargs = {"tool_calls": growing}
            for piece in self._pieces(_text(block)):
                said += piece
                if calls and self.raw_calls:
                    growing[-1]["function"]["arguments"] += piece
                text, thought = isinstance(block, TextBlock), isinstance(block, ThinkingBlock)
                yield ChatResponse(
                    message=answer_of(*done, _with(block, said), **kwargs),
                    delta=piece if text else "",
                    raw={"id": "a-1", "choices": [{"delta": {"content": piece}}]},
                    additional_kwargs={"thinking_delta": piece} if thought else {},
                )
            done.append(block if isinstance(block, (TextBlock, ThinkingBlock)) else _with(block, said))
        message = answer_of(*done, **{**own_kwargs(self.answer), **kwargs})
        yield ChatResponse(message=message, delta="", raw=self.raw(), additional_kwargs=self.extra)

    def _completions(self) -> Iterator[CompletionResponse]:
        said = ""
        for piece in self._pieces(self.text):
            said += piece
            yield CompletionResponse(text=said, delta=piece, raw={"id": "a-1", "choices": [{"text": piece}]})
        yield CompletionResponse(text=said, delta="", raw=self.raw(), additional_kwargs=self.extra)

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """The answer."""
        self.asked.append(messages)
        return ChatResponse(message=self.whole(), raw=self.raw(), additional_kwargs=self.extra)

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """The answer."""
        self.asked.append(messages)
        return ChatResponse(message=self.whole(), raw=self.raw(), additional_kwargs=self.extra)

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """The answer in chunks."""
        self.asked.append(messages)
        return (chunk for chunk in self._chunks())

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """The answer in chunks."""
        self.asked.append(messages)

        async def gen() -> ChatResponseAsyncGen:
            for chunk in self._chunks():
                yield chunk

        return gen()

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """The answer."""
        self.asked.append(prompt)
        return CompletionResponse(text=self.text, raw=self.raw(), additional_kwargs=self.extra)

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """The answer."""
        self.asked.append(prompt)
        return CompletionResponse(text=self.text, raw=self.raw(), additional_kwargs=self.extra)

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """The answer in chunks."""
        self.asked.append(prompt)
        return (chunk for chunk in self._completions())

    @llm_completion_callback()
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        """The answer in chunks."""
        self.asked.append(prompt)

        async def gen() -> CompletionResponseAsyncGen:
            for chunk in self._completions():
                yield chunk

        return gen()

    def _prepare_chat_with_tools(
        self, tools: Any, user_msg: Any = None, chat_history: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        asked = [ChatMessage(role="user", content=user_msg)] if isinstance(user_msg, str) else []
        return {"messages": [*(chat_history or ()), *asked]}

    def get_tool_calls_from_response(
        self, response: Any, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """Those of its message."""
        return selected(response.message)


def _text(block: Any) -> str:
    if isinstance(block, TextBlock):
        return block.text
    if isinstance(block, ThinkingBlock):
        return block.content or ""
    if not isinstance(block, ToolCallBlock):
        return "x"
    return block.tool_kwargs if isinstance(block.tool_kwargs, str) else json.dumps(block.tool_kwargs)


def _with(block: Any, said: str) -> Any:
    if isinstance(block, TextBlock):
        return TextBlock(text=said)
    if isinstance(block, ThinkingBlock):
        return ThinkingBlock(content=said)
    return block.model_copy(update={"tool_kwargs": said}) if isinstance(block, ToolCallBlock) else block


async def asking(llm: Any, mode: str, messages: Any) -> list[Any]:
    """Call an LLM; returns its answer, or the chunks of one."""
    if "complete" in mode and not isinstance(messages, str):
        messages = messages[-1].content
    elif "chat" in mode and isinstance(messages, str):
        messages = [ChatMessage(role="user", content=messages)]
    reply = getattr(llm, mode)(messages)
    if mode.startswith("a"):
        reply = await reply
    return await read(reply)


async def read(reply: Any) -> list[Any]:
    """All of a reply."""
    if isinstance(reply, Generator):
        return list(reply)
    if isinstance(reply, AsyncGenerator):
        return [chunk async for chunk in reply]
    return [reply]


def shown(chunks: Sequence[Any]) -> str:
    """All that anybody could read in chunks, whatever field it is in."""
    return "\n".join(str(chunk.model_dump()) for chunk in chunks)
