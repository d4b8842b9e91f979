"""Text classifiers with the output of a Hugging Face `text-classification` pipeline: [{"label": ..., "score": ...}]."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ..._forks import renewed_in_children
from ..._score import Score
from ...errors import ConfigurationError, nearest
from ._foreign import Foreign, judged
from ._given import Asks, plain

__all__ = ["TextClassification"]

_TOKENS: Final = 512
_LONGEST: Final = 100_000
_CHARACTERS: Final = 1000


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
        window: int | None,
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
        self.tokenizer = getattr(classify, "tokenizer", None)
        # A pipeline gives the best label alone unless it is asked for all, and fails at a text that is too long for it.
        self.wishes = {} if self.tokenizer is None else {"top_k": None, "truncation": True}
        super().__init__(
            classify,
            Asks(("text",)),
            name=name or "text_classification",
            column_map=column_map,
            options=f"{threshold:g},{sorted(flagged_labels)},{window}",
        )

        self.begin_anew()
        renewed_in_children(self)

    def begin_anew(self) -> None:
        """Start without the lock. Fast tokenizers fail when two threads use one: they look at one text at a time."""
        self._one_at_a_time = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_one_at_a_time"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.begin_anew()
        renewed_in_children(self)

    def measure(self, values: dict[str, Any]) -> Any:
        """The worst stretch of the text; of no flagged labels, the label that is most certain."""
        text = plain(values["text"])
        with self._one_at_a_time:
            if self.window is None and getattr(self.tokenizer, "is_fast", False):
                stretches = _by_tokens(text, self.tokenizer)
            else:
                stretches = _by_characters(text, self.window or _CHARACTERS)
            answers = [_labels(self.evaluator(stretch, **self.wishes)) for stretch in stretches]
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


def _by_characters(text: str, window: int) -> Iterator[str]:
    step = window - window // 4
    for at in range(0, max(1, len(text) - window // 4), step):
        yield text[at : at + window]


def _by_tokens(text: str, tokenizer: Any) -> Iterator[str]:
    """Stretches of as many tokens as the model takes: of Korean that is a third of the characters of English."""
    places = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    longest = tokenizer.model_max_length  # an astronomic number where nobody said
    size = (longest if longest <= _LONGEST else _TOKENS) - tokenizer.num_special_tokens_to_add()
    if len(places) <= size:
        yield text
        return
    for at in range(0, len(places) - size // 4, size - size // 4):
        yield text[places[at][0] : places[min(at + size, len(places)) - 1][1]]
