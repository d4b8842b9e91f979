"""GuardCallback: spans, monitors and blocking for chains that stay as they are; for every chain of a process."""

from ._handler import GuardCallback
from ._instrument import instrument, uninstrument

__all__ = ["GuardCallback", "instrument", "uninstrument"]
