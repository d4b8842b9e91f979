"""The LLMs of a memory, which are told what it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llama_index.core.base.llms.base import BaseLLM

__all__ = ["llms_of"]


def llms_of(memory: Any) -> Iterator[Any]:
    """The LLMs of a memory and of its blocks."""
    for value in list(vars(memory).values()):
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, BaseLLM):
                yield item
            elif type(item).__name__.endswith(("MemoryBlock", "Memory")):
                yield from llms_of(item)
