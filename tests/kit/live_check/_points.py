"""Metric points: instrument, unit, buckets and attributes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ._attributes import check_attributes, check_requirements
from ._conventions import OURS, THEIRS

if TYPE_CHECKING:
    from llmguard_middleware.testing import CapturedPoint

__all__ = ["check_point"]


def check_point(point: CapturedPoint) -> Iterator[str]:
    """What is wrong with a point."""
    yield from check_attributes(point.attributes)
    if (told := THEIRS["metrics"].get(point.metric)) is not None:
        yield from _is(point, told["instrument"], told["unit"])
        if told["buckets"] is not None and point.buckets != tuple(told["buckets"]):
            yield "its buckets are not those of the conventions"
        yield from check_requirements(point.attributes, told["attributes"])
    elif point.metric in OURS.metrics:
        instrument, unit, attributes = OURS.metrics[point.metric]
        yield from _is(point, instrument, unit)
        for name in sorted(set(point.attributes) - attributes):
            yield f"{name} does not belong here"
    else:
        yield "the metric is in no convention"


def _is(point: CapturedPoint, instrument: str, unit: str) -> Iterator[str]:
    if point.kind != instrument:
        yield f"it is a {point.kind}, not a {instrument}"
    if point.unit != unit:
        yield f'its unit is "{point.unit}", not "{unit}"'
    if instrument == "histogram" and point.count is None:
        yield "it has no count"
