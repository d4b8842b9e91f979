"""Items of a stream that are no texts: what is at the same place in each is one text, cut anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ._flow import Flow
from ._leaves import Path, paths, with_leaves
from ._steps import Judge, Steps

__all__ = ["judged_items"]


def judged_items(flow: Flow, items: Sequence[Any]) -> Steps[list[Any]]:
    """All items of a stream as they may leave, in copies where a text changes.

    Raises:
        GuardrailViolation: if a guardrail stops the answer.
    """
    found = [paths(item) for item in items]
    places = dict.fromkeys(path for one in found for path, _ in one)
    told: dict[Path, Iterator[str]] = {}
    for place in places:
        parts = [text for one in found for path, text in one if path == place]
        told[place] = iter((yield Judge(flow.guard, flow.release_parts(parts))))
    return [with_leaves(item, [next(told[path]) for path, _ in one]) for item, one in zip(items, found, strict=True)]
