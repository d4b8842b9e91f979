"""instrument(): a guard for every chain of the process, with no callback passed."""

from __future__ import annotations

import threading
from typing import Any

from llmguard_middleware import Guard
from llmguard_middleware._environment import ByEnvironment, guard_or_environments

from ._handler import GuardCallback

__all__ = ["Instrumentor", "instrument", "uninstrument"]


class _Hook:
    """What LangChain asks for a handler whenever it configures a run: a ContextVar with one value for all contexts.

    LangChain cannot be told to forget a hook, so an empty one waits for the next guard.
    """

    def __init__(self) -> None:
        from langchain_core.tracers.context import register_configure_hook  # noqa: PLC0415 - it imports LangSmith

        self.callback: GuardCallback | None = None
        hook: Any = self
        register_configure_hook(hook, inheritable=True)

    def get(self) -> GuardCallback | None:
        return self.callback


_hooks: list[_Hook] = []
_lock = threading.Lock()


def instrument(guard: Guard | None = None) -> Guard:
    """Put a `GuardCallback` into every chain, model, retriever and tool that this process runs from now on.

    What a callback cannot enforce is refused at the first model start, as everywhere; models made by `protect` with the
    same guard enforce it. The same guard again changes nothing, another one is added.

    Args:
        guard: whose rules apply; if None, one of the file that the environment variable `LLMGUARD_CONFIG` names.

    Returns:
        The guard.

    Raises:
        ConfigurationError: if no guard is given and `LLMGUARD_CONFIG` is not set, or its file has mistakes.
        UnenforceableError: for rules of stages that a callback does not reach.
    """
    guard = guard_or_environments(guard)
    callback = GuardCallback(guard)
    with _lock:
        if not any(hook.callback is not None and hook.callback.guard is guard for hook in _hooks):
            free = next((hook for hook in _hooks if hook.callback is None), None)
            if free is None:
                _hooks.append(free := _Hook())
            free.callback = callback
    return guard


def uninstrument(guard: Guard | None = None) -> None:
    """Undo `instrument` for this guard, or for all; runs under way are told to their ends."""
    with _lock:
        for hook in _hooks:
            if hook.callback is not None and guard in (None, hook.callback.guard):
                hook.callback = None


class Instrumentor(ByEnvironment):
    """The entry point of `opentelemetry-instrument`."""

    on, off = staticmethod(instrument), staticmethod(uninstrument)
