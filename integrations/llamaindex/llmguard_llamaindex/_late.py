"""LLM methods whose call begins later than it is made: what was said where it was made holds for all of it."""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import Any, TypeVar

from llmguard_middleware._begun import said_when_made

from ._seal import subclass

__all__ = ["begin_as_made", "shell"]

T = TypeVar("T")

_LATE = (
    "stream_chat",
    "stream_complete",
    "stream",
    "stream_chat_with_tools",
    "stream_structured_predict",
    "achat",
    "acomplete",
    "astream_chat",
    "astream_complete",
    "apredict",
    "astream",
    "achat_with_tools",
    "astream_chat_with_tools",
    "apredict_and_call",
    "astructured_predict",
    "astream_structured_predict",
)
_BEGUN = "__llmguard_begins_as_made__"


def begin_as_made(kind: type) -> None:
    """Let calls of these methods of a class, which is nobody else's, begin with what was said when they were made."""
    if _BEGUN in vars(kind):
        return
    type.__setattr__(kind, _BEGUN, True)
    for name in _LATE:
        if (method := getattr(kind, name, None)) is not None:
            # Set afterwards: LlamaIndex wraps what is in the body of a class.
            type.__setattr__(kind, name, said_when_made(method))


def shell(around: T) -> T:
    """An LLM that only asks another one, which is guarded: its calls begin as they were made, too."""
    kind: type = type(around)
    object.__setattr__(around, "__class__", _shell_class(kind))
    return around


@lru_cache(maxsize=64)
def _shell_class(original: type) -> type:
    if _BEGUN in vars(original):
        return original
    kind = subclass(original)
    begin_as_made(kind)
    type.__setattr__(kind, "__reduce_ex__", _reduced)
    return kind


def _reduced(self: Any, _: Any) -> tuple[Any, tuple[Any, ...]]:
    twin = copy.copy(self)
    object.__setattr__(twin, "__class__", type(self).__base__)
    return shell, (twin,)
