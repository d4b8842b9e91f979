"""provider_block(): what a provider refuses or filters is one verdict of the call, by protect and by instrument."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, LLMMetadata
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.query_engine import CustomQueryEngine
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from pydantic import Field

from llmguard_llamaindex import attach, instrument, protect, uninstrument
from llmguard_middleware import Guard, Guardrail, GuardrailViolation, UnenforceableError
from llmguard_middleware.scorers import provider_block

HEAD = {"id": "chatcmpl-1", "created": 1, "model": "gpt-9-0101"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
FILTERED = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"violence": {"filtered": True}}}
ERROR = {"message": "The response was filtered.", "type": None, "param": "prompt", "code": "content_filter"}
LOGS = Guardrail(provider_block(), stage="output", action="log")
BLOCKS = Guardrail(provider_block(), stage="output")


class Server:
    """OpenAI's API, or Azure's: answers, refuses, filters what it answers or what it is asked."""

    def __init__(self, kind: str) -> None:
        self.kind, self.asked = kind, 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """As httpx.MockTransport wants it."""
        self.asked += 1
        if self.kind == "error":
            return httpx.Response(400, json={"error": {**ERROR, "innererror": FILTERED}})
        reason = "content_filter" if self.kind == "filtered" else "stop"
        refused = {"content": None, "refusal": "I cannot help with that."}
        if not json.loads(request.content).get("stream"):
            said = {"role": "assistant", "content": "Take the", **(refused if self.kind == "refused" else {})}
            choice = {"index": 0, "finish_reason": reason, "message": said}
            return httpx.Response(200, json={**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE})
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [refused] if self.kind == "refused" else [{"content": "Take "}, {"content": "the"}]
        choices: list[dict[str, Any]] = [{"index": 0, "delta": delta} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": reason})
        chunks = [{**HEAD, "object": "chat.completion.chunk", "choices": [choice]} for choice in choices]
        chunks.append({**HEAD, "object": "chat.completion.chunk", "choices": [], "usage": USAGE})
        if self.kind == "breaks":
            chunks[2:] = [{"error": {**ERROR, "innererror": FILTERED}}]
        text = "".join(f"data: {line}\n\n" for line in (*map(json.dumps, chunks), "[DONE]"))
        return httpx.Response(200, text=text, headers={"content-type": "text/event-stream"})


def client(server: Callable[[httpx.Request], httpx.Response]) -> OpenAILike:
    """LlamaIndex's real client of that server."""
    return OpenAILike(
        model="gpt-9",
        api_base="http://localhost:8000/v1",
        api_key="none",
        is_chat_model=True,
        max_retries=0,
        temperature=0.5,
        http_client=httpx.Client(transport=httpx.MockTransport(server)),
        async_http_client=httpx.AsyncClient(transport=httpx.MockTransport(server)),
    )


def told(guard: Guard, mode: str, **more: Any) -> dict[str, Any]:
    """The attributes of a call's span."""
    streamed = {"gen_ai.request.stream": True} if "stream" in mode else {}
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-9",
        "gen_ai.request.temperature": 0.5,
        "server.address": "localhost",
        "server.port": 8000,
        "llmguard.guard.name": guard.name,
        "llmguard.guard.digest": guard.digest,
        **streamed,
        **more,
    }


def answered(mode: str, reason: str) -> dict[str, Any]:
    """What an answer tells."""
    first = {"gen_ai.response.time_to_first_chunk": pytest.approx(30, abs=30)} if "stream" in mode else {}
    return {
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.model": "gpt-9-0101",
        "gen_ai.response.finish_reasons": (reason,),
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 4,
        **first,
    }


FLAGGED = {"llmguard.verdict": "flagged", "llmguard.flagged_by": ("provider_block",)}
BLOCKED = {"llmguard.verdict": "blocked", "llmguard.flagged_by": ("provider_block",)}


def only_record(telemetry: Any) -> dict[str, Any]:
    """The one evaluation result, without what each has."""
    (one,) = telemetry.records
    each = ("gen_ai.response.id", "llmguard.guard.name", "llmguard.guard.digest")
    return {name: value for name, value in one.items() if name not in each}


def record(outcome: str, action: str, label: str) -> dict[str, Any]:
    """What is written of the verdict."""
    return {
        "gen_ai.evaluation.name": "provider_block",
        "gen_ai.evaluation.score.value": 1.0,
        "gen_ai.evaluation.score.label": label,
        "llmguard.guardrail.name": "provider_block",
        "llmguard.stage": "output",
        "llmguard.action": action,
        "llmguard.verdict": outcome,
    }


async def asked(way: str, guard: Guard, llm: Any, mode: str, ask: Any) -> Any:
    """The answer in this mode, behind the guard."""
    if way == "protect":
        return await ask(protect(llm, guard), mode, "How?")
    instrument(guard)
    try:
        return await ask(llm, mode, "How?")
    finally:
        uninstrument()


