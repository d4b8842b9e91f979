"""Gates: where inside a tool or a retriever its result is judged, before LangChain tells callbacks of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from typing import Any, Final

from llmguard_middleware import GuardrailViolation
from llmguard_middleware._flow import Flow
from llmguard_middleware._judge import Plan
from llmguard_middleware._steps import Ask, Judge, Steps, arun, run

__all__ = ["LATER", "Gate", "gated"]

LATER: Final = object()

_gate: ContextVar[Gate | None] = ContextVar("llmguard_langchain_gate", default=None)


class Gate:
    """The gate of one call.

    Args:
        flow: the call.
        judge: what makes of the result what may leave; `LATER` if only the call's own result can be judged.
        judge_error: the same for an error, whose text may become the result.

    Attributes:
        passed: what it let pass last; None if nothing came by.
    """

    def __init__(
        self,
        flow: Flow,
        judge: Callable[[Flow, Any], Plan[Any]],
        judge_error: Callable[[Flow, Exception], Plan[Exception]] | None = None,
    ) -> None:
        self.flow, self._judge, self._judge_error = flow, judge, judge_error
        self.passed: Any = None

    @contextmanager
    def open(self) -> Iterator[None]:
        """Make the call the current one, and this its gate."""
        with self.flow.active():
            token = _gate.set(self)
            try:
                yield
            finally:
                with suppress(ValueError):  # thrown away, a coroutine unwinds in another context
                    _gate.reset(token)

    def steps(self, method: Callable[[], Any]) -> Steps[Any]:
        """Call a method of the thing itself, and judge what it gives."""
        guard = self.flow.guard
        failure = None
        try:
            result = yield Ask(nullcontext, method)
        except Exception as error:
            if self._judge_error is None or isinstance(error, GuardrailViolation):
                raise
            failure = error
        if failure is not None and self._judge_error is not None:  # here it is no context of what takes its place
            raise (yield Judge(guard, self._judge_error(self.flow, failure)))
        if result is self.passed and result is not None:  # one of the methods called the other
            return result
        told = yield Judge(guard, self._judge(self.flow, result))
        if told is LATER:
            return result
        self.passed = told
        return told


def gated(base: type[Any], framework: type[Any], names: tuple[str, str]) -> dict[str, Any]:
    """The sync and the async method of these names with the call's gate behind them, where `base` has its own.

    They look as they did: LangChain reads their signatures.
    """
    sync, later = (getattr(base, name) for name in names)

    @functools.wraps(sync)
    def now(self: Any, *args: Any, **kwargs: Any) -> Any:
        method = functools.partial(sync, self, *args, **kwargs)
        gate = _of(self)
        return method() if gate is None else run(gate.steps(method))

    @functools.wraps(later)
    async def awaited(self: Any, *args: Any, **kwargs: Any) -> Any:
        method = functools.partial(later, self, *args, **kwargs)
        gate = _of(self)
        return await (method() if gate is None else arun(gate.steps(method)))

    found = {names[0]: now}
    return found if later is getattr(framework, names[1]) else {**found, names[1]: awaited}


def _of(thing: Any) -> Gate | None:
    """The gate of the call of this very thing."""
    gate = _gate.get()
    return gate if gate is not None and gate.flow.owner is vars(thing) else None
