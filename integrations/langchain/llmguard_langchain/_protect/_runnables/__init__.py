"""Guarded Runnables of any other kind: sequences, functions, graphs."""

from ._runnable import check_refusal, runnable_members

__all__ = ["check_refusal", "runnable_members"]