@pytest.mark.parametrize("way", ["protect", "instrument"])
@pytest.mark.parametrize(
    ("kind", "text", "reason", "label"),
    [("filtered", "Take the", "content_filter", "content_filter"), ("refused", "", "stop", "refusal")],
)
async def test_an_answer_that_is_none_is_one_verdict(
    way: str, kind: str, text: str, reason: str, label: str, mode: str, telemetry: Any, ask: Any
) -> None:
    """A finish reason or a refusal beside the text is flagged once; the caller gets what there is."""
    guard, server = telemetry.guard(LOGS), Server(kind)
    said = await asked(way, guard, client(server), mode, ask)
    assert said.replace("None", "") == text  # a message without a text is none
    (span,) = telemetry.spans
    assert dict(span.attributes) == told(guard, mode, **answered(mode, reason), **FLAGGED)
    assert only_record(telemetry) == record("flagged", "log", label)
    assert telemetry.flagged == [("provider_block", "output")]
    assert server.asked == 1


@pytest.mark.parametrize(("way", "rule"), [("protect", LOGS), ("protect", BLOCKS), ("instrument", LOGS)])
async def test_an_error_of_a_policy_is_one_verdict_and_stays_that_error(
    way: str, rule: Guardrail, mode: str, telemetry: Any, ask: Any
) -> None:
    """Azure's 400 is recorded once; the caller gets the client's own exception, and nothing asks again."""
    guard, server = telemetry.guard(rule), Server("error")
    with pytest.raises(openai.BadRequestError) as caught:
        await asked(way, guard, client(server), mode, ask)
    assert caught.value.code == "content_filter"
    (span,) = telemetry.spans
    outcome = BLOCKED if rule is BLOCKS else FLAGGED
    assert dict(span.attributes) == told(guard, mode, **outcome, **{"error.type": "openai.BadRequestError"})
    assert only_record(telemetry) == record(outcome["llmguard.verdict"], rule.action, "content_filter")
    assert server.asked == 1


@pytest.mark.parametrize("way", ["protect", "instrument"])
@pytest.mark.parametrize("streamed", ["stream_chat", "astream_chat", "stream_complete", "astream_complete"])
async def test_a_stream_that_a_policy_breaks_off_is_one_verdict(
    way: str, streamed: str, telemetry: Any, ask: Any
) -> None:
    """The provider says so in the middle of it; the caller gets that error after the pieces before it."""
    guard, server = telemetry.guard(LOGS), Server("breaks")
    with pytest.raises(openai.APIError) as caught:
        await asked(way, guard, client(server), streamed, ask)
    assert caught.value.code == "content_filter"
    (span,) = telemetry.spans
    assert {name: span.attributes[name] for name in FLAGGED} == FLAGGED
    assert only_record(telemetry) == record("flagged", "log", "content_filter")
    assert server.asked == 1


@pytest.mark.parametrize("way", ["query", "aquery"])
@pytest.mark.parametrize("kind", ["filtered", "error"])
async def test_an_engine_and_its_model_tell_it_once(
    way: str, kind: str, engine: Any, query: Any, telemetry: Any
) -> None:
    """The call of the model has the verdict, not the query around it."""
    attached = attach(engine(client(Server(kind))), telemetry.guard(LOGS))
    if kind == "error":
        with pytest.raises(openai.BadRequestError):
            await query(attached, way, "How?")
    else:
        assert await query(attached, way, "How?") == "Take the"
    found = {span.name.partition(" ")[0]: span.attributes.get("llmguard.verdict") for span in telemetry.spans}
    assert found["chat"] == "flagged"
    assert {outcome for name, outcome in found.items() if name != "chat"} <= {None, "passed"}
    assert only_record(telemetry) == record("flagged", "log", "content_filter")


class Closed(CustomQueryEngine):
    """An engine that shows no LLM."""

    def custom_query(self, query_str: str) -> str:
        """An answer of whatever is behind it."""
        return "Take the"


async def test_what_reaches_no_model_cannot_block(engine: Any) -> None:
    """A tool, or an engine that shows no LLM, is refused, or warned of, until a model is guarded."""
    tool = FunctionTool.from_defaults(lambda text: text, name="echo")
    with pytest.raises(UnenforceableError):
        protect(tool, Guard(BLOCKS))
    guard = Guard(BLOCKS)
    guard.covers("output")
    with pytest.raises(UnenforceableError, match="it is about how a model's call ended"):
        protect(tool, guard)
    with pytest.raises(UnenforceableError, match=r"Closed, which shows no LLM, cannot .* how a model's call ended"):
        attach(Closed(), guard)
    with pytest.warns(UserWarning, match="how a model's call ended"):
        attach(Closed(), Guard(BLOCKS, unenforceable="warn"))
    attach(Closed(), Guard(LOGS))
    attach(engine(client(Server("filtered"))), guard)
    attach(Closed(), guard)
    assert protect(tool, guard).call("x").content == "x"
    other = Guard(BLOCKS)
    protect(client(Server("filtered")), other)
    attach(Closed(), other)


