"""Ready prompts, by name and language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from . import _en, _ko

__all__ = ["READY", "Ready"]


class Ready(NamedTuple):
    """One question that is often asked: its prompt by language, its scale, and which values are bad."""

    name: str
    scale: Any
    below: float | None = None
    above: float | None = None

    @property
    def prompts(self) -> Mapping[str, str]:
        """The prompt by language."""
        return {"en": _en.PROMPTS[self.name], "ko": _ko.PROMPTS[self.name]}


_FIVE: Final = (1, 5)

READY: Final[Mapping[str, Ready]] = {
    one.name: one
    for one in (
        Ready("truthfulness", {"truthful": 1, "partly_truthful": 0.5, "untruthful": 0}, below=0.75),
        Ready("relevance", _FIVE, below=0.5),
        Ready("groundedness", _FIVE, below=0.75),
        Ready("hallucination", {"factual": 0, "hallucinated": 1}, above=0.5),
        Ready("context_relevance", _FIVE, below=0.5),
        Ready("context_recall", _FIVE, below=0.75),
        Ready("toxicity", {"harmless": 0, "rude": 0.5, "toxic": 1}, above=0.5),
        Ready("coherence", _FIVE, below=0.5),
        Ready("summary_quality", _FIVE, below=0.5),
        Ready("refusal", {"answered": 0, "partly_refused": 0.5, "refused": 1}, above=0.75),
    )
}
