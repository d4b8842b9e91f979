"""Guarded chat models and text models."""

from ._chat import chat_members, without_native_events
from ._text import text_members

__all__ = ["chat_members", "text_members", "without_native_events"]
