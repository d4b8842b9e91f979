"""The real OpenAI client of LlamaIndex, against a server in memory."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

from llmguard_llamaindex import instrument, protect, uninstrument
from llmguard_middleware import Guard, Guardrail, Usage
from llmguard_middleware.scorers import pii, secrets
from llmguard_middleware.telemetry import TelemetryOptions
from llmguard_middleware.testing import captured_telemetry

KEY = "sk-abcdefghijklmnopqrstuvwx"
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


class Server:
    """An OpenAI-compatible server that streams one character per chunk, and usage in a last chunk of its own."""

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.asked: list[Any] = []
        self.usage: dict[str, Any] = USAGE

    def __call__(self, request: httpx.Request) -> httpx.Response:  # noqa: D102 - as httpx.MockTransport wants it
        body = json.loads(request.content)
        self.asked.append(body["messages"][-1]["content"])
        head = {"id": "chatcmpl-1", "created": 1, "model": "smollm2-360m"}
        if not body.get("stream"):
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": self.answer}}
            whole = {**head, "object": "chat.completion", "choices": [choice], "usage": self.usage}
            return httpx.Response(200, json=whole)
        pieces: list[dict[str, Any]] = [{"index": 0, "delta": {"content": piece}} for piece in self.answer]
        pieces.append({"index": 0, "delta": {}, "finish_reason": "stop"})
        chunks = [{**head, "object": "chat.completion.chunk", "choices": [piece]} for piece in pieces]
        chunks.append({**head, "object": "chat.completion.chunk", "choices": [], "usage": self.usage})
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
        **(
            {"gen_ai.request.stream": True, "gen_ai.response.time_to_first_chunk": pytest.approx(30, abs=30)}
            if "stream" in mode
            else {}
        ),
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
        "llmguard.redacted.kinds": ("EMAIL_ADDRESS", "OPENAI_API_KEY"),
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


@pytest.mark.parametrize("way", ["protect", "instrument"])
def test_what_is_asked_for(openai: Any, telemetry: Any, way: str) -> None:
    """A call that asks for JSON, and for two answers, says so on its span."""
    guard = telemetry.guard()
    if way == "instrument":
        instrument(guard)
    try:
        asked = openai if way == "instrument" else protect(openai, guard)
        asked.chat([ChatMessage("Hello")], response_format={"type": "json_object"}, n=2)
    finally:
        uninstrument()
    (span,) = telemetry.spans
    told = {"gen_ai.output.type": "json", "gen_ai.request.choice.count": 2}
    assert dict(span.attributes) == {**expected(guard, "chat"), **told}


@pytest.mark.parametrize("way", ["protect", "instrument"])
async def test_cached_and_reasoning_tokens(mode: str, way: str, openai: Any, server: Any, ask: Any) -> None:
    """The real client's answer gives them to the span, to the counters and to the price."""
    server.usage = {
        **USAGE,
        "prompt_tokens_details": {"cached_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }
    priced: list[Usage] = []

    def price(_provider: str, _model: str, usage: Usage) -> float:
        priced.append(usage)
        return 0.5

    with captured_telemetry() as captured:
        guard = Guard(**captured.providers, telemetry=TelemetryOptions(metrics="new", price=price))
        if way == "instrument":
            instrument(guard)
        try:
            await ask(openai if way == "instrument" else protect(openai, guard), mode, "Hello")
        finally:
            uninstrument()
        (span,) = captured.spans
        assert {
            **expected(guard, mode),
            "gen_ai.usage.cache_read.input_tokens": 2,
            "gen_ai.usage.reasoning.output_tokens": 1,
            "llmguard.cost.usd": 0.5,
        } == dict(span.attributes)
        counted = {one.metric: one.value for one in captured.points if one.kind == "counter" and "usage" in one.metric}
    used = "gen_ai.client.inference.usage."
    assert counted == {
        f"{used}input_tokens": 3,
        f"{used}output_tokens": 4,
        f"{used}cache_read.input_tokens": 2,
        f"{used}reasoning.output_tokens": 1,
    }
    assert set(priced) == {Usage(3, 4, 2, None, 1)}
