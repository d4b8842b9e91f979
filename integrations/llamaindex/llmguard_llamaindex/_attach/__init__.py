"""attach: an engine guarded in place, from the question to the last piece of its answer."""

from ._attach import attach, detach

__all__ = ["attach", "detach"]
