"""Ops: plain functions with a guard around them, sync or async, whole or streamed."""

from __future__ import annotations

import codecs
import functools
import inspect
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from types import MethodType
from typing import Any, Generic, ParamSpec, TypeVar

from ._begun import held, said_when_made
from ._call import Call, Stage
from ._drive import inside_scorer
from ._feedback import RecordedCall
from ._flow import AskAgain, Flow, innermost
from ._guard import Guard
from ._items import judged_items
from ._judge import Plan
from ._leaves import leaves, opaque, with_leaves
from ._parameters import is_async
from ._scope import captured
from ._scorer import check_name
from ._steps import END, Ask, Emit, Judge, Pull, Steps, arun, astream, run, stream
from .errors import ConfigurationError, GuardrailViolation

__all__ = ["AsyncOp", "AsyncStreamOp", "Op", "StreamOp", "SyncOp", "make_op"]

P = ParamSpec("P")
R = TypeVar("R")

_FEEDBACK = "feedback"  # the parameter by which a function learns why its last answer was turned down


class Op(Generic[P, R]):
    """A guarded, traced function; use it as the function that it was made of.

    Every text in its arguments is judged at the input stage, every text in its result at the output stage. A function
    with a parameter `feedback` can be asked again (action `reask`).
    """

    def __init__(
        self, function: Callable[..., Any], guard: Guard, name: str, stages: tuple[Stage, Stage], *, opaque: bool
    ) -> None:
        functools.update_wrapper(self, function, updated=())  # type: ignore[arg-type]  # each kind of op is callable
        self._function, self._guard, self.name = function, guard, name
        self._stages, self._opaque = stages, opaque
        self._signature = inspect.signature(function)
        self._learns = _FEEDBACK in self._signature.parameters

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if instance is None:
            return self
        method = MethodType(self._function, instance)
        return type(self)(method, self._guard, self.name, self._stages, opaque=self._opaque)

    def is_guarded_by(self, guard: Guard) -> bool:
        """Whether this guard is around the function already."""
        return self._guard is guard or (isinstance(self._function, Op) and self._function.is_guarded_by(guard))

    def _asked(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
        bound = self._signature.bind(*args, **kwargs)  # raises TypeError, as the function would
        bound.apply_defaults()
        return bound

    def _flow(self, bound: inspect.BoundArguments, *, streamed: bool) -> Flow:
        self._guard.expect_covered(f'op "{self.name}"')
        operation = "execute_tool" if self._stages[1] == "tool_result" else "invoke_workflow"
        call = Call(operation, self.name, inputs=_named(bound), streamed=streamed)
        around = innermost()
        # An op of an op is one call under two guards, the outer one's first, and one span.
        shared = around.span if around is not None and _is_around(around.owner, self) else None
        return Flow(self._guard, call, owner=self, span=shared)

    def _admitted(self, flow: Flow, bound: inspect.BoundArguments) -> Steps[None]:
        """Judge the arguments, and put what may go on in their place.

        Objects that nobody can look into pass: they are the program's own. What is read only once does not, unjudged.
        """
        if any(isinstance(value, (Iterator, AsyncIterator)) for value in bound.arguments.values()):
            rules = [rule for rule in flow.rules(self._stages[0]) if rule.acts]
            where = f'op "{self.name}", which was given an iterator,'
            self._guard.refuse(rules, where, "pass a list of what it gives")
        kinds = [self._signature.parameters[name].kind for name in bound.arguments]
        given = [  # names are the program's, those of **kwargs as well
            list(value.values()) if kind is inspect.Parameter.VAR_KEYWORD else value
            for kind, value in zip(kinds, bound.arguments.values(), strict=True)
        ]
        texts = yield Judge(self._guard, flow.judge_all(leaves(given), self._stages[0]))
        told = with_leaves(given, texts)
        for name, kind, value in zip(list(bound.arguments), kinds, told, strict=True):
            named = kind is inspect.Parameter.VAR_KEYWORD
            bound.arguments[name] = dict(zip(bound.arguments[name], value, strict=True)) if named else value
        flow.call = flow.call.but(inputs=_named(bound))

    def _judged(self, flow: Flow, texts: list[str]) -> Plan[list[str]]:
        if self._stages[1] == "output":
            return flow.release(texts, reask=self._learns)
        return flow.judge_all(texts, self._stages[1])

    def _whole(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Steps[tuple[Any, RecordedCall]]:
        guard, bound = self._guard, self._asked(args, kwargs)
        flow = self._flow(bound, streamed=False)
        try:
            with flow:
                yield from self._admitted(flow, bound)
                while True:
                    result = yield Ask(flow.active, functools.partial(self._function, *bound.args, **bound.kwargs))
                    self._scannable(flow, result)
                    try:
                        texts = yield Judge(guard, self._judged(flow, leaves(result)))
                        break
                    except AskAgain as again:
                        bound.arguments[_FEEDBACK] = again.feedback
                result = with_leaves(result, texts)
                flow.answered(output=result)
        except GuardrailViolation:
            if guard.refusal is None:
                raise
            result = guard.refusal
        return result, RecordedCall.of(flow.call, guard, flow.span.context)

    def _streamed(self, args: tuple[Any, ...], kwargs: dict[str, Any], done: Callable[[Call], None]) -> Steps[None]:
        guard, bound = self._guard, self._asked(args, kwargs)
        flow = self._flow(bound, streamed=True)
        try:
            with flow:
                yield from self._admitted(flow, bound)
                while True:
                    source = self._function(*bound.args, **bound.kwargs)
                    try:
                        said = yield from self._pieces(flow, source)
                        break
                    except AskAgain as again:
                        bound.arguments[_FEEDBACK] = again.feedback
                flow.answered(output=said)
        except GuardrailViolation:
            if guard.refusal is None:
                raise
            yield Emit(guard.refusal)
        done(RecordedCall.of(flow.call, guard, flow.span.context))

    def _pieces(self, flow: Flow, source: Any) -> Steps[Any]:  # noqa: C901 - one loop, whose order is the point
        """Emit what the source gives: texts through a guarded stream; other items at its end, if a rule may act."""
        guard, gate = self._guard, flow.stream(reask=self._learns)
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        said: list[str] = []
        late: list[str] = []
        others: list[Any] = []
        binary = False
        while (item := (yield Pull(flow.active, source))) is not END:
            if isinstance(item, (str, bytes)):
                binary = isinstance(item, bytes)
                free = gate.feed(decoder.decode(item) if isinstance(item, bytes) else item)
                if gate.racing:
                    free = yield Judge(guard, gate.settle())
                said.append(free)
                if others and gate.acts:
                    late.append(free)  # whatever came in between must not overtake it
                elif free:
                    yield Emit(_encoded(free) if binary else free)
                continue
            others.append(item)
            if not gate.acts:
                yield Emit(item)
        if binary and (end := decoder.decode(b"", final=True)):
            late.append(gate.feed(end))
        late.append((yield Judge(guard, gate.finish())))
        if rest := "".join(late):
            said.append(late[-1])
            yield Emit(_encoded(rest) if binary else rest)
        if others:
            for item in others:
                self._scannable(flow, item)
            told = yield from judged_items(flow, others)
            if gate.acts:
                for item in told:
                    yield Emit(item)
            others = told
        return [*(["".join(said)] if said else []), *others] if others else "".join(said)

    def _scannable(self, flow: Flow, result: Any) -> None:
        """Refuse a result that holds what cannot be judged, if a guardrail that acts would have to."""
        if self._opaque or not (rules := [rule for rule in flow.rules(self._stages[1]) if rule.acts]):
            return
        if unknown := opaque(result):
            hint = "put @guard.op on the generator itself" if "gen" in unknown[0] else "return texts, dicts or models"
            where = f'op "{self.name}", whose result holds a {unknown[0]} that nobody can look into,'
            self._guard.refuse(rules, where, f"{hint}, or say @guard.op(opaque=True) if it holds no text")


class SyncOp(Op[P, R]):
    """An op of a function."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if inside_scorer.get():  # a scorer's own call is not judged in turn
            return self._function(*args, **kwargs)  # type: ignore[no-any-return]  # what it was made of
        done: Any = run(self._whole(args, kwargs), late=True)
        return _first(done) if inspect.isawaitable(done) else done[0]  # type: ignore[return-value]  # as its function

    def call(self, *args: P.args, **kwargs: P.kwargs) -> tuple[R, RecordedCall]:
        """The result, and the call with its scores; awaitable if the function turns out to be async."""
        return run(self._whole(args, kwargs), late=True)


class AsyncOp(Op[P, R]):
    """An op of an async function."""

    @said_when_made
    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if inside_scorer.get():
            return await self._function(*args, **kwargs)  # type: ignore[no-any-return]  # as its function
        return (await arun(self._whole(args, kwargs)))[0]  # type: ignore[no-any-return]  # as its function

    @said_when_made
    async def call(self, *args: P.args, **kwargs: P.kwargs) -> tuple[R, RecordedCall]:
        """The result, and the call with its scores."""
        return await arun(self._whole(args, kwargs))


class StreamOp(Op[P, R]):
    """An op of a generator function."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        if inside_scorer.get():
            return self._function(*args, **kwargs)  # type: ignore[no-any-return]  # as its function
        return held(stream(self._streamed(args, kwargs, lambda _: None)), captured())  # type: ignore[no-any-return]  # as it was

    def call(self, *args: P.args, **kwargs: P.kwargs) -> tuple[list[R], RecordedCall]:
        """All items, and the call with its scores."""
        calls: list[Any] = []
        items = list(stream(self._streamed(args, kwargs, calls.append)))
        return items, calls[0]


class AsyncStreamOp(Op[P, R]):
    """An op of an async generator function."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R]:
        if inside_scorer.get():
            return self._function(*args, **kwargs)  # type: ignore[no-any-return]  # as its function
        return held(astream(self._streamed(args, kwargs, lambda _: None)), captured())  # type: ignore[no-any-return]  # as it was

    @said_when_made
    async def call(self, *args: P.args, **kwargs: P.kwargs) -> tuple[list[R], RecordedCall]:
        """All items, and the call with its scores."""
        calls: list[Any] = []
        items = [item async for item in astream(self._streamed(args, kwargs, calls.append))]
        return items, calls[0]


def make_op(
    guard: Guard,
    function: Any,
    name: str | None,
    stages: tuple[Stage, Stage] = ("input", "output"),
    *,
    opaque: bool = False,
) -> Op[Any, Any]:
    """The op of a function, sync or async, whole or streamed.

    Raises:
        ConfigurationError: if it is no function.
    """
    if isinstance(function, (staticmethod, classmethod)):
        msg = f"@guard.op goes below @{type(function).__name__}: swap the two decorators"
        raise ConfigurationError(msg)
    if isinstance(function, type) or not callable(function):
        msg = f"@guard.op is for functions and was put on {getattr(function, '__name__', type(function).__name__)}"
        raise ConfigurationError(msg)
    own = re.sub(r"\W+", "-", getattr(function, "__name__", "")).strip("_-")
    if isinstance(function, Op):
        inner: Op[Any, Any] = function
        if inner.is_guarded_by(guard):
            return inner
        guard.covers(*stages)
        return type(inner)(inner, guard, name or inner.name, stages, opaque=opaque)  # type: ignore[arg-type]  # is callable
    named = check_name(name or own or "op", "op")
    kind: type[Op[Any, Any]] = SyncOp
    if inspect.isasyncgenfunction(function):
        kind = AsyncStreamOp
    elif inspect.isgeneratorfunction(function):
        kind = StreamOp
    elif is_async(function):
        kind = AsyncOp
    try:
        op = kind(function, guard, named, stages, opaque=opaque)
    except ValueError:
        msg = f'the parameters of "{named}" cannot be read; wrap it in a function that names them'
        raise ConfigurationError(msg) from None
    if stages[1] != "output" and kind in (StreamOp, AsyncStreamOp):
        msg = f'op "{named}" gives a stream, which is judged at the output stage only; let it return a list'
        raise ConfigurationError(msg)
    guard.covers(*stages)
    return op


async def _first(done: Any) -> Any:
    return (await done)[0]


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _is_around(owner: object, op: Op[Any, Any]) -> bool:
    return isinstance(owner, Op) and getattr(owner._function, "__func__", owner._function) is op  # noqa: SLF001 - one of us


def _named(bound: inspect.BoundArguments) -> Mapping[str, Any]:
    """The arguments by name; those of **kwargs by their own."""
    named: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        if bound.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            named.update(value)
        elif name != "self":
            named[name] = value
    return named
