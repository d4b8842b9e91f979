"""LangChain adapter: guardrails, monitors and GenAI spans in every call mode."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ._callback import GuardCallback, instrument, uninstrument
from ._protect import protect

if TYPE_CHECKING:
    from ._middleware._hooks import GuardMiddleware

__all__ = ["GuardCallback", "GuardMiddleware", "instrument", "protect", "uninstrument"]


def __getattr__(name: str) -> Any:
    """GuardMiddleware, which alone needs `langchain`, is imported when it is asked for."""
    if name != "GuardMiddleware":
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    if find_spec("langchain") is None:
        msg = 'GuardMiddleware needs the package langchain: pip install "llmguard-langchain[agents]"'
        raise ImportError(msg)
    from ._middleware._hooks import GuardMiddleware  # noqa: PLC0415 - loads langchain and langgraph

    return GuardMiddleware
