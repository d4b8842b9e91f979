"""Text classifiers with the output of a Hugging Face `text-classification` pipeline: [{"label": ..., "score": ...}]."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..._score import Score
from ...errors import ConfigurationError, nearest
from ._foreign import Foreign, judged
from ._given import Asks, plain

__all__ = ["TextClassification"]


class TextClassification(Foreign):
    """A classifier; value is the highest probability of a flagged label in any stretch of the text.

    A model sees no more than some hundred tokens: a longer text is looked at in stretches that overlap.
    """

    library = "the classifier"

    def __init__(
        self,
        classify: Any,
        *,
        flagged_labels: Sequence[str],
        threshold: float,
        window: int,
        name: str | None,
        column_map: Mapping[str, str] | None,
    ) -> None:
        config = getattr(getattr(classify, "model", None), "config", None)
        known = [str(label) for label in (getattr(config, "id2label", None) or {}).values()]
        for label in flagged_labels:
            if known and label not in known:
                msg = f'the model has no label "{label}": {nearest(label, known)}'
                raise ConfigurationError(msg)
        self.flagged_labels, self.threshold, self.window = frozenset(flagged_labels), threshold, window
        # A pipeline gives the best label alone unless it is asked for all, and fails at a text that is too long for it.
        self.wishes = {"top_k": None, "truncation": True} if hasattr(classify, "tokenizer") else {}
        super().__init__(
            classify,
            Asks(("text",)),
            name=name or "text_classification",
            column_map=column_map,
            options=f"{threshold:g},{sorted(flagged_labels)},{window}",
        )

    def measure(self, values: dict[str, Any]) -> Any:
        """The worst stretch of the text; of no flagged labels, the label that is most certain."""
        text = plain(values["text"])
        answers = [_labels(self.evaluator(stretch, **self.wishes)) for stretch in _stretches(text, self.window)]
        counted = [
            (probability, label)
            for answer in answers
            for label, probability in answer.items()
            if not self.flagged_labels or label in self.flagged_labels
        ]
        if not counted and any(answers):  # all are other labels, of which only the best were told
            return Score(value=0.0, metadata={"threshold": self.threshold})
        probability, label = max(counted, default=(None, ""))
        if not self.flagged_labels:
            return judged(probability, label, None, {}, flagged=None)
        flagged = probability is not None and probability >= self.threshold
        return judged(probability, label if flagged else "", None, {"threshold": self.threshold}, flagged=flagged)


def _labels(answer: Any) -> dict[str, float]:
    """By label, whether the pipeline gave one, a list of them, or a list of that list."""
    while isinstance(answer, list) and len(answer) == 1 and isinstance(answer[0], list):
        (answer,) = answer
    return {one["label"]: float(one["score"]) for one in (answer if isinstance(answer, list) else [answer])}


def _stretches(text: str, window: int) -> Iterator[str]:
    step = window - window // 4
    for at in range(0, max(1, len(text) - window // 4), step):
        yield text[at : at + window]
