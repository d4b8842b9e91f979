"""protect(): a guarded copy of a chat model, of the same type, that judges in every call mode.

The copy's class is a subclass made on the spot that overrides what the provider implements, and only that: LangChain
decides by method identity whether a model can stream, and its defaults call the sync methods, which are guarded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing, nullcontext
from typing import Any, TypeVar

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from llmguard_middleware import ConfigurationError, Guard
from llmguard_middleware._drive import adrive, drive, inside_scorer
from llmguard_middleware._flow import Flow, reentered
from llmguard_middleware._guard import expect_guard

from . import _convert as convert
from ._chunks import ChunkGate
from ._handoff import handed, mark, marked
from ._judged import admitted, released

__all__ = ["protect", "refuse_stages"]

T = TypeVar("T", bound=BaseChatModel)


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
    expect_guard(guard, "protect(model, guard)")
    if marked(guard, model._get_ls_params()):
        return model
    refuse_stages(guard, "protect(model)")
    copy = model.model_copy()
    copy.__class__ = _guarded(type(model), guard)
    return copy


def refuse_stages(guard: Guard, where: str) -> None:
    """Refuse rules of stages that this adapter does not reach."""
    beyond = [rule for rule in guard.guardrails if rule.stage not in ("input", "output")]
    guard.refuse(beyond, where, "this version judges what goes into and comes out of models, use stage input or output")


def _open(model: BaseChatModel, ls_params: Any, guard: Guard, run_manager: Any) -> Flow:
    call = convert.model_call("chat", ls_params, model.__dict__)
    told = handed(model, run_manager)
    return Flow(
        guard,
        call,
        owner=model,
        parent=next((handoff.parent for handoff in told if handoff.parent is not None), None),
        span=next((handoff.span for handoff in told if handoff.span is not None), None),
        outermost=next((handoff.outermost for handoff in told if handoff.guard is guard), None),
    )


def _closed(source: Any) -> Any:
    """A context manager that closes a stream if it can be closed; providers may return any iterator."""
    return closing(source) if hasattr(source, "close") else nullcontext(source)


def _aclosed(source: Any) -> Any:
    return aclosing(source) if hasattr(source, "aclose") else nullcontext(source)


def _guarded(base: type[Any], guard: Guard) -> type[Any]:  # noqa: C901, PLR0915 - LangChain's four methods, side by side
    """A subclass of `base`, of the same name, whose calls pass through `guard`."""
    workers = guard.workers
    hide = bool(guard.rules("output"))

    def unheard(run_manager: Any) -> Any:
        """A provider tells its run manager of raw tokens: not while the output is guarded."""
        return None if hide else run_manager

    def _get_ls_params(self: Any, stop: list[str] | None = None, **kwargs: Any) -> Any:
        params = base._get_ls_params(self, stop=stop, **kwargs)
        return {**params, **mark(guard, params)}

    def passes(self: Any) -> bool:
        """A call from inside this model, or from one of the guard's scorers, is not judged again."""
        return inside_scorer.get() or reentered(self, guard)

    def opened(self: Any, run_manager: Any, stop: list[str] | None, kwargs: dict[str, Any]) -> Flow:
        return _open(self, base._get_ls_params(self, stop=stop, **kwargs), guard, run_manager)

    def _generate(
        self: Any,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        result: ChatResult
        if passes(self):
            result = base._generate(self, messages, stop=stop, run_manager=run_manager, **kwargs)
            return result
        with opened(self, run_manager, stop, kwargs) as flow:
            asked = drive(admitted(flow, messages), workers)
            with flow.active():
                result = base._generate(self, asked, stop=stop, run_manager=unheard(run_manager), **kwargs)
            result = drive(released(flow, result), workers)
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
        if passes(self):
            result = await base._agenerate(self, messages, stop=stop, run_manager=run_manager, **kwargs)
            return result
        with opened(self, run_manager, stop, kwargs) as flow:
            asked = await adrive(admitted(flow, messages), workers)
            with flow.active():
                result = await base._agenerate(self, asked, stop=stop, run_manager=unheard(run_manager), **kwargs)
            result = await adrive(released(flow, result), workers)
            flow.answered(**convert.answer(result.generations, result.llm_output))
            return result

    def _stream(
        self: Any,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        if passes(self):
            yield from base._stream(self, messages, stop=stop, run_manager=run_manager, **kwargs)
            return
        with opened(self, run_manager, stop, kwargs) as flow:
            asked = drive(admitted(flow, messages), workers)
            stream = flow.stream()
            gate = ChunkGate(stream)
            with _closed(iter(base._stream(self, asked, stop=stop, **kwargs))) as source:
                while True:
                    with flow.active():
                        chunk = next(source, None)
                    ready = gate.finish(drive(stream.finish(), workers)) if chunk is None else gate.feed(chunk)
                    for free in ready:
                        if run_manager:
                            run_manager.on_llm_new_token(free.text, chunk=free)
                        yield free
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
        if passes(self):
            async for chunk in base._astream(self, messages, stop=stop, run_manager=run_manager, **kwargs):
                yield chunk
            return
        with opened(self, run_manager, stop, kwargs) as flow:
            asked = await adrive(admitted(flow, messages), workers)
            stream = flow.stream()
            gate = ChunkGate(stream)
            async with _aclosed(aiter(base._astream(self, asked, stop=stop, **kwargs))) as source:
                while True:
                    with flow.active():
                        chunk = await anext(source, None)
                    ready = gate.finish(await adrive(stream.finish(), workers)) if chunk is None else gate.feed(chunk)
                    for free in ready:
                        if run_manager:
                            await run_manager.on_llm_new_token(free.text, chunk=free)
                        yield free
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
