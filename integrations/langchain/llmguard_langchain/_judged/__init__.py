"""What goes through a guard's rules: messages, streamed chunks, and whatever holds texts."""

from ._chunks import ChunkGate
from ._messages import admitted, beside, examined, released

__all__ = ["ChunkGate", "admitted", "beside", "examined", "released"]
