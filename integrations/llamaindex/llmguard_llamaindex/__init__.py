"""LlamaIndex adapter of llmguard_middleware: guardrails, monitors and spans around LLMs, query engines, the process."""

from ._attach import attach, detach
from ._instrument import instrument, uninstrument
from ._postprocess import GuardPostprocessor
from ._protect import protect

__all__ = ["GuardPostprocessor", "attach", "detach", "instrument", "protect", "uninstrument"]
