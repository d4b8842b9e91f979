"""What the handlers of `instrument` make of a span: the call it stands for, its records, its streamed answer."""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.response.schema import StreamingResponse
from llama_index.core.llms.structured_llm import StructuredLLM

from llmguard_middleware import Call, GuardrailViolation, Stage
from llmguard_middleware._drive import drive, inside_scorer
from llmguard_middleware._flow import Flow
from llmguard_middleware._steps import END, Emit, Pull, Steps, aopened, opened

from ._convert import model_call
from ._retrieval import asked, query_text, retrieval_call, texts_of

__all__ = ["answer_of", "call_of", "follow", "record"]

_LLM = {prefix + name for prefix in ("", "a", "stream_", "astream_") for name in ("chat", "complete")}


def call_of(instance: Any, method: str, request: Any, options: Mapping[str, Any]) -> Call | None:
    """The call that a span of LlamaIndex's stands for; None for one that has no span of ours."""
    if isinstance(instance, BaseLLM) and method in _LLM and not isinstance(instance, StructuredLLM):
        return model_call(instance, options, streamed="stream" in method)
    if isinstance(instance, BaseRetriever) and method in ("retrieve", "aretrieve"):
        return retrieval_call(instance, request)
    if isinstance(instance, BaseQueryEngine) and method in ("query", "aquery"):
        return Call("invoke_workflow", type(instance).__name__, inputs=asked(query_text(request)))
    return None


def answer_of(response: Any) -> Any:
    """What a query engine's response says: its text, or whatever else it holds."""
    said = getattr(response, "response", response)
    return said.model_dump_json() if hasattr(said, "model_dump_json") else said


def record(flow: Flow, stage: Stage, text: str, role: str = "user") -> None:
    """Have the guardrails that only record judge a text; nothing is raised from here."""
    rules = [rule for rule in flow.rules(stage, role=role) if not rule.acts]
    if not rules or not text or inside_scorer.get():  # a judge asking its LLM is not judged in turn
        return
    plan = flow.guard.plan(text, stage, rules=rules, available=flow.call.available(), policy=flow.policy)
    with suppress(GuardrailViolation):  # of a rule that cannot act, but was told on_error="block"
        flow.noted(drive(plan, flow.guard.workers))


def follow(flow: Flow, response: Any) -> None:
    """Keep a query open until its streamed answer ends: only then does LlamaIndex ask the LLM, and with no parent."""
    flow.call = flow.call.but(context=texts_of(response.source_nodes))
    if isinstance(response, StreamingResponse):
        response.response_gen = opened(_followed(flow, iter(response.response_gen)))
    else:
        response.response_gen = _late(flow, aiter(response.response_gen))
        # An async generator that is dropped unread never runs, so nothing in it could end the span.
        weakref.finalize(response.response_gen, flow.abandoned).atexit = False


async def _late(flow: Flow, source: Any) -> AsyncGenerator[Any, None]:
    pieces = await aopened(_followed(flow, source))
    async with aclosing(pieces):
        async for piece in pieces:
            yield piece


def _followed(flow: Flow, source: Any) -> Steps[None]:
    with flow:
        yield Emit(None)
        output: list[str] = []
        while (piece := (yield Pull(flow.active, source))) is not END:
            output.append(piece)
            yield Emit(piece)
        text = "".join(output)
        record(flow, "output", text)
        flow.answered(output=text)
