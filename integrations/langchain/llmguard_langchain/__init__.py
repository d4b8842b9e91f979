"""LangChain adapter: guardrails, monitors and GenAI spans in every call mode."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ._callback import GuardCallback, instrument, uninstrument
from ._protect import protect

if TYPE_CHECKING:
    from ._middleware._hooks import GuardMiddleware
    from ._transformer import GuardTransformer

__all__ = ["GuardCallback", "GuardMiddleware", "GuardTransformer", "instrument", "protect", "uninstrument"]

_LATER = {"GuardMiddleware": "_middleware._hooks", "GuardTransformer": "_transformer"}


def __getattr__(name: str) -> Any:
    """What not every application needs is imported when it is asked for; GuardMiddleware alone needs `langchain`."""
    if name not in _LATER:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    if name == "GuardMiddleware" and find_spec("langchain") is None:
        msg = 'GuardMiddleware needs the package langchain: pip install "llmguard-langchain[agents]"'
        raise ImportError(msg)
    return getattr(import_module(f".{_LATER[name]}", __name__), name)