async def test_block_takes_the_place_of_the_answer(mode: str, telemetry: Any, ask: Any) -> None:
    """Nothing of a filtered answer leaves, streamed or not: a violation without a text, or the guard's refusal."""
    guard, server = telemetry.guard(BLOCKS), Server("filtered")
    with pytest.raises(GuardrailViolation) as caught:
        await ask(protect(client(server), guard), mode, "How?")
    assert (caught.value.code, caught.value.verdict.text) == ("blocked", "")
    (span,) = telemetry.spans
    attributes = dict(span.attributes)
    assert {name: attributes[name] for name in (*BLOCKED, "error.type")} == {**BLOCKED, "error.type": "blocked"}
    assert server.asked == 1
    refusing = Guard(BLOCKS, refusal="Ask something else.")
    assert await ask(protect(client(Server("filtered")), refusing), mode, "How?") == "Ask something else."


async def test_what_the_provider_lets_pass_passes(mode: str, telemetry: Any, ask: Any) -> None:
    """An ordinary answer passes, by a rule that logs and by one that blocks."""
    for rule in (LOGS, BLOCKS):
        assert await ask(protect(client(Server("answers")), telemetry.guard(rule)), mode, "How?") == "Take the"
    assert [span.attributes["llmguard.verdict"] for span in telemetry.spans] == ["passed", "passed"]
    assert [one["llmguard.guardrail.names"] for one in telemetry.records] == [("provider_block",)] * 2


class Said(CustomLLM):
    """Answers with what another provider's package makes of its answer."""

    raw: Any = None
    beside: dict[str, Any] = Field(default_factory=dict)

    @property
    def metadata(self) -> LLMMetadata:
        """Nothing of interest."""
        return LLMMetadata(is_chat_model=True)

    @llm_chat_callback()
    def chat(self, messages: Any, **kwargs: Any) -> Any:
        """The whole answer."""
        return ChatResponse(
            message=ChatMessage("", role="assistant"), raw=self.raw, additional_kwargs=dict(self.beside)
        )

    @llm_chat_callback()
    def stream_chat(self, messages: Any, **kwargs: Any) -> Any:
        """Two chunks, the second of which tells of the end."""

        def chunks() -> Any:
            yield ChatResponse(message=ChatMessage("", role="assistant"), delta="", raw={})
            yield ChatResponse(message=ChatMessage("", role="assistant"), delta="", raw=self.raw)

        return chunks()

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        """Not asked."""
        raise NotImplementedError

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        """Not asked."""
        raise NotImplementedError


@pytest.mark.parametrize("mode", ["chat", "achat", "stream_chat", "astream_chat"])
@pytest.mark.parametrize(
    ("raw", "label"),
    [
        ({"stop_reason": "refusal"}, "refusal"),
        ({"stopReason": "guardrail_intervened"}, "guardrail_intervened"),
        ({"finish_reason": "SAFETY"}, "safety"),
        ({"finish_reason": "STOP", "block_reason": None}, ""),
        ({"prompt_feedback": {"block_reason": "PROHIBITED_CONTENT"}}, "prohibited_content"),
        ({"block_reason": "BLOCKED_REASON_UNSPECIFIED"}, ""),
        ({"block_reason": "OTHER"}, "blocked"),
        ({"incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ({"incomplete_details": {"reason": "max_output_tokens"}}, ""),
    ],
)
async def test_the_words_of_other_providers_are_known(
    raw: dict[str, Any], label: str, mode: str, telemetry: Any, ask: Any
) -> None:
    """Anthropic's, Bedrock's and Google's, whole and streamed."""
    await ask(protect(Said(raw=raw), telemetry.guard(LOGS)), mode, "How?")
    assert [one["gen_ai.evaluation.score.label"] for one in telemetry.records] == [label or "passed"]
    if label:
        with pytest.raises(GuardrailViolation):
            await ask(protect(Said(raw=raw), Guard(BLOCKS)), mode, "How?")


@pytest.mark.parametrize("mode", ["chat", "achat"])
async def test_a_refusal_of_the_responses_api_is_known(mode: str, telemetry: Any, ask: Any) -> None:
    """LlamaIndex's client of that API keeps it beside the message."""
    llm = Said(raw={"id": "resp-1"}, beside={"refusal": "I cannot help with that."})
    await ask(protect(llm, telemetry.guard(LOGS)), mode, "How?")
    assert [one["gen_ai.evaluation.score.label"] for one in telemetry.records] == ["refusal"]
