"""Guarded chat models.

A copy's class overrides what the provider implements, and only that: LangChain decides by method identity whether a
model can stream, and its defaults call the sync methods, which are guarded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from llmguard_middleware import Guard
from llmguard_middleware._begun import held
from llmguard_middleware._flow import Flow
from llmguard_middleware._judge import Plan
from llmguard_middleware._steps import arun, astream, run, stream

from ... import _convert as convert
from ..._content import tell_answers, tell_asked
from ..._handoff import handed, mark, remembered, said_with
from ..._judged import ChunkGate, admitted, released
from .._sticky import sticky_methods
from ._calls import Asked, Facts, Gate, aiterated, heard, iterated, passes, streamed, telling, whole
from ._llm_cache import chat_cache_members
from ._sessions import session_members, session_of, session_with

__all__ = ["chat_members", "without_native_events"]


class ChatForm:
    """Messages in, a ChatResult out."""

    operation = "chat"
    gate: Callable[..., Gate] = ChunkGate
    facts: Callable[[], Facts] = convert.StreamFacts

    def admitted(self, flow: Flow, request: Any) -> Plan[Any]:
        return admitted(flow, request)

    def released(self, flow: Flow, result: ChatResult) -> Plan[Any]:
        return released(flow, result)

    def again(self, request: Any, turned_down: str, feedback: str) -> Any:
        return convert.again(request, turned_down, feedback)

    def answer(self, result: ChatResult) -> dict[str, Any]:
        return convert.answer(result.generations, result.llm_output)

    def refusal(self, text: str) -> ChatResult:
        return convert.refusal(text)

    def refusal_chunk(self, text: str) -> ChatGenerationChunk:
        return convert.refusal_chunk(text)

    def tell_asked(self, flow: Flow, request: Any, tools: Any) -> None:
        tell_asked(flow, request, tools)

    def tell_answered(self, flow: Flow, result: ChatResult) -> None:
        tell_answers(flow, result.generations)


CHAT = ChatForm()


def chat_members(base: type[Any], guard: Guard) -> dict[str, Any]:  # noqa: C901 - LangChain's four methods, side by side
    """The members of the class of a guarded chat model."""

    def asked(
        self: Any, method: Any, run_manager: Any, stop: list[str] | None, kwargs: dict[str, Any], *, streams: bool
    ) -> Asked:
        params = remembered(self)
        if params is None:
            params = base._get_ls_params(self, stop=stop, **kwargs)
        told = handed(self, run_manager)
        said = session_of(self) or (session_with(run_manager) if streams else None)

        def ask(messages: list[BaseMessage]) -> Any:
            return method(self, messages, stop=stop, **kwargs)

        return Asked(CHAT, self, guard, params, told, ask, said, kwargs)

    def _get_ls_params(self: Any, stop: list[str] | None = None, **kwargs: Any) -> Any:
        params = base._get_ls_params(self, stop=stop, **kwargs)
        return {**params, **mark(guard, params, self)}

    def _generate(
        self: Any,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if passes(self, guard):
            return telling(base._generate, run_manager)(self, messages, stop=stop, **kwargs)  # type: ignore[no-any-return]  # its own
        method = telling(base._generate, heard(guard, run_manager))
        return run(whole(asked(self, method, run_manager, stop, kwargs, streams=False), messages))  # type: ignore[no-any-return]  # as above

    async def _agenerate(
        self: Any,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if passes(self, guard):
            return await telling(base._agenerate, run_manager)(self, messages, stop=stop, **kwargs)  # type: ignore[no-any-return]  # its own
        method = telling(base._agenerate, heard(guard, run_manager))
        return await arun(whole(asked(self, method, run_manager, stop, kwargs, streams=False), messages))

    def _stream(
        self: Any,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        if passes(self, guard):
            yield from telling(base._stream, run_manager)(self, messages, stop=stop, **kwargs)
            return
        steps = streamed(asked(self, iterated(base._stream), run_manager, stop, kwargs, streams=True), messages)
        with closing(held(stream(steps), said_with(run_manager))) as chunks:
            for chunk in chunks:
                if run_manager:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _astream(
        self: Any,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        if passes(self, guard):
            async for chunk in telling(base._astream, run_manager)(self, messages, stop=stop, **kwargs):
                yield chunk
            return
        steps = streamed(asked(self, aiterated(base._astream), run_manager, stop, kwargs, streams=True), messages)
        async with aclosing(held(astream(steps), said_with(run_manager))) as chunks:
            async for chunk in chunks:
                if run_manager:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    ours: dict[str, Callable[..., Any]] = {"_agenerate": _agenerate, "_stream": _stream, "_astream": _astream}
    return {
        "_get_ls_params": _get_ls_params,
        "_generate": _generate,
        **{name: method for name, method in ours.items() if getattr(base, name) is not getattr(BaseChatModel, name)},
        **chat_cache_members(base, guard, CHAT),
        **session_members(base),
        **sticky_methods(base),
    }


def without_native_events(kind: type[Any]) -> None:
    """A provider's own event stream would pass the guard by; without it LangChain makes events of _stream's chunks."""
    for native in ("_stream_chat_model_events", "_astream_chat_model_events"):
        if hasattr(kind, native):
            # Set afterwards: in the body of the class pydantic would take it for a private field.
            type.__setattr__(kind, native, None)
