"""`protect` for LlamaIndex LLMs keeps every promise of a guard, in all eight call modes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.llms.llm import LLM
from pydantic import Field

from llmguard_llamaindex import protect
from llmguard_middleware import Guard
from llmguard_middleware.testing.conformance import Adapter, Mode, Scenario, Script, check_matrix, matrix, scenarios


def _asked(messages: Sequence[ChatMessage]) -> str:
    return "\n".join(message.content or "" for message in messages)


def _chat(text: str, delta: str | None = None) -> ChatResponse:
    return ChatResponse(message=ChatMessage(role="assistant", content=text), delta=delta, raw={"text": text})


def _completion(text: str, delta: str | None = None) -> CompletionResponse:
    return CompletionResponse(text=text, delta=delta, raw={"text": text})


class Scripted(LLM):
    """A model with every method of its own, which does what its script says."""

    script: Any = Field(exclude=True)

    @property
    def metadata(self) -> LLMMetadata:
        """What LlamaIndex asks about the model."""
        return LLMMetadata(model_name="scripted", is_chat_model=True)

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """As scripted."""
        return _chat(self.script.reply(_asked(messages)))

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """As scripted."""
        return _completion(self.script.reply(prompt))

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """As scripted."""
        return _chat(await self.script.areply(_asked(messages)))

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """As scripted."""
        return _completion(await self.script.areply(prompt))

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """As scripted."""

        def pieces() -> ChatResponseGen:
            text = ""
            for piece in self.script.stream(_asked(messages)):
                text += piece
                yield _chat(text, piece)

        return pieces()

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """As scripted."""

        def pieces() -> CompletionResponseGen:
            text = ""
            for piece in self.script.stream(prompt):
                text += piece
                yield _completion(text, piece)

        return pieces()

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """As scripted."""

        async def pieces() -> ChatResponseAsyncGen:
            text = ""
            async for piece in self.script.astream(_asked(messages)):
                text += piece
                yield _chat(text, piece)

        return pieces()

    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        """As scripted."""

        async def pieces() -> CompletionResponseAsyncGen:
            text = ""
            async for piece in self.script.astream(prompt):
                text += piece
                yield _completion(text, piece)

        return pieces()


class Protected(Adapter):
    """A protected LLM."""

    name = "LlamaIndex protect(llm)"
    modes = tuple(
        Mode(
            ("a" if is_async else "") + ("stream_" if streamed else "") + kind,
            streamed=streamed,
            is_async=is_async,
        )
        for kind in ("chat", "complete")
        for streamed in (False, True)
        for is_async in (False, True)
    )

    def build(self, guard: Guard, script: Script) -> Any:
        """The LLM under its guard."""
        return protect(Scripted(script=script), guard)

    def again(self, subject: Any, guard: Guard) -> Any:
        """The same under another."""
        return protect(subject, guard)

    def call(self, subject: Any, mode: Mode, text: str) -> Any:
        """By messages or by a prompt."""
        request: Any = [ChatMessage(role="user", content=text)] if "chat" in mode.name else text
        return getattr(subject, mode.name)(request)

    def text(self, reply: Any) -> str:
        """What an answer says, or a chunk adds."""
        return str(self._whole(reply) if reply.delta is None else reply.delta)

    def so_far(self, chunk: Any) -> str | None:
        """Chunks say it."""
        return self._whole(chunk)

    def _whole(self, reply: Any) -> str:
        return str((reply.message.content or "") if isinstance(reply, ChatResponse) else reply.text)


PROTECTED = Protected()


@pytest.mark.parametrize("scenario", scenarios(PROTECTED), ids=str)
async def test_protected_llms_conform(scenario: Scenario) -> None:
    """A protected LLM does what the scenario claims."""
    await scenario.run(PROTECTED)


README = Path(__file__).parents[1] / "README.md"
TABLES = {"protect(llm)": PROTECTED}


@pytest.mark.parametrize("name", TABLES)
async def test_the_readme_has_the_table_of_what_is_enforced(name: str) -> None:
    """What the README says of each call mode, stage and action is what was tried just now."""
    check_matrix(README, name, await matrix(TABLES[name]), "uv run pytest --no-cov -k readme integrations")
