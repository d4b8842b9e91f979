"""LangChain adapter: guardrails, monitors and GenAI spans in every call mode."""

from ._callback import GuardCallback
from ._protect import protect

__all__ = ["GuardCallback", "protect"]
