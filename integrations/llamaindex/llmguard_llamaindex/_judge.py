"""LLMs as the models of judges."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole

from llmguard_middleware import Usage
from llmguard_middleware.scorers.judges import JudgeModel, Question, Reply

from . import _convert as convert

__all__ = ["judge_model"]

# Whose `chat` takes OpenAI's `response_format`; elsewhere it may be taken for something else, or refused.
_OPENAI = ("llama_index.llms.openai", "llama_index.llms.azure_openai")
_REFUSED = ("content_filter", "refusal", "guardrail_intervened", "SAFETY", "PROHIBITED_CONTENT")


def judge_model(given: Any) -> JudgeModel | None:
    """What a judge asks; None for what is no LLM."""
    return LlamaIndexModel(given) if isinstance(given, BaseLLM) else None


class LlamaIndexModel:
    """An LLM, asked by its `chat`."""

    is_async = False

    def __init__(self, llm: BaseLLM) -> None:
        self._llm = llm
        call = convert.model_call(llm, {}, streamed=False)
        self.provider, self.name = call.provider, call.model or type(llm).__name__
        structured = any(base.__module__.startswith(_OPENAI) for base in type(llm).__mro__)
        self.forms: Any = ("schema", "json", "text") if structured else ("text",)

    def ask(self, question: Question) -> Reply:
        """Ask, and wait for the reply."""
        return _reply(self._llm.chat(_messages(question), **_options(question)))

    async def aask(self, question: Question) -> Reply:
        """The same on the event loop."""
        return _reply(await self._llm.achat(_messages(question), **_options(question)))


def _messages(question: Question) -> list[ChatMessage]:
    return [
        ChatMessage(role=MessageRole.SYSTEM, content=question.system),
        ChatMessage(role=MessageRole.USER, content=question.prompt),
    ]


def _options(question: Question) -> dict[str, Any]:
    if question.form == "schema":
        schema = {"name": "judgement", "schema": dict(question.schema), "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    return {"response_format": {"type": "json_object"}} if question.form == "json" else {}


def _reply(response: ChatResponse) -> Reply:
    facts = convert.facts(response)
    usage: Usage | None = facts.get("usage")
    refused = any(reason in _REFUSED for reason in facts.get("finish_reasons", ()))
    return Reply(response.message.content or "", usage, facts.get("response_model", ""), refused=refused)
