"""LlamaIndex adapter of llmguard_middleware: guardrails, monitors and spans around LLMs, query engines, the process."""

from ._attach import attach, detach
from ._instrument import instrument, uninstrument
from ._postprocess import GuardPostprocessor
from ._protect import protect
from ._transformer import GuardTransformer

__all__ = ["GuardPostprocessor", "GuardTransformer", "attach", "detach", "instrument", "protect", "uninstrument"]
