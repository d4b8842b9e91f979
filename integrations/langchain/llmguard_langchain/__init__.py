"""LangChain adapter: guardrails, monitors and GenAI spans in every call mode."""

from ._callback import GuardCallback
from ._instrument import instrument, uninstrument
from ._protect import protect

__all__ = ["GuardCallback", "instrument", "protect", "uninstrument"]
