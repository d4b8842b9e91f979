"""What guarded chat models and text models have in common: a call, whole or streamed, from request to answer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import lru_cache, partial
from typing import Any, Protocol

from llmguard_middleware import Guard, GuardrailViolation
from llmguard_middleware._asking import unseen
from llmguard_middleware._flow import AskAgain, Flow, reentered
from llmguard_middleware._judge import Plan
from llmguard_middleware._steps import END, Ask, Emit, Judge, Pull, Relay, Steps

from ... import _convert as convert
from ..._content import tell_streamed
from ..._handoff import Handoff
from ..._session import Said, with_session

__all__ = [
    "Asked",
    "Form",
    "Gate",
    "aiterated",
    "heard",
    "iterated",
    "passes",
    "streamed",
    "telling",
    "together",
    "whole",
]


class Gate(Protocol):
    """Where the chunks of a stream wait for what a `GuardedStream` lets go."""

    def feed(self, chunk: Any) -> Sequence[Any]: ...
    def settled(self, released: str) -> Any: ...
    def finish(self, rest: str) -> Any: ...
    def answer(self) -> dict[str, Any]: ...


class Answered(Protocol):
    """What knows how a stream was answered."""

    def answer(self) -> dict[str, Any]: ...


class Facts(Answered, Protocol):
    """What gathers how a stream that nobody judges was answered."""

    def note(self, chunk: Any) -> None: ...


class Form(Protocol):
    """How one kind of model puts its requests, answers and chunks."""

    operation: str
    gate: Callable[..., Gate]
    facts: Callable[[], Facts]

    def admitted(self, flow: Flow, request: Any) -> Plan[Any]: ...
    def released(self, flow: Flow, result: Any) -> Plan[Any]: ...
    def again(self, request: Any, turned_down: str, feedback: str) -> Any: ...
    def answer(self, result: Any) -> dict[str, Any]: ...
    def refusal(self, text: str) -> Any: ...
    def refusal_chunk(self, text: str) -> Any: ...
    def tell_asked(self, flow: Flow, request: Any, tools: Any) -> None: ...
    def tell_answered(self, flow: Flow, result: Any) -> None: ...


class Asked:
    """One call of one model behind one guard.

    `ask` is what lies behind it, `told` what callbacks said of it, `said` what its config says, `given` the
    arguments of this call besides.
    """

    __slots__ = ("ask", "form", "given", "guard", "ls_params", "model", "said", "told")

    def __init__(
        self,
        form: Form,
        model: Any,
        guard: Guard,
        ls_params: Any,
        told: Sequence[Handoff],
        ask: Callable[[Any], Any],
        said: Said | None,
        given: Mapping[str, Any] = convert.NOTHING,
    ) -> None:
        self.form, self.model, self.guard = form, model, guard
        self.ls_params, self.told, self.ask, self.said, self.given = ls_params, told, ask, said, given

    def flow(self, *, streamed: bool) -> Flow:
        call = convert.model_call(self.form.operation, self.ls_params, self.model.__dict__, self.given)
        if streamed:
            call = call.but(streamed=True)
        if self.said is not None:
            call = with_session(call, *self.said)
        told = self.told
        if not told:
            return Flow(self.guard, call, owner=self.model)
        # A span of a guard that nobody listens to would swallow this one.
        spans = (handoff.span for handoff in told if not handoff.guard.emitter.silent)
        return Flow(
            self.guard,
            call,
            owner=self.model,
            parent=next((handoff.parent for handoff in told if handoff.parent is not None), None),
            span=next(filter(None, spans), None),
            outermost=next((handoff.outermost for handoff in told if handoff.guard is self.guard), None),
            root=next((handoff.root for handoff in told if handoff.guard is self.guard), None),
        )


def whole(asked: Asked, request: Any) -> Steps[Any]:
    """One request, answered in one piece."""
    guard = asked.guard
    try:
        with asked.flow(streamed=False) as flow:
            if not flow.policy.idle or flow.violated:
                request = yield Judge(guard, asked.form.admitted(flow, request))
                asked.form.tell_asked(flow, request, asked.given.get("tools"))
            result = yield Ask(flow.active, partial(asked.ask, request))
            return (yield from settled(asked, flow, request, result))
    except GuardrailViolation:
        if guard.refusal is None:
            raise
        return asked.form.refusal(guard.refusal)


def settled(asked: Asked, flow: Flow, request: Any, result: Any) -> Steps[Any]:
    """The answer as it may leave, once the model has been asked again as often as it has to be; ends the flow."""
    while not flow.transparent:
        try:
            result = yield Judge(asked.guard, asked.form.released(flow, result))
            break
        except AskAgain as again:
            request = asked.form.again(request, again.answer, again.feedback)
            result = yield Ask(flow.active, partial(asked.ask, request))
    if flow.content is not None:
        asked.form.tell_answered(flow, result)
    flow.answered(**asked.form.answer(result))
    return result


def together(askeds: Sequence[Asked], requests: Sequence[Any], ask: Callable[[list[Any]], Any]) -> Steps[list[Any]]:
    """Several requests, each a call of its own, for which the model is asked once.

    Args:
        askeds: for each request.
        requests: what is asked.
        ask: asks all at once; gives a result for each.
    """
    guard, form = askeds[0].guard, askeds[0].form
    results: list[Any] = [None] * len(requests)
    with ExitStack() as stack:
        flows = [stack.enter_context(asked.flow(streamed=False)) for asked in askeds]
        admitted: dict[int, Any] = {}

        def turned_down(at: int, violation: GuardrailViolation) -> None:
            if guard.refusal is None:
                raise violation
            flows[at].failed(violation)
            results[at] = form.refusal(guard.refusal)

        for at, (flow, request) in enumerate(zip(flows, requests, strict=True)):
            try:
                admitted[at] = yield Judge(guard, form.admitted(flow, request))
                form.tell_asked(flow, admitted[at], None)
            except GuardrailViolation as violation:  # noqa: PERF203 - of each its own
                turned_down(at, violation)
        if admitted:
            told = yield Ask(flows[next(iter(admitted))].active, partial(ask, list(admitted.values())))
            for at, result in zip(admitted, told, strict=True):
                try:
                    results[at] = yield from settled(askeds[at], flows[at], admitted[at], result)
                except GuardrailViolation as violation:  # noqa: PERF203 - as above
                    turned_down(at, violation)
    return results


def streamed(asked: Asked, request: Any) -> Steps[None]:
    """One request, answered in pieces."""
    guard, form = asked.guard, asked.form
    try:
        with asked.flow(streamed=True) as flow:
            admitted = request
            if not flow.policy.idle or flow.violated:
                admitted = yield Judge(guard, form.admitted(flow, request))
                form.tell_asked(flow, admitted, asked.given.get("tools"))
            while True:
                try:
                    gate = yield from _pieces(asked, flow, asked.ask(admitted))
                    break
                except AskAgain as again:
                    admitted = form.again(admitted, again.answer, again.feedback)
            flow.answered(**gate.answer())
    except GuardrailViolation:
        if guard.refusal is None:
            raise
        yield Emit(form.refusal_chunk(guard.refusal))


def _pieces(asked: Asked, flow: Flow, source: Any) -> Steps[Answered]:  # noqa: C901 - one loop, whose order is the point
    pull = Pull(flow.active, source, apart=True, times=flow.span.timed())
    if flow.policy.idle and flow.transparent:
        facts = asked.form.facts()
        yield Relay(pull, facts.note)
        return facts
    stream_ = flow.stream(reask=True)
    gate = asked.form.gate(stream_)
    left: list[Any] | None = None if flow.content is None else []
    while (chunk := (yield pull)) is not END:
        for free in gate.feed(chunk):
            if left is not None:
                left.append(free)
            yield Emit(free)
        if stream_.racing:
            for free in gate.settled((yield Judge(asked.guard, stream_.settle()))):
                if left is not None:
                    left.append(free)
                yield Emit(free)
    for free in gate.finish((yield Judge(asked.guard, stream_.finish()))):
        if left is not None:
            left.append(free)
        yield Emit(free)
    if left is not None:
        tell_streamed(flow, left)
    return gate


def passes(model: Any, guard: Guard) -> bool:
    """A call from inside this model, or from a scorer, is not judged again; a judge's has a span all the same."""
    return unseen() or reentered(model, guard)


def heard(guard: Guard, run_manager: Any) -> Any:
    """The run manager that a provider may tell of raw tokens: none while the output is guarded."""
    rules = () if guard.idle else [rule for policy in guard.policies for rule in policy.guardrails]
    hidden = any(rule.stage in ("output", "tool_call") or rule.action == "pseudonymize" for rule in rules)
    return None if hidden else run_manager


def telling(method: Callable[..., Any], run_manager: Any) -> Callable[..., Any]:
    """`method`, which is given the run manager if it takes one."""
    return partial(method, run_manager=run_manager) if _takes_run_manager(method) else method


@lru_cache(maxsize=256)
def _takes_run_manager(method: Callable[..., Any]) -> bool:
    return "run_manager" in inspect.signature(method).parameters


def iterated(method: Callable[..., Any]) -> Callable[..., Any]:
    """`method`, whose stream may be any iterable."""
    return lambda *args, **kwargs: iter(method(*args, **kwargs))


def aiterated(method: Callable[..., Any]) -> Callable[..., Any]:
    """`iterated`, for async streams."""
    return lambda *args, **kwargs: aiter(method(*args, **kwargs))
