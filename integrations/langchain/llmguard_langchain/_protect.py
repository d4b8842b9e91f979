"""protect(): a guarded copy of a chat model, of the same type, that judges in every call mode.

The copy's class is a subclass made on the spot that overrides what the provider implements, and only that: LangChain
decides by method identity whether a model can stream, and its defaults call the sync methods, which are guarded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from opentelemetry.context import Context

from llmguard_middleware import ConfigurationError, Guard
from llmguard_middleware._drive import adrive, drive
from llmguard_middleware._flow import Flow, reentered
from llmguard_middleware.telemetry._emitter import CallSpan

from . import _convert as convert
from ._chunks import ChunkGate

__all__ = ["MARK", "Handoff", "handoff", "marks", "protect", "refuse_stages"]

T = TypeVar("T", bound=BaseChatModel)

MARK = "llmguard"  # in a protected model's LangSmith parameters, and so in the metadata that callbacks see


@dataclass(frozen=True)
class Handoff:
    """What a GuardCallback tells the protected model whose start it has just seen."""

    run_id: UUID
    guard: Guard
    outermost: bool
    parent: Context | None = None
    span: CallSpan | None = None


handoff: ContextVar[Handoff | None] = ContextVar("llmguard_langchain_handoff", default=None)


def protect(model: T, guard: Guard) -> T:
    """A guarded copy of `model`: spans, monitors and every guardrail, in invoke, stream, batch and their async twins.

    The original stays as it is. A second guard on a copy goes around the first; the same guard again changes nothing.

    Raises:
        ConfigurationError: if this is no chat model.
        UnenforceableError: if the guard has a rule that a model's copy cannot enforce.
    """
    if not isinstance(model, BaseChatModel):
        given = type(model).__name__
        msg = f"protect() takes a LangChain chat model and was given {given}; protect the model inside it instead"
        raise ConfigurationError(msg)
    if key(guard) in marks(model._get_ls_params()):
        return model
    refuse_stages(guard, "protect(model)")
    copy = model.model_copy()
    copy.__class__ = _guarded(type(model), guard)
    return copy


def refuse_stages(guard: Guard, where: str) -> None:
    """Refuse rules of stages that this adapter does not reach."""
    beyond = [rule for rule in guard.guardrails if rule.stage not in ("input", "output")]
    guard.refuse(beyond, where, "this version judges what goes into and comes out of models, use stage input or output")


def key(guard: Guard) -> str:
    """How a mark names a guard: by identity, since two guards may share a name."""
    return f"{guard.name}:{id(guard):x}"


def marks(ls_params: Any) -> list[str]:
    """The guards that a model's parameters (or a run's metadata) are marked with, outermost first."""
    return str(ls_params.get(MARK) or "").split()


def _open(model: BaseChatModel, guard: Guard, stop: list[str] | None, kwargs: dict[str, Any]) -> Flow:
    above = handoff.get()
    ls_params = model._get_ls_params(stop=stop, **kwargs)
    call = convert.model_call("chat", ls_params, model.__dict__)
    if above is None:
        return Flow(guard, call, owner=model)
    handoff.set(None)  # for this call only
    if above.guard is guard:
        return Flow(guard, call, owner=model, parent=above.parent, outermost=above.outermost)
    return Flow(guard, call, owner=model, parent=above.parent, span=above.span)


def _guarded(base: type[Any], guard: Guard) -> type[Any]:  # noqa: C901, PLR0915 - LangChain's four methods, side by side
    """A subclass of `base`, of the same name, whose calls pass through `guard`."""
    workers = guard.workers
    hide = bool(guard.rules("output"))

    def unheard(run_manager: Any) -> Any:
        """A provider tells its run manager of raw tokens: not while the output is guarded."""
        return None if hide else run_manager

    def _get_ls_params(self: Any, stop: list[str] | None = None, **kwargs: Any) -> Any:
        params = base._get_ls_params(self, stop=stop, **kwargs)
        return {**params, MARK: " ".join([key(guard), *marks(params)])}

    def _generate(
        self: Any,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        result: ChatResult
        if reentered(self, guard):
            result = base._generate(self, messages, stop=stop, run_manager=run_manager, **kwargs)
            return result
        with _open(self, guard, stop, kwargs) as flow:
            admitted = convert.asked(messages, drive(flow.admit(convert.read(messages)), workers))
            with flow.active():
                result = base._generate(self, admitted, stop=stop, run_manager=unheard(run_manager), **kwargs)
            result = convert.regenerated(result, drive(flow.release(convert.generated(result)), workers))
            flow.answered(**convert.answer(result.generations, result.llm_output))
            return result

    async def _agenerate(
        self: Any,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        result: ChatResult
        if reentered(self, guard):
            result = await base._agenerate(self, messages, stop=stop, run_manager=run_manager, **kwargs)
            return result
        with _open(self, guard, stop, kwargs) as flow:
            admitted = convert.asked(messages, await adrive(flow.admit(convert.read(messages)), workers))
            with flow.active():
                result = await base._agenerate(self, admitted, stop=stop, run_manager=unheard(run_manager), **kwargs)
            result = convert.regenerated(result, await adrive(flow.release(convert.generated(result)), workers))
            flow.answered(**convert.answer(result.generations, result.llm_output))
            return result

    def _stream(
        self: Any,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        if reentered(self, guard):
            yield from base._stream(self, messages, stop=stop, run_manager=run_manager, **kwargs)
            return
        with _open(self, guard, stop, kwargs) as flow:
            admitted = convert.asked(messages, drive(flow.admit(convert.read(messages)), workers))
            stream = flow.stream()
            gate = ChunkGate(stream)
            with closing(base._stream(self, admitted, stop=stop, **kwargs)) as source:
                while True:
                    with flow.active():
                        chunk = next(source, None)
                    ready = gate.finish(drive(stream.finish(), workers)) if chunk is None else gate.feed(chunk)
                    for released in ready:
                        if run_manager:
                            run_manager.on_llm_new_token(released.text, chunk=released)
                        yield released
                    if chunk is None:
                        break
            flow.answered(**gate.answer())

    async def _astream(
        self: Any,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        if reentered(self, guard):
            async for chunk in base._astream(self, messages, stop=stop, run_manager=run_manager, **kwargs):
                yield chunk
            return
        with _open(self, guard, stop, kwargs) as flow:
            admitted = convert.asked(messages, await adrive(flow.admit(convert.read(messages)), workers))
            stream = flow.stream()
            gate = ChunkGate(stream)
            async with aclosing(base._astream(self, admitted, stop=stop, **kwargs)) as source:
                while True:
                    with flow.active():
                        chunk = await anext(source, None)
                    ready = gate.finish(await adrive(stream.finish(), workers)) if chunk is None else gate.feed(chunk)
                    for released in ready:
                        if run_manager:
                            await run_manager.on_llm_new_token(released.text, chunk=released)
                        yield released
                    if chunk is None:
                        break
            flow.answered(**gate.answer())

    ours: dict[str, Callable[..., Any]] = {"_agenerate": _agenerate, "_stream": _stream, "_astream": _astream}
    overridden = {
        name: method for name, method in ours.items() if getattr(base, name) is not getattr(BaseChatModel, name)
    }
    guarded = type(
        base.__name__,
        (base,),
        {
            "__module__": base.__module__,
            "__qualname__": base.__qualname__,
            "__doc__": base.__doc__,
            "_get_ls_params": _get_ls_params,
            "_generate": _generate,
            **overridden,
        },
    )
    for native in ("_stream_chat_model_events", "_astream_chat_model_events"):
        if hasattr(base, native):
            # A provider's own event stream would pass the guard by; without it LangChain makes events of _stream's
            # chunks. Set afterwards: in the body of the class pydantic would take it for a private field.
            type.__setattr__(guarded, native, None)
    return guarded
