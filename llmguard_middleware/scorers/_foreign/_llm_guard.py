"""LLM Guard's scanners (https://protectai.github.io/llm-guard), of inputs and of outputs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ..._score import Score
from ...errors import ConfigurationError
from ._foreign import Foreign
from ._given import Asks, slug, text_of

__all__ = ["LLMGuard"]


class LLMGuard(Foreign):
    """A scanner; flagged where the text is not valid, with what the scanner made of the text as `modified`.

    Value is its risk score: -1 or 0 for no risk, 1 for a high one.
    """

    library = "llm-guard"

    def __init__(self, scanner: Any, *, name: str | None, column_map: Mapping[str, str] | None) -> None:
        parameters = inspect.signature(scanner.scan).parameters.values()
        self.of_output = sum(one.default is one.empty for one in parameters) > 1
        if not any(one.default is one.empty for one in parameters):
            msg = f"the scan() of {type(scanner).__name__} takes no text; from_llm_guard() takes a scanner of llm-guard"
            raise ConfigurationError(msg)
        super().__init__(
            scanner,
            Asks(("text", "prompt") if self.of_output else ("text",)),
            name=name or slug(type(scanner).__name__) or "llm_guard",
            column_map=column_map,
        )

    def measure(self, values: dict[str, Any]) -> Score:
        """What the scanner says of the text, and of the question that it answers if it scans outputs."""
        text = text_of(values["text"])
        asked = (text_of(values["prompt"]), text) if self.of_output else (text,)
        sanitized, valid, risk = self.evaluator.scan(*asked)
        changed = isinstance(sanitized, str) and sanitized != text
        return Score(
            value=float(risk),
            flagged=not valid,
            label="" if valid else self.name,
            modified=sanitized if changed else None,
        )
