"""protect(): a guarded copy of a chat model, of the same type, that judges in every call mode.

The copy's class is a subclass made on the spot that overrides what the provider implements, and only that: LangChain
decides by method identity whether a model can stream, and its defaults call the sync methods, which are guarded.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from llmguard_middleware import ConfigurationError, Guard, GuardrailViolation
from llmguard_middleware._call import Stage
from llmguard_middleware._drive import inside_scorer
from llmguard_middleware._flow import AskAgain, Flow, reentered
from llmguard_middleware._guard import expect_guard
from llmguard_middleware._policy import Policy
from llmguard_middleware._steps import END, Ask, Emit, Judge, Pull, Steps, arun, astream, run, stream

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
    refuse_stages(guard, "protect(model)", ("input", "output", "tool_call"))
    copy = model.model_copy()
    copy.__class__ = _guarded(type(model), guard)
    return copy


def refuse_stages(guard: Guard, where: str, reached: tuple[Stage, ...] = ("input", "output")) -> None:
    """Refuse rules of stages that this adapter does not reach."""

    def check(policy: Policy) -> None:
        beyond = [rule for rule in policy.guardrails if rule.stage not in reached]
        guard.refuse(beyond, where, "this version judges what goes into and out of models, use stage input or output")

    guard.require(where, check)
    guard.covers(*reached)
    guard.pass_untouched(_is_signal)


def _is_signal(error: BaseException) -> bool:
    """LangGraph's interrupts and commands to a parent graph travel as exceptions."""
    langgraph = sys.modules.get("langgraph.errors")
    return langgraph is not None and isinstance(error, langgraph.GraphBubbleUp)


@dataclass(frozen=True, slots=True)
class _Asked:
    """One call of one model behind one guard; `ask` is what lies behind it."""

    model: Any
    guard: Guard
    ls_params: Any
    run_manager: Any
    ask: Callable[[list[BaseMessage]], Any]

    def flow(self, *, streamed: bool) -> Flow:
        told = handed(self.model, self.run_manager)
        return Flow(
            self.guard,
            convert.model_call("chat", self.ls_params, self.model.__dict__).but(streamed=streamed),
            owner=self.model,
            parent=next((handoff.parent for handoff in told if handoff.parent is not None), None),
            span=next((handoff.span for handoff in told if handoff.span is not None), None),
            outermost=next((handoff.outermost for handoff in told if handoff.guard is self.guard), None),
            root=next((handoff.root for handoff in told if handoff.guard is self.guard), None),
        )


def _whole(asked: _Asked, messages: Sequence[BaseMessage]) -> Steps[ChatResult]:
    guard = asked.guard
    try:
        with asked.flow(streamed=False) as flow:
            admitted_messages = yield Judge(guard, admitted(flow, messages))
            while True:
                result = yield Ask(flow.active, partial(asked.ask, admitted_messages))
                try:
                    result = yield Judge(guard, released(flow, result))
                    break
                except AskAgain as again:
                    admitted_messages = convert.again(admitted_messages, again.answer, again.feedback)
            flow.answered(**convert.answer(result.generations, result.llm_output))
            return result  # type: ignore[no-any-return]  # what the model's own method returned
    except GuardrailViolation:
        if guard.refusal is None:
            raise
        return convert.refusal(guard.refusal)


def _streamed(asked: _Asked, messages: Sequence[BaseMessage]) -> Steps[None]:
    guard = asked.guard
    try:
        with asked.flow(streamed=True) as flow:
            admitted_messages = yield Judge(guard, admitted(flow, messages))
            while True:
                try:
                    gate = yield from _pieces(asked, flow, asked.ask(admitted_messages))
                    break
                except AskAgain as again:
                    admitted_messages = convert.again(admitted_messages, again.answer, again.feedback)
            flow.answered(**gate.answer())
    except GuardrailViolation:
        if guard.refusal is None:
            raise
        yield Emit(convert.refusal_chunk(guard.refusal))


def _pieces(asked: _Asked, flow: Flow, source: Any) -> Steps[ChunkGate]:
    stream_ = flow.stream(reask=True)
    gate = ChunkGate(stream_)
    while (chunk := (yield Pull(flow.active, source))) is not END:
        for free in gate.feed(chunk):
            yield Emit(free)
        if stream_.racing:
            for free in gate.settled((yield Judge(asked.guard, stream_.settle()))):
                yield Emit(free)
    for free in gate.finish((yield Judge(asked.guard, stream_.finish()))):
        yield Emit(free)
    return gate


def _guarded(base: type[Any], guard: Guard) -> type[Any]:  # noqa: C901 - LangChain's four methods, side by side
    """A subclass of `base`, of the same name, whose calls pass through `guard`."""

    def asked(self: Any, method: Any, run_manager: Any, stop: list[str] | None, kwargs: dict[str, Any]) -> _Asked:
        params = base._get_ls_params(self, stop=stop, **kwargs)
        return _Asked(self, guard, params, run_manager, lambda messages: method(self, messages, stop=stop, **kwargs))

    def passes(self: Any) -> bool:
        """A call from inside this model, or from one of the guard's scorers, is not judged again."""
        return inside_scorer.get() or reentered(self, guard)

    def unheard(run_manager: Any) -> Any:
        """A provider tells its run manager of raw tokens: not while the output is guarded."""
        rules = [rule for policy in guard.policies for rule in policy.guardrails]
        hidden = any(rule.stage in ("output", "tool_call") or rule.action == "pseudonymize" for rule in rules)
        return None if hidden else run_manager

    def _get_ls_params(self: Any, stop: list[str] | None = None, **kwargs: Any) -> Any:
        params = base._get_ls_params(self, stop=stop, **kwargs)
        return {**params, **mark(guard, params)}

    def _generate(
        self: Any,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if passes(self):
            return base._generate(self, messages, stop=stop, run_manager=run_manager, **kwargs)  # type: ignore[no-any-return]  # its own
        method = partial(base._generate, run_manager=unheard(run_manager))
        return run(_whole(asked(self, method, run_manager, stop, kwargs), messages))

    async def _agenerate(
        self: Any,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if passes(self):
            return await base._agenerate(self, messages, stop=stop, run_manager=run_manager, **kwargs)  # type: ignore[no-any-return]  # its own
        method = partial(base._agenerate, run_manager=unheard(run_manager))
        return await arun(_whole(asked(self, method, run_manager, stop, kwargs), messages))

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
        steps = _streamed(asked(self, _iter(base._stream), run_manager, stop, kwargs), messages)
        with closing(stream(steps)) as chunks:
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
        if passes(self):
            async for chunk in base._astream(self, messages, stop=stop, run_manager=run_manager, **kwargs):
                yield chunk
            return
        steps = _streamed(asked(self, _aiter(base._astream), run_manager, stop, kwargs), messages)
        async with aclosing(astream(steps)) as chunks:
            async for chunk in chunks:
                if run_manager:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

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


def _iter(method: Callable[..., Any]) -> Callable[..., Any]:
    """`method`, whose stream may be any iterable."""
    return lambda *args, **kwargs: iter(method(*args, **kwargs))


def _aiter(method: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: aiter(method(*args, **kwargs))
