"""One call of an LLM behind its guards, by messages or by a prompt, whole or streamed, from request to answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from llmguard_middleware import Guard, GuardrailViolation
from llmguard_middleware._asking import unseen
from llmguard_middleware._flow import AskAgain, Flow, reentered
from llmguard_middleware._steps import END, Ask, Emit, Judge, Pull, Relay, Steps, aopened, arun, opened, run

from ._content import tell_answer, tell_asked
from ._convert import facts
from ._forms import Form
from ._judged import THOUGHT, AnswerGate
from ._known import KnownCalls
from ._overrides import asked
from ._root import root_of
from ._seal import guards_of
from ._watched import note

__all__ = ["ASTREAMED", "AWHOLE", "STREAMED", "WHOLE", "guarded"]


def guarded(
    llm: Any, way: Way, form: Form, method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Callable[[Any], Any]:
    """`method` behind every guard of its LLM that is not around this code yet; a scorer's own calls pass.

    What a judge asks is behind them too, none of whose rules are for it: that has spans.
    """

    def ask(request: Any) -> Any:
        return method(request, *args, **kwargs)

    if unseen():
        return ask
    asked()
    for guard in guards_of(llm):
        if not reentered(llm, guard):
            ask = partial(_behind, way, Asked(llm, guard, form, kwargs, ask))
    return ask


def _behind(way: Way, asked: Asked, request: Any) -> Any:
    return way.runner(way.steps(asked, request))


@dataclass(slots=True, eq=False)  # not frozen: that costs, at every call
class Asked:
    """One method of one LLM behind one guard; `ask` is what lies behind it."""

    llm: Any
    guard: Guard
    form: Form
    options: dict[str, Any]
    ask: Callable[[Any], Any]

    def flow(self, *, streamed: bool) -> Flow:
        root = root_of(self.guard)
        call = _known.call(self.llm, self.options, streamed=streamed)
        if root is not None and root.context:
            call = call.but(context=root.context)
        return Flow(self.guard, call, owner=self.llm)


_known = KnownCalls()


def _whole(asked: Asked, request: Any) -> Steps[Any]:
    try:
        return (yield from _answered(asked, request))
    except GuardrailViolation as violation:
        if asked.guard.refusal is None:
            note(violation)
            raise
        return asked.form.refusal(_refused(asked.guard, asked.guard.refusal))


def _answered(asked: Asked, request: Any) -> Steps[Any]:
    guard, form, root = asked.guard, asked.form, root_of(asked.guard)
    with asked.flow(streamed=False) as flow:
        if not flow.policy.idle or flow.violated:
            request = yield Judge(guard, form.admitted(flow, request))
            tell_asked(flow, request, asked.options)
        while True:
            response = yield Ask(flow.active, partial(asked.ask, request))
            if flow.transparent:
                break
            try:
                response = yield Judge(guard, form.released(flow, response))
                break
            except AskAgain as again:
                request = form.again(request, again.answer, again.feedback)
        if flow.unheeded:
            flow.answered(**facts(response))
            return response
        output = form.answer(response)
        if root is not None:
            root.released.add(output)
        tell_answer(flow, response)
        flow.answered(output=output, **facts(response))
    return response


def _streamed(asked: Asked, request: Any) -> Steps[None]:
    guard, form, begun, said = asked.guard, asked.form, False, _Said()
    try:
        with asked.flow(streamed=True) as flow:
            if not flow.policy.idle or flow.violated:
                request = yield Judge(guard, form.admitted(flow, request))
                tell_asked(flow, request, asked.options)
            times = flow.span.timed()
            source = yield Ask(flow.active, partial(asked.ask, request))
            yield Emit(None)
            begun = True
            while True:
                try:
                    flow.answered(**(yield from _pieces(asked, flow, source, said, times)))
                    break
                except AskAgain as again:
                    request = form.again(request, again.answer, again.feedback)
                    times = flow.span.timed()
                    source = yield Ask(flow.active, partial(asked.ask, request))
    except GuardrailViolation as violation:
        if guard.refusal is None:
            note(violation)
            raise
        if not begun:
            yield Emit(None)
        _refused(guard, said.text + guard.refusal)
        yield Emit(form.refusal(guard.refusal, said.text))


def _refused(guard: Guard, text: str) -> str:
    """The answer in place of one that was stopped; it is not judged again."""
    if (root := root_of(guard)) is not None:
        root.released.add(text)
    return text


class _Said:
    """What has left of a streamed answer."""

    text = ""


def _pieces(asked: Asked, flow: Flow, source: Any, said: _Said, times: list[float] | None) -> Steps[dict[str, Any]]:
    """The chunks as they may leave; returns what `Flow.answered` takes."""
    guard, root = asked.guard, root_of(asked.guard)
    pull = Pull(flow.active, source, apart=True, times=times)
    if flow.transparent:
        heard = _Noted() if flow.unheeded else _Heard(asked.form, root)
        yield Relay(pull, heard)
        if isinstance(heard, _Heard):
            tell_answer(flow, heard.last)
        return heard.answer()
    stream = flow.stream(reask=True)
    gate = AnswerGate(asked.form, stream)

    last: Any = None

    def left(free: Any) -> Emit:
        nonlocal last
        last, said.text = free, gate.said
        if root is not None:
            root.passed(free.delta or "", free.additional_kwargs.get(THOUGHT) or "")
        return Emit(free)

    while (chunk := (yield pull)) is not END:
        for free in gate.feed(chunk):
            yield left(free)
        if stream.racing:
            for free in gate.settled((yield Judge(guard, stream.settle()))):
                yield left(free)
    for free in gate.finish((yield Judge(guard, stream.finish()))):
        yield left(free)
    tell_answer(flow, last)
    return gate.answer()


class _Noted:
    """Takes note of what is known of an answer whose text nobody needs."""

    def __init__(self) -> None:
        self._facts: dict[str, Any] = {}

    def __call__(self, chunk: Any) -> None:
        if chunk.raw is not None or chunk.additional_kwargs:
            self._facts |= facts(chunk)

    def answer(self) -> dict[str, Any]:
        """What `Flow.answered` takes."""
        return self._facts


class _Heard:
    """Takes note of the chunks of an answer that nobody has to look at."""

    def __init__(self, form: Form, root: Any) -> None:
        self._form, self._root = form, root
        self._pieces: list[str] = []
        self._facts: dict[str, Any] = {}
        self.last: Any = None

    def __call__(self, chunk: Any) -> None:
        self.last = chunk
        self._facts |= facts(chunk)
        piece = chunk.delta
        if piece:
            self._pieces.append(piece)
            if self._root is not None:
                self._root.passed(piece)

    def answer(self) -> dict[str, Any]:
        """What `Flow.answered` takes."""
        whole = "" if self._pieces or self.last is None else self._form.answer(self.last)
        return {"output": "".join(self._pieces) or whole, **self._facts}


@dataclass(frozen=True, slots=True)
class Way:
    """How a method answers: the steps of its call, and who carries them out."""

    steps: Callable[[Asked, Any], Steps[Any]]
    runner: Callable[[Steps[Any]], Any]


WHOLE = Way(_whole, run)
AWHOLE = Way(_whole, arun)
STREAMED = Way(_streamed, opened)
ASTREAMED = Way(_streamed, aopened)
