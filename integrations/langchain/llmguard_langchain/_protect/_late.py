"""LangChain's methods whose call begins later than it is made: what was said where it was made holds for all of it."""

from __future__ import annotations

from llmguard_middleware._begun import said_when_made

__all__ = ["begin_as_made"]

_LATE = (
    "stream",
    "astream",
    "transform",
    "atransform",
    "astream_events",
    "astream_log",
    "stream_events",
    "ainvoke",
    "abatch",
    "abatch_as_completed",
    "batch_as_completed",
    "agenerate",
    "agenerate_prompt",
    "arun",
)


def begin_as_made(kind: type) -> None:
    """Let calls of these methods of a class, which is nobody else's, begin with what was said when they were made."""
    for name in _LATE:
        if (method := getattr(kind, name, None)) is not None:
            # Set afterwards: in the body of a class pydantic would look at it.
            type.__setattr__(kind, name, said_when_made(method))
