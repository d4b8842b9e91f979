"""What the nodes of one agent run share: its span, what stopped it, what its guard knows of its texts.

LangGraph runs every node in a copy of its caller's context, so nothing that a node says in a ContextVar reaches the
next. It travels in a channel of the graph's state instead, which makes a new `AgentRun` whenever a run starts or is
resumed, is written by nobody, and is never stored.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

from langgraph.channels import UntrackedValue

from llmguard_middleware import Call, Guard, GuardrailViolation
from llmguard_middleware._current import around
from llmguard_middleware._flow import Flow
from llmguard_middleware._root import Root
from llmguard_middleware.telemetry._call_span import CallSpan

from .. import _convert as convert
from .._handoff import above as lies_above

__all__ = ["KEY", "AgentRun", "GuardedRun", "RunChannel"]

KEY = "llmguard_run"


class AgentRun(dict[str, Any]):
    """One run of an agent. Empty as a mapping: whoever prints, copies or stores a state finds nothing in it."""

    def __init__(self) -> None:
        super().__init__()
        self._guarded: dict[int, GuardedRun] = {}
        self._lock = Lock()

    def under(self, guard: Guard, begin: Callable[[CallSpan | None], GuardedRun]) -> GuardedRun:
        """This run under one guard; `begin` opens it for the first node that asks, in the span of another guard's."""
        with self._lock:  # tools that run in parallel may be the first after an interrupt
            run = self._guarded.get(id(guard))
            if run is None:
                other = next(iter(self._guarded.values()), None)
                run = self._guarded[id(guard)] = begin(None if other is None else other.flow.span)
                weakref.finalize(self, run.dropped.end).atexit = False
            return run

    def __copy__(self) -> AgentRun:
        return self

    def __deepcopy__(self, _: Any) -> AgentRun:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, ()


class RunChannel(UntrackedValue[Any]):
    """The state channel that holds an `AgentRun`, a new one for each run."""

    __slots__ = ()

    def from_checkpoint(self, checkpoint: Any) -> Any:
        """The channel as a run finds it."""
        fresh = super().from_checkpoint(checkpoint)
        fresh.value = AgentRun()
        return fresh

    def update(self, values: Sequence[Any]) -> bool:
        """Nobody writes here."""
        return False


class _Dropped:
    """How the span of a run ends that no node ends: another node failed, asked a person, or was cancelled.

    Only the kind of the last error is kept: the error itself would keep the frames that keep the run.
    """

    def __init__(self, flow: Flow | None) -> None:
        self._flow = flow
        self._error: BaseException | None = None
        self._interrupted = False

    def note(self, error: BaseException, *, interrupted: bool) -> None:
        kind = type(error)
        names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
        self._interrupted, self._error = (
            interrupted,
            None if interrupted else type(kind.__name__, (Exception,), names)(),
        )

    def end(self) -> None:
        if self._flow is None:
            return
        if self._error is not None:
            self._flow.failed(self._error)
        elif self._interrupted:
            self._flow.interrupted()
        else:
            self._flow.abandoned()


class GuardedRun:
    """One run of an agent under one guard.

    Attributes:
        flow: the whole run, whose calls below it find what they share.
        owned: whether its span is ended here, and not by the GuardCallback that started it.
    """

    def __init__(self, flow: Flow, *, owned: bool, protected: Sequence[Flow] = ()) -> None:
        flow.relays = True
        self.flow, self.owned, self._protected = flow, owned, protected
        self.dropped = _Dropped(flow if owned else None)

    @classmethod
    def begin(
        cls, guard: Guard, state: Any, config: Any, span: CallSpan | None = None, *, middleware: object = None
    ) -> GuardedRun:
        """Open the span of a run, or join the one that another guard, a GuardCallback or `protect` started."""
        metadata = config.get("metadata") or {}
        messages = tuple(convert.read(state["messages"]))
        asked = next((message.text for message in reversed(messages) if message.role == "user"), None)
        call = Call(
            "invoke_agent",
            name=str(metadata.get("lc_agent_name") or ""),
            messages=messages,
            inputs={} if asked is None else convert.inputs(asked),
            conversation=str((config.get("configurable") or {}).get("thread_id") or ""),
        )
        if protected := _protected(middleware):
            for flow in protected:
                flow.turned_out(_agent(flow.call, call))
            return cls(Flow(guard, call, span=protected[-1].span), owned=True, protected=protected)
        told = _callbacks(config)
        above = next((flow for flow in told if flow.guard.identity is guard.identity), None)
        taken = above is None or above.relays or above.call.operation != "invoke_agent"
        if taken and any(flow.guard.identity is guard.identity for flow in around()):
            # An agent that another one called as its tool, for which no callback has started a span.
            return cls(Flow(guard, call, span=span), owned=True)
        if above is None:
            joined = [flow.span for flow in told if flow.call.operation == "invoke_agent"]
            handed = [one for one in lies_above(config.get("callbacks")) if one.guard.identity is guard.identity]
            parent = next((one.parent for one in handed), None)  # a call that nobody judges is no Flow
            return cls(Flow(guard, call, span=span or next(iter(joined), None), parent=parent), owned=True)
        if above.call.operation == "invoke_agent":
            above.call = above.call.but(messages=messages, inputs=call.inputs)
            return cls(above, owned=False)
        flow = Flow(guard, call, parent=above.span.context, span=span, root=above.root, outermost=False)
        return cls(flow, owned=True)

    @property
    def root(self) -> Root:
        """What all calls of the run share."""
        return self.flow.root

    @property
    def stopped(self) -> bool:
        """Whether a guardrail stopped the run."""
        return self.root.violation is not None

    def stop(self, violation: GuardrailViolation) -> None:
        """A guardrail stopped a call of this run, and with it the run."""
        if self.root.violation is None:
            self.root.violation = violation
        if self.owned:
            self.flow.failed(self.root.violation)

    def end(self, output: Any) -> None:
        """The run is over.

        Raises:
            GuardrailViolation: what stopped a call of it.
        """
        if self.root.violation is not None:
            self.stop(self.root.violation)
            raise self.root.violation
        for flow in self._protected:
            flow.call = flow.call.but(output=output)
        if any(flow.guard.identity is self.flow.guard.identity for flow in self._protected):
            self.flow.interrupted()  # the answer is that of the call around, which monitors are given once
        elif self.owned:
            self.flow.answered(output=output, context=self.root.documents)


def _protected(middleware: object) -> list[Flow]:
    """The calls that are this very run: those of `protect` around the graph that has this middleware's nodes."""
    flows = around()
    owner = flows[-1].owner if flows else None
    nodes = owner.get("nodes") if isinstance(owner, dict) else None
    if not isinstance(nodes, Mapping) or not any(_is_of(node, middleware) for node in nodes.values()):
        return []
    return [flow for flow in flows if flow.owner is owner]


def _is_of(node: Any, middleware: object) -> bool:
    function = getattr(getattr(node, "bound", None), "func", None)
    return middleware is not None and getattr(function, "__self__", None) is middleware


def _agent(call: Call, told: Call) -> Call:
    """A call of a graph that turned out to be an agent's."""
    name = told.name or (call.name if call.operation == "invoke_agent" else "")
    return call.but(operation="invoke_agent", name=name, messages=told.messages, inputs=told.inputs)


def _callbacks(config: Any) -> list[Flow]:
    """The open calls of the GuardCallbacks that saw this run start."""
    manager = config.get("callbacks")
    found = [
        above(manager.parent_run_id)
        for handler in getattr(manager, "handlers", ())
        if (above := getattr(handler, "flow_above", None)) is not None
    ]
    return [flow for flow in found if flow is not None]
