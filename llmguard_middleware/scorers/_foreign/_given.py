"""What evaluators call what a call offers, and how it is handed to them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Asks", "plain", "slug", "text_of", "texts_of"]

# Their names for it -> the name in a call. What is not here is asked for by its own name.
_KNOWN: Final = {
    "input": "question",
    "user_input": "question",
    "query": "question",
    "prompt": "question",
    "actual_output": "output",
    "response": "output",
    "answer": "output",
    "retrieval_context": "context",
    "retrieved_contexts": "context",
    "contexts": "context",
    "documents": "context",
    "expected_output": "reference",
    "expected": "reference",
    "ground_truth": "reference",
}
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Asks:
    """What an evaluator asks for, by its own names: what it cannot do without, and what it takes if it is there."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()

    @property
    def parameters(self) -> dict[str, bool]:
        """The names in a call, and whether the evaluator cannot do without."""
        found: dict[str, bool] = {}
        for fields, needed in ((self.required, True), (self.optional, False)):
            for name in fields:
                found.setdefault(_KNOWN.get(name, name), needed)
        return found

    def values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What a call gave, by the evaluator's own names; no documents are as none given."""
        values = {name: given.get(_KNOWN.get(name, name)) for name in (*self.required, *self.optional)}
        return {name: value for name, value in values.items() if not _nothing(value)}

    def lacks(self, values: Mapping[str, Any]) -> str:
        """What of these is missing: the first that is required, or everything; empty if nothing is."""
        missing = [_KNOWN.get(name, name) for name in self.required if name not in values]
        return missing[0] if missing else "" if values else " or ".join(self.parameters)


def _nothing(value: Any) -> bool:
    return value is None or (isinstance(value, (list, tuple)) and not value)


def plain(text: str) -> str:
    """The text, as long as it was, with the replacement character for halves of surrogate pairs: UTF-8 has no such."""
    return _SURROGATES.sub("\ufffd", text)


def text_of(value: Any) -> str:
    """A text as it is, anything else as JSON."""
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False, default=str)
    return plain(value)


def texts_of(value: Any) -> list[str]:
    """Each document's text."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        return [text_of(value)]
    return [text_of(one) for one in value]


def slug(name: str) -> str:
    """`"Exact Match"` and `"ExactMatch"` as the scorer name `exact_match`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return re.sub(r"[^A-Za-z0-9]+", "_", words).strip("_").lower()
