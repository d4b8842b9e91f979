"""instrument: spans and monitors for everything that LlamaIndex does in a process."""

from ._switch import instrument, uninstrument

__all__ = ["instrument", "uninstrument"]
