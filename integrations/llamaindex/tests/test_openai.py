"""The real OpenAI client of LlamaIndex, against a server in memory."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from llama_index.llms.openai_like import OpenAILike

from llmguard_llamaindex import instrument, protect, uninstrument
from llmguard_middleware import Guardrail
from llmguard_middleware.scorers import pii, secrets

KEY = "sk-abcdefghijklmnopqrstuvwx"
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


class Server:
    """An OpenAI-compatible server that streams one character per chunk, and usage in a last chunk of its own."""

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.asked: list[Any] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:  # noqa: D102 - as httpx.MockTransport wants it
        body = json.loads(request.content)
        self.asked.append(body["messages"][-1]["content"])
        head = {"id": "chatcmpl-1", "created": 1, "model": "smollm2-360m"}
        if not body.get("stream"):
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": self.answer}}
            whole = {**head, "object": "chat.completion", "choices": [choice], "usage": USAGE}
            return httpx.Response(200, json=whole)
        pieces: list[dict[str, Any]] = [{"index": 0, "delta": {"content": piece}} for piece in self.answer]
        pieces.append({"index": 0, "delta": {}, "finish_reason": "stop"})
        chunks = [{**head, "object": "chat.completion.chunk", "choices": [piece]} for piece in pieces]
        chunks.append({**head, "object": "chat.completion.chunk", "choices": [], "usage": USAGE})
        lines = [*(json.dumps(chunk) for chunk in chunks), "[DONE]"]
        events = "".join(f"data: {line}\n\n" for line in lines)
        return httpx.Response(200, text=events, headers={"content-type": "text/event-stream"})


@pytest.fixture
def server() -> Server:
    """The server."""
    return Server(f"Your key is {KEY}, bob.")


@pytest.fixture
def openai(server: Server) -> OpenAILike:
    """A client of that server."""
    return OpenAILike(
        model="smollm2",
        api_base="http://localhost:8000/v1",
        api_key="none",
        is_chat_model=True,
        max_retries=0,
        temperature=0.5,
        http_client=httpx.Client(transport=httpx.MockTransport(server)),
        async_http_client=httpx.AsyncClient(transport=httpx.MockTransport(server)),
    )


def expected(guard: Any, mode: str) -> dict[str, Any]:
    """The attributes of every call's span."""
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "smollm2",
        "gen_ai.request.temperature": 0.5,
        "server.address": "localhost",
        "server.port": 8000,
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.model": "smollm2-360m",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 4,
        "llmguard.guard.name": guard.name,
        "llmguard.guard.digest": guard.digest,
        **({"gen_ai.request.stream": True} if "stream" in mode else {}),
    }


async def test_protected(mode: str, openai: Any, server: Any, telemetry: Any, ask: Any) -> None:
    """In every mode server and caller get redacted texts only, and the span tells all about the call."""
    guard = telemetry.guard(
        Guardrail(pii(), stage="input", action="redact"), Guardrail(secrets(), stage="output", action="redact")
    )

    answer = await ask(protect(openai, guard), mode, "I am bob@example.com")

    assert answer == "Your key is <OPENAI_API_KEY>, bob."
    assert server.asked == ["I am <EMAIL_ADDRESS>"]
    (span,) = telemetry.spans
    assert dict(span.attributes) == {
        **expected(guard, mode),
        "llmguard.verdict": "redacted",
        "llmguard.flagged_by": ("pii", "secrets"),
        "llmguard.redactions": 2,
    }


async def test_instrumented(mode: str, openai: Any, telemetry: Any, ask: Any) -> None:
    """In every mode a call of an instrumented process is exactly one span, the same but for the verdict."""
    guard = telemetry.guard()
    instrument(guard)
    try:
        await ask(openai, mode, "Hello")
    finally:
        uninstrument()

    (span,) = telemetry.spans
    assert dict(span.attributes) == expected(guard, mode)
