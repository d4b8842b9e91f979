"""The guarded calls that this code runs inside of."""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING

from opentelemetry import context as otel

from ._asking import judge_asking

if TYPE_CHECKING:
    from ._flow import Flow
    from ._guard import Guard

__all__ = ["Active", "around", "innermost", "reentered", "surrounded"]

_inside: ContextVar[tuple[Flow, ...]] = ContextVar("llmguard_flows", default=())


def around() -> tuple[Flow, ...]:
    """The flows that this code runs inside of, outermost first; in a judge's question only those that began in it."""
    flows = _inside.get()
    if not flows or (question := judge_asking()) is None:
        return flows
    return tuple(flow for flow in flows if flow.question is question)


def reentered(owner: object, guard: Guard) -> bool:
    """Whether `guard` is already around `owner` here, its async method having called its sync one, say."""
    return any(flow.owner is owner and flow.guard is guard for flow in around())


def surrounded(owner: object) -> bool:
    """Whether another guard is around this very call of `owner`: an inner one shares its span."""
    flows = around()
    return bool(flows) and flows[-1].owner is owner


def innermost() -> Flow | None:
    """The flow that this code runs inside of, if it does."""
    flows = around()
    return flows[-1] if flows else None


class Active:
    """The context manager of `Flow.active`; written out, since a stream enters one for every piece."""

    __slots__ = ("_attached", "_flow", "_token")

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    def __enter__(self) -> None:
        flow = self._flow
        self._token = _inside.set((*_inside.get(), flow))
        self._attached = otel.attach(flow.span.context) if flow.span.leads else None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A coroutine that is thrown away unwinds in another context, where there is nothing to put back.
        with suppress(ValueError):
            _inside.reset(self._token)
            if self._attached is not None:
                otel.detach(self._attached)
