"""Log records: which events there are, and what each has to tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ._attributes import check_attributes, check_requirements
from ._conventions import OURS, THEIRS

if TYPE_CHECKING:
    from llmguard_middleware.testing import CapturedRecord

__all__ = ["check_record"]

_GUARDED = ("llmguard.guard.name", "llmguard.guard.digest")
_RESULTS = ("gen_ai.evaluation.score.value", "gen_ai.evaluation.score.label", "error.type")
_ANYWHERE = frozenset({"user.id", "gen_ai.conversation.id"})


def check_record(record: CapturedRecord) -> Iterator[str]:
    """What is wrong with a record."""
    name, attributes = record.event_name, record.attributes
    yield from check_attributes(attributes)
    for required in _GUARDED:
        if required not in attributes:
            yield f"{required} is required"
    if name in THEIRS["events"]:
        yield from check_requirements(attributes, THEIRS["events"][name]["attributes"], also=_ANYWHERE)
        if name == "gen_ai.evaluation.result" and not any(result in attributes for result in _RESULTS):
            yield f"one of {', '.join(_RESULTS)} is required"
    elif name not in OURS.events:
        yield "the event is in no convention"
