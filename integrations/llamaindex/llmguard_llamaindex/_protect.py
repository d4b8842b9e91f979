"""protect: a guarded copy of an LLM. Spans, monitors and every action, in all eight of its methods."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms.structured_llm import StructuredLLM
from llama_index.core.tools import BaseTool

from llmguard_middleware import ConfigurationError, Guard, GuardrailViolation
from llmguard_middleware._drive import inside_scorer
from llmguard_middleware._flow import AskAgain, Flow, reentered
from llmguard_middleware._guard import expect_guard
from llmguard_middleware._policy import Policy
from llmguard_middleware._steps import END, Ask, Emit, Judge, Pull, Steps, aopened, arun, opened, run

from ._convert import facts, model_call
from ._forms import CHAT, COMPLETION, Form
from ._root import root_of
from ._seal import above, guards_of, seal
from ._tools import guarded_tool

__all__ = ["guarded_llm", "protect", "refuse_stages"]

L = TypeVar("L", bound=BaseLLM)
P = TypeVar("P", bound=BaseLLM | BaseTool)


def protect(llm: P, guard: Guard) -> P:
    """A guarded shallow copy of `llm`, of the same type: spans, monitors and guardrails in every call mode.

    The original is untouched. Protecting again with the same guard returns the same object; with another guard, both
    apply and the later one is the outer.

    Args:
        llm: any LlamaIndex LLM, or a tool: of that its arguments are judged (`tool_call`) and what it gives
            (`tool_result`).
        guard: what to put around its calls.

    Raises:
        ConfigurationError: if `llm` is not a LlamaIndex LLM.
        UnenforceableError: if the guard has an acting guardrail at a stage that an LLM does not have.
    """
    expect_guard(guard, "protect(llm, guard)")
    if isinstance(llm, BaseTool):
        return guarded_tool(llm, guard)
    if not isinstance(llm, BaseLLM):
        msg = (
            f"protect() takes a LlamaIndex LLM, not {type(llm).__name__}; for a query engine use attach(engine, guard)"
        )
        raise ConfigurationError(msg)
    refuse_stages(guard, "protect(llm, guard)")
    guard.refuse(
        guard.rules("retrieval"), "protect(llm, guard)", "use attach(engine, guard) or GuardPostprocessor(guard)"
    )
    return guarded_llm(llm, guard)


def refuse_stages(guard: Guard, where: str) -> None:
    """Refuse guardrails of the stages that no part of this adapter reaches yet."""

    def check(policy: Policy) -> None:
        beyond = [rule for rule in policy.guardrails if rule.stage in ("tool_call", "tool_result", "embedding")]
        guard.refuse(beyond, where, "this version judges the input, output and retrieval stages")

    guard.require(where, check)
    guard.covers("input", "output")


def guarded_llm(llm: L, guard: Guard) -> L:
    """`protect`, where it is known that the guard's other stages are enforced elsewhere."""
    if isinstance(llm, StructuredLLM):  # a shell: the model that it asks is what must be guarded, once
        inner = guarded_llm(llm.llm, guard)
        return llm if inner is llm.llm else llm.model_copy(update={"llm": inner})
    return llm if guard in guards_of(llm) else seal(copy.copy(llm), _GuardedLLM, guard)


class _GuardedLLM:
    """The guard methods, put before the LLM's own class."""

    def chat(self, messages: Sequence[ChatMessage], *args: Any, **kwargs: Any) -> Any:
        return _guarded(self, _WHOLE, CHAT, above(self).chat, args, kwargs)(messages)

    def complete(self, prompt: str, *args: Any, **kwargs: Any) -> Any:
        return _guarded(self, _WHOLE, COMPLETION, above(self).complete, args, kwargs)(prompt)

    def stream_chat(self, messages: Sequence[ChatMessage], *args: Any, **kwargs: Any) -> Any:
        return _guarded(self, _STREAMED, CHAT, above(self).stream_chat, args, kwargs)(messages)

    def stream_complete(self, prompt: str, *args: Any, **kwargs: Any) -> Any:
        return _guarded(self, _STREAMED, COMPLETION, above(self).stream_complete, args, kwargs)(prompt)

    async def achat(self, messages: Sequence[ChatMessage], *args: Any, **kwargs: Any) -> Any:
        return await _guarded(self, _AWHOLE, CHAT, above(self).achat, args, kwargs)(messages)

    async def acomplete(self, prompt: str, *args: Any, **kwargs: Any) -> Any:
        return await _guarded(self, _AWHOLE, COMPLETION, above(self).acomplete, args, kwargs)(prompt)

    async def astream_chat(self, messages: Sequence[ChatMessage], *args: Any, **kwargs: Any) -> Any:
        return await _guarded(self, _ASTREAMED, CHAT, above(self).astream_chat, args, kwargs)(messages)

    async def astream_complete(self, prompt: str, *args: Any, **kwargs: Any) -> Any:
        return await _guarded(self, _ASTREAMED, COMPLETION, above(self).astream_complete, args, kwargs)(prompt)


