"""instrument() and uninstrument(): our two handlers on LlamaIndex's root dispatcher, and off again."""

from __future__ import annotations

import threading

from llama_index_instrumentation import get_dispatcher

from llmguard_middleware import Guard
from llmguard_middleware._checks import expect_bool, expect_seconds
from llmguard_middleware._environment import ByEnvironment, guard_or_environments
from llmguard_middleware._guard import expect_guard

from ._calls import Calls
from ._handlers import Events, Spans

__all__ = ["Instrumentor", "instrument", "uninstrument"]

_INSTEAD = "use protect(llm, guard) or attach(engine, guard)"
_lock = threading.Lock()


def instrument(guard: Guard | None = None, *, synthesis: bool = False, idle: float = 900.0) -> Guard:
    """Trace and monitor everything that LlamaIndex does in this process until `uninstrument()`.

    One span each for queries and turns of chat engines, workflows and agents, retrievals, embeddings, rerankers, tools
    and models; the monitors score the outermost. What is protected or attached already is left to its own guard, and
    lies in the same tree. Guardrails with action "log" are recorded. The same guard again changes nothing.

    Args:
        guard: its monitors score each outermost call; if None, one of the file that the environment variable
            `LLMGUARD_CONFIG` names.
        synthesis: give response synthesizers spans, too.
        idle: seconds without a word after which the span of a stream that somebody holds open is ended as abandoned.

    Returns:
        The guard.

    Raises:
        ConfigurationError: if no guard is given and `LLMGUARD_CONFIG` is not set, or its file has mistakes.
        UnenforceableError: if the guard has an acting guardrail: LlamaIndex's handlers cannot stop or change a call.
    """
    guard = refused = guard_or_environments(guard)
    expect_bool(synthesis, "synthesis of instrument")
    expect_seconds(idle, "idle of instrument")
    guard.require("instrument(guard)", lambda policy: refused.refuse(policy.guardrails, "instrument(guard)", _INSTEAD))
    with _lock:
        now = _calls()
        if not any(calls.guard is guard for calls in now):
            _set((*now, Calls(guard, synthesis=synthesis, idle=idle)))
    return guard


def uninstrument(guard: Guard | None = None) -> None:
    """Undo `instrument` for this guard, or for all; spans of calls still under way end as abandoned.

    Raises:
        ConfigurationError: if `guard` is neither a guard nor None.
    """
    if guard is not None:
        expect_guard(guard, "uninstrument(guard)")
    with _lock:
        now = _calls()
        left = tuple(calls for calls in now if guard not in (None, calls.guard))
        _set(left)
    for calls in now:
        if calls not in left:
            calls.close()


def _calls() -> tuple[Calls, ...]:
    return next((handler.guards for handler in get_dispatcher().span_handlers if isinstance(handler, Spans)), ())


def _set(guards: tuple[Calls, ...]) -> None:
    """Put handlers for these on the root dispatcher, if there are any, in place of those for others."""
    root = get_dispatcher()
    # New lists: a call that goes through the old ones meanwhile must not miss our neighbours.
    others = [handler for handler in root.event_handlers if not isinstance(handler, Events)]
    root.event_handlers = [*others, Events(guards=guards)] if guards else others
    neighbours = [handler for handler in root.span_handlers if not isinstance(handler, Spans)]
    root.span_handlers = [*neighbours, Spans(guards=guards)] if guards else neighbours


class Instrumentor(ByEnvironment):
    """The entry point of `opentelemetry-instrument`."""

    on, off = staticmethod(instrument), staticmethod(uninstrument)
