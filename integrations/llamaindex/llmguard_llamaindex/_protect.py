"""protect: a guarded copy of an LLM. Spans, monitors and every action, in all eight of its methods."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn, TypeVar

from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms.structured_llm import StructuredLLM

from llmguard_middleware import ConfigurationError, Guard, GuardrailViolation
from llmguard_middleware._call import Stage
from llmguard_middleware._drive import inside_scorer
from llmguard_middleware._flow import AskAgain, Flow, reentered
from llmguard_middleware._guard import expect_guard
from llmguard_middleware._policy import Policy
from llmguard_middleware._steps import END, Ask, Emit, Judge, Pull, Relay, Steps, aopened, arun, opened, run

from ._convert import facts, model_call
from ._forms import CHAT, COMPLETION, Form
from ._judged import AnswerGate
from ._late import begin_as_made, shell
from ._root import root_of
from ._seal import above, guards_of, seal
from ._watched import note, watched

__all__ = ["guarded_llm", "protect", "refuse_stages"]

L = TypeVar("L", bound=BaseLLM)


def protect(llm: L, guard: Guard) -> L:
    """A guarded shallow copy of `llm`, of the same type: spans, monitors and guardrails in every call mode.

    The original is untouched. Protecting again with the same guard returns the same object; with another guard, both
    apply and the later one is the outer.

    Args:
        llm: any LlamaIndex LLM.
        guard: what to put around its calls.

    Raises:
        ConfigurationError: if `llm` is not a LlamaIndex LLM.
        UnenforceableError: if the guard has an acting guardrail at a stage that an LLM does not have.
    """
    if not isinstance(llm, BaseLLM):
        raise ConfigurationError(_no_llm(llm))
    expect_guard(guard, "protect(llm, guard)")
    refuse_stages(guard, "protect(llm, guard)", ("input", "output", "tool_call"))
    return guarded_llm(llm, guard)


def _no_llm(given: Any) -> str:
    kind = f"the class {given.__name__}" if isinstance(given, type) else type(given).__name__
    instead = "; for a query engine use attach(engine, guard)"
    if isinstance(given, Guard):
        instead = ": write protect(llm, guard), in this order"
    elif isinstance(given, type):
        instead = f": write protect({given.__name__}(...), guard)"
    elif any(one.__name__ == "MultiModalLLM" for one in type(given).__mro__):
        instead = ", which is none: images go to LLMs in ImageBlocks of messages"
    return f"protect() takes a LlamaIndex LLM, not {kind}{instead}"


def refuse_stages(guard: Guard, where: str, reached: tuple[Stage, ...] = ("input", "output", "retrieval")) -> None:
    """Refuse guardrails of the stages that are not reached there, nor by what was guarded before."""

    def check(policy: Policy) -> None:
        beyond = [r for r in policy.guardrails if r.stage not in reached and r.stage not in guard.covered]
        guard.refuse(beyond, where, _INSTEAD)

    guard.require(where, check)
    guard.covers(*(stage for stage in reached if stage != "retrieval"))


_INSTEAD = (
    "an LLM reaches input, output and tool_call, an engine these without tool_call and retrieval: put each rule where "
    "its stage is, and guard that first"
)


def guarded_llm(llm: L, guard: Guard) -> L:
    """`protect`, where it is known that the guard's other stages are enforced elsewhere."""
    if isinstance(llm, StructuredLLM):  # a shell: the model that it asks is what must be guarded, once
        inner = guarded_llm(llm.llm, guard)
        return llm if inner is llm.llm else shell(llm.model_copy(update={"llm": inner}))
    if guard in guards_of(llm):
        return llm
    guarded = seal(copy.copy(llm), _GuardedLLM, guard)
    begin_as_made(type(guarded))
    return guarded


class _GuardedLLM:
    """The guard methods, put before the LLM's own class."""

    def as_structured_llm(self, *args: Any, **kwargs: Any) -> Any:
        return shell(above(self).as_structured_llm(*args, **kwargs))

    def predict_and_call(self, *args: Any, **kwargs: Any) -> Any:
        with watched():
            return above(self).predict_and_call(*args, **kwargs)

    async def apredict_and_call(self, *args: Any, **kwargs: Any) -> Any:
        with watched():
            return await above(self).apredict_and_call(*args, **kwargs)

    def __reduce_ex__(self, _: Any) -> NoReturn:
        msg = (
            f"a protected {type(self).__name__} cannot be pickled, since its guard holds threads, locks and "
            "telemetry: pickle the original, and protect() it where it is loaded"
        )
        raise ConfigurationError(msg)

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
    except GuardrailViolation as violation:
        if asked.guard.refusal is None:
            note(violation)
            raise
        return asked.form.refusal(asked.guard.refusal)


