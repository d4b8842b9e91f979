"""protect: a guarded copy of an LLM, tool or embedding model. Spans, monitors and every action, in every method."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms.structured_llm import StructuredLLM
from llama_index.core.tools import BaseTool

from llmguard_middleware import Guard
from llmguard_middleware._call import Stage
from llmguard_middleware._guard import expect_guard
from llmguard_middleware._policy import Policy

from ._calls import ASTREAMED, AWHOLE, STREAMED, WHOLE, guarded
from ._embeddings import guarded_embedding
from ._forms import CHAT, COMPLETION
from ._late import begin_as_made, shell
from ._mistakes import refuse_beyond, refuse_kind
from ._overrides import route
from ._seal import above, guards_of, seal
from ._tools import guarded_tool
from ._versions import carrying, off_the_loop
from ._watched import watched

__all__ = ["guarded_llm", "protect", "refuse_stages"]

L = TypeVar("L", bound=BaseLLM)
P = TypeVar("P", bound=BaseLLM | BaseTool | BaseEmbedding)


def protect(llm: P, guard: Guard) -> P:
    """A guarded shallow copy of an LLM, a tool or an embedding model: spans, monitors, guardrails in every call mode.

    It is of the same type, and the original is untouched. Protecting again with the same guard returns the same object;
    with another guard, both apply and the later one is the outer.

    Args:
        llm: any LlamaIndex LLM, or a tool: of that its arguments are judged (`tool_call`) and what it gives
            (`tool_result`); or an embedding model: of that the texts and queries that it embeds are (`embedding`).
        guard: what to put around its calls.

    Raises:
        ConfigurationError: if `llm` is none of these.
        UnenforceableError: if the guard has an acting guardrail at a stage that it does not have.
    """
    if isinstance(llm, BaseTool):
        expect_guard(guard, "protect(tool, guard)")
        return guarded_tool(llm, guard)
    if isinstance(llm, BaseEmbedding):
        expect_guard(guard, "protect(embedding, guard)")
        return guarded_embedding(llm, guard)
    if not isinstance(llm, BaseLLM):
        refuse_kind("protect", llm)
    expect_guard(guard, "protect(llm, guard)")
    refuse_stages(guard, "protect(llm, guard)", ("input", "output", "tool_call"))
    guard.covers(ends=True)
    return guarded_llm(llm, guard)


def refuse_stages(guard: Guard, where: str, reached: tuple[Stage, ...] = ("input", "output", "retrieval")) -> None:
    """Refuse guardrails of the stages that are not reached there, nor by what was guarded before."""

    def check(policy: Policy) -> None:
        beyond = [r for r in policy.guardrails if r.stage not in reached and r.stage not in guard.covered]
        refuse_beyond(guard, beyond, where)

    guard.require(where, check)
    guard.covers(*(stage for stage in reached if stage != "retrieval"))


def guarded_llm(llm: L, guard: Guard) -> L:
    """`protect`, where it is known that the guard's other stages are enforced elsewhere."""
    if isinstance(llm, StructuredLLM):  # a shell: the model that it asks is what must be guarded, once
        inner = guarded_llm(llm.llm, guard)
        return llm if inner is llm.llm else shell(llm.model_copy(update={"llm": inner}))
    if guard in guards_of(llm):
        return llm
    made = seal(copy.copy(llm), _GuardedLLM, guard)
    route(type(made))
    begin_as_made(type(made))
    return made


class _GuardedLLM:
    """The guard methods, put before the LLM's own class."""

    def as_structured_llm(self, *args: Any, **kwargs: Any) -> Any:
        return shell(above(self).as_structured_llm(*args, **kwargs))

    def predict_and_call(self, tools: Any, *args: Any, **kwargs: Any) -> Any:
        with watched():
            return off_the_loop(above(self).predict_and_call)(carrying(tools), *args, **kwargs)

    async def apredict_and_call(self, tools: Any, *args: Any, **kwargs: Any) -> Any:
        with watched():
            return await above(self).apredict_and_call(carrying(tools), *args, **kwargs)

    def chat(self, messages: Sequence[ChatMessage], *args: Any, **kwargs: Any) -> Any:
        return guarded(self, WHOLE, CHAT, above(self).chat, args, kwargs)(messages)

    def complete(self, prompt: str, *args: Any, **kwargs: Any) -> Any:
        return guarded(self, WHOLE, COMPLETION, above(self).complete, args, kwargs)(prompt)

    def stream_chat(self, messages: Sequence[ChatMessage], *args: Any, **kwargs: Any) -> Any:
        return guarded(self, STREAMED, CHAT, above(self).stream_chat, args, kwargs)(messages)

    def stream_complete(self, prompt: str, *args: Any, **kwargs: Any) -> Any:
        return guarded(self, STREAMED, COMPLETION, above(self).stream_complete, args, kwargs)(prompt)

    async def achat(self, messages: Sequence[ChatMessage], *args: Any, **kwargs: Any) -> Any:
        return await guarded(self, AWHOLE, CHAT, above(self).achat, args, kwargs)(messages)

    async def acomplete(self, prompt: str, *args: Any, **kwargs: Any) -> Any:
        return await guarded(self, AWHOLE, COMPLETION, above(self).acomplete, args, kwargs)(prompt)

    async def astream_chat(self, messages: Sequence[ChatMessage], *args: Any, **kwargs: Any) -> Any:
        return await guarded(self, ASTREAMED, CHAT, above(self).astream_chat, args, kwargs)(messages)

    async def astream_complete(self, prompt: str, *args: Any, **kwargs: Any) -> Any:
        return await guarded(self, ASTREAMED, COMPLETION, above(self).astream_complete, args, kwargs)(prompt)
