"""Guarded Runnables of any other kind: sequences, functions, graphs."""

from ._runnable import check_refusal, runnable_members
from ._stored import check_stored

__all__ = ["check_refusal", "check_stored", "runnable_members"]