def _answered(asked: _Asked, request: Any) -> Steps[Any]:
    guard, form, root = asked.guard, asked.form, root_of(asked.guard)
    with asked.flow(streamed=False) as flow:
        if not flow.policy.idle or flow.violated:
            request = yield Judge(guard, form.admitted(flow, request))
        while True:
            response = yield Ask(flow.active, partial(asked.ask, request))
            if flow.transparent:
                break
            try:
                response = yield Judge(guard, form.released(flow, response))
                break
            except AskAgain as again:
                request = form.again(request, again.answer, again.feedback)
        output = form.answer(response)
        if root is not None:
            root.released.add(output)
        flow.answered(output=output, **facts(response))
    return response


def _streamed(asked: _Asked, request: Any) -> Steps[None]:
    guard, form, begun, said = asked.guard, asked.form, False, _Said()
    try:
        with asked.flow(streamed=True) as flow:
            if not flow.policy.idle or flow.violated:
                request = yield Judge(guard, form.admitted(flow, request))
            source = yield Ask(flow.active, partial(asked.ask, request))
            yield Emit(None)
            begun = True
            while True:
                try:
                    flow.answered(**(yield from _pieces(asked, flow, source, said)))
                    break
                except AskAgain as again:
                    request = form.again(request, again.answer, again.feedback)
                    source = yield Ask(flow.active, partial(asked.ask, request))
    except GuardrailViolation as violation:
        if guard.refusal is None:
            note(violation)
            raise
        if not begun:
            yield Emit(None)
        yield Emit(form.refusal(guard.refusal, said.text))


class _Said:
    """What has left of a streamed answer."""

    text = ""


def _pieces(asked: _Asked, flow: Flow, source: Any, said: _Said) -> Steps[dict[str, Any]]:
    """The chunks as they may leave; returns what `Flow.answered` takes."""
    guard, root = asked.guard, root_of(asked.guard)
    pull = Pull(flow.active, source, apart=True)
    if flow.transparent:
        note = _Note(asked.form, root)
        yield Relay(pull, note)
        return note.answer()
    stream = flow.stream(reask=True)
    gate = AnswerGate(asked.form, stream)

    def left(free: Any) -> Emit:
        said.text = gate.said
        if root is not None:
            root.passed(free.delta or "")
        return Emit(free)

    while (chunk := (yield pull)) is not END:
        for free in gate.feed(chunk):
            yield left(free)
        if stream.racing:
            for free in gate.settled((yield Judge(guard, stream.settle()))):
                yield left(free)
    for free in gate.finish((yield Judge(guard, stream.finish()))):
        yield left(free)
    return gate.answer()


class _Note:
    """Takes note of the chunks of an answer that nobody has to look at."""

    def __init__(self, form: Form, root: Any) -> None:
        self._form, self._root = form, root
        self._pieces: list[str] = []
        self._facts: dict[str, Any] = {}
        self._last: Any = None

    def __call__(self, chunk: Any) -> None:
        self._last = chunk
        self._facts |= facts(chunk)
        piece = chunk.delta
        if piece:
            self._pieces.append(piece)
            if self._root is not None:
                self._root.passed(piece)

    def answer(self) -> dict[str, Any]:
        """What `Flow.answered` takes."""
        whole = "" if self._pieces or self._last is None else self._form.answer(self._last)
        return {"output": "".join(self._pieces) or whole, **self._facts}


@dataclass(frozen=True, slots=True)
class _Way:
    """How a method answers: the steps of its call, and who carries them out."""

    steps: Callable[[_Asked, Any], Steps[Any]]
    runner: Callable[[Steps[Any]], Any]


_WHOLE = _Way(_whole, run)
_AWHOLE = _Way(_whole, arun)
_STREAMED = _Way(_streamed, opened)
_ASTREAMED = _Way(_streamed, aopened)
