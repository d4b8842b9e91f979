"""protect(llm) around a real client: tool calls of an OpenAI-compatible server, whole and streamed by the character."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from fakes_parts import HAS_CALLS, HAS_THINKING, calls_of, thoughts_of
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

from llmguard_llamaindex import protect
from llmguard_middleware import Guard, Guardrail, GuardrailViolation
from llmguard_middleware.scorers import pii

from .fakes_llm import asking, read, shown

MAIL = "bob@example.com"
ARGUMENTS = json.dumps({"to": MAIL, "body": f"Dear {MAIL}"})
HEAD = {"id": "chatcmpl-1", "created": 1, "model": "smollm2-360m"}


class Letter(BaseModel):
    """What the server is asked for."""

    to: str
    body: str = ""


def serve(request: httpx.Request) -> httpx.Response:
    """Thinks, says something and calls a tool, one character per chunk if it is to stream."""
    call = {"id": "call_1", "type": "function", "function": {"name": "Letter", "arguments": ARGUMENTS}}
    said = {"role": "assistant", "content": f"To {MAIL}.", "reasoning_content": f"It is {MAIL}?", "tool_calls": [call]}
    if not json.loads(request.content).get("stream"):
        choice = {"index": 0, "finish_reason": "tool_calls", "message": said}
        return httpx.Response(200, json={**HEAD, "object": "chat.completion", "choices": [choice]})
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]  # the client skips a first one without it
    deltas += [{"reasoning_content": one} for one in str(said["reasoning_content"])]
    deltas += [{"content": one} for one in str(said["content"])]
    begin = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "Letter", "arguments": ""}}
    deltas.append({"tool_calls": [begin]})
    deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": one}}]} for one in ARGUMENTS]
    choices: list[dict[str, Any]] = [{"index": 0, "delta": delta} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "tool_calls"})
    chunks = [{**HEAD, "object": "chat.completion.chunk", "choices": [choice]} for choice in choices]
    text = "".join(f"data: {line}\n\n" for line in (*(json.dumps(chunk) for chunk in chunks), "[DONE]"))
    return httpx.Response(200, text=text, headers={"content-type": "text/event-stream"})


@pytest.fixture
def openai() -> OpenAILike:
    """A client of that server."""
    return OpenAILike(
        model="smollm2", api_base="http://localhost:8000/v1", api_key="none", max_retries=0,
        is_chat_model=True, is_function_calling_model=True,
        http_client=httpx.Client(transport=httpx.MockTransport(serve)),
        async_http_client=httpx.AsyncClient(transport=httpx.MockTransport(serve)),
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["chat", "achat", "stream_chat", "astream_chat"])
async def test_tool_calls(mode: str, openai: Any) -> None:
    """Blocks and the client's own objects say the same guarded call, text and thinking are guarded, nothing leaks."""
    llm = protect(openai, Guard(Guardrail(pii(), stage="output", action="redact")))

    given = await asking(llm, mode, "Write.")

    assert "bob" not in shown(given)
    last = given[-1]
    expected = {"to": "<EMAIL_ADDRESS>", "body": "Dear <EMAIL_ADDRESS>"}
    assert [json.loads(call.tool_kwargs) for call in calls_of(last.message)] == [expected] * HAS_CALLS
    (raw,) = last.message.additional_kwargs["tool_calls"]
    assert (raw.id, json.loads(raw.function.arguments)) == ("call_1", expected)
    (selected,) = llm.get_tool_calls_from_response(last)
    assert selected.tool_kwargs == expected
    assert last.message.content == "To <EMAIL_ADDRESS>."
    assert thoughts_of(last.message) == "It is <EMAIL_ADDRESS>?" * HAS_THINKING
    assert last.raw["choices"] == [{"finish_reason": "tool_calls"}]


@pytest.mark.parametrize(
    "method", ["structured_predict", "astructured_predict", "stream_structured_predict", "astream_structured_predict"]
)
@pytest.mark.parametrize("action", ["redact", "block"])
async def test_structured_answers(action: Any, method: str, openai: Any) -> None:
    """An object made of a guarded tool call has guarded texts; if the call is blocked there is none."""
    llm = protect(openai, Guard(Guardrail(pii(), stage="tool_call", action=action)))

    async def call() -> Any:
        made = getattr(llm, method)(Letter, PromptTemplate("Write."))
        made = await made if hasattr(made, "__await__") else made
        return (await read(made))[-1]

    if action == "block":
        with pytest.raises(GuardrailViolation):
            await call()
        return
    assert await call() == Letter(to="<EMAIL_ADDRESS>", body="Dear <EMAIL_ADDRESS>")


@pytest.mark.parametrize("method", ["predict_and_call", "apredict_and_call"])
async def test_a_tool_gets_what_was_let_pass(method: str, openai: Any) -> None:
    """A tool that LlamaIndex calls for the model is called with guarded arguments."""
    got: list[Any] = []

    def letter(to: str, body: str) -> str:
        got.append((to, body))
        return "written"

    llm = protect(openai, Guard(Guardrail(pii(), stage="tool_call", action="redact")))
    made = getattr(llm, method)([FunctionTool.from_defaults(letter, name="Letter")], user_msg="Write.")
    answer = await made if hasattr(made, "__await__") else made

    assert got == [("<EMAIL_ADDRESS>", "Dear <EMAIL_ADDRESS>")]
    assert answer.response == "written"
