"""What goes through a guard's rules: messages, streamed chunks, and whatever holds texts."""

from ._chunks import ChunkGate
from ._messages import admitted, released

__all__ = ["ChunkGate", "admitted", "released"]