def _guarded(
    llm: Any, way: _Way, form: Form, method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Callable[[Any], Any]:
    """`method` behind every guard that is not already around this code; a scorer's own calls go straight through."""

    def ask(request: Any) -> Any:
        return method(request, *args, **kwargs)

    if inside_scorer.get():
        return ask
    for guard in guards_of(llm):
        if not reentered(llm, guard):
            ask = partial(_behind, way, _Asked(llm, guard, form, kwargs, ask))
    return ask


def _behind(way: _Way, asked: _Asked, request: Any) -> Any:
    return way.runner(way.steps(asked, request))


@dataclass(frozen=True, slots=True)
class _Asked:
    """One method of one LLM behind one guard; `ask` is what lies behind it."""

    llm: Any
    guard: Guard
    form: Form
    options: dict[str, Any]
    ask: Callable[[Any], Any]

    def flow(self, *, streamed: bool) -> Flow:
        root = root_of(self.guard)
        call = model_call(self.llm, self.options, streamed=streamed, context=root.context if root else ())
        return Flow(self.guard, call, owner=self.llm)


def _whole(asked: _Asked, request: Any) -> Steps[Any]:
    try:
        return (yield from _answered(asked, request))
    except GuardrailViolation:
        if asked.guard.refusal is None:
            raise
        return asked.form.refusal(asked.guard.refusal)


def _answered(asked: _Asked, request: Any) -> Steps[Any]:
    guard, form, root = asked.guard, asked.form, root_of(asked.guard)
    with asked.flow(streamed=False) as flow:
        texts = yield Judge(guard, flow.admit(form.asked(request)))
        request = form.rewritten(request, texts)
        while True:
            response = yield Ask(flow.active, partial(asked.ask, request))
            said = form.said(response)
            try:
                told = yield Judge(guard, flow.release(said, reask=True))
                break
            except AskAgain as again:
                request = form.again(request, form.answer(response), again.feedback)
        if told != said:
            response = form.told(response, told)
        output = form.answer(response)
        if root is not None:
            root.released.add(output)
        flow.answered(output=output, **facts(response))
    return response


def _streamed(asked: _Asked, request: Any) -> Steps[None]:
    begun = False
    try:
        with asked.flow(streamed=True) as flow:
            texts = yield Judge(asked.guard, flow.admit(asked.form.asked(request)))
            request = asked.form.rewritten(request, texts)
            source = yield Ask(flow.active, partial(asked.ask, request))
            yield Emit(None)
            begun = True
            while True:
                try:
                    yield from _pieces(asked, flow, source)
                    break
                except AskAgain as again:
                    request = asked.form.again(request, again.answer, again.feedback)
                    source = yield Ask(flow.active, partial(asked.ask, request))
    except GuardrailViolation:
        if asked.guard.refusal is None:
            raise
        if not begun:
            yield Emit(None)
        yield Emit(asked.form.refusal(asked.guard.refusal))


def _pieces(asked: _Asked, flow: Flow, source: Any) -> Steps[None]:
    guard, form, root = asked.guard, asked.form, root_of(asked.guard)
    stream = flow.stream(reask=True)
    acting = stream.acts
    chunk: Any = None
    known: dict[str, Any] = {}
    held = False
    seen = sent = ""
    while (item := (yield Pull(flow.active, source))) is not END:
        chunk = item
        known |= facts(chunk)
        piece = chunk.delta if chunk.delta is not None else form.answer(chunk)[len(seen) :]
        seen += piece
        free = stream.feed(piece)
        if stream.racing:
            free = yield Judge(guard, stream.settle())
        sent += free
        held = acting and bool(piece) and not free and not form.acts(chunk)
        if held:
            continue
        if root is not None:
            root.passed(free)
        yield Emit(form.chunk(chunk, sent, free) if acting else chunk)
    rest = yield Judge(guard, stream.finish())
    thoughts = form.thoughts(chunk) if chunk is not None else []
    thoughts = yield Judge(guard, flow.release(thoughts))
    if acting and chunk is not None and (rest or held or thoughts):
        sent += rest
        if root is not None:
            root.passed(rest)
        yield Emit(form.chunk(chunk, sent, rest, thoughts))
    flow.answered(output=sent, **known)


@dataclass(frozen=True, slots=True)
class _Way:
    """How a method answers: the steps of its call, and who carries them out."""

    steps: Callable[[_Asked, Any], Steps[Any]]
    runner: Callable[[Steps[Any]], Any]


_WHOLE = _Way(_whole, run)
_AWHOLE = _Way(_whole, arun)
_STREAMED = _Way(_streamed, opened)
_ASTREAMED = _Way(_streamed, aopened)
