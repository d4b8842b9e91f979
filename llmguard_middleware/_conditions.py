"""When a score counts as flagged (its scorer's word, a threshold, a predicate), and what is allowed all the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ._checks import is_number
from ._score import Score
from .errors import ConfigurationError, ScorerError

__all__ = ["AllowList", "Condition"]


@dataclass(frozen=True)
class Condition:
    """`above` and `below` are thresholds on the value (either flags), `when` a predicate on the score.

    With none of them a score is flagged if its scorer says so.
    """

    above: float | None = None
    below: float | None = None
    when: Callable[[Score], bool] | None = None

    def __bool__(self) -> bool:
        return self.above is not None or self.below is not None or self.when is not None

    def check(self, rule: str) -> None:
        """Refuse what is no condition.

        Raises:
            ConfigurationError: saying what to give instead.
        """
        for name, bound in (("above", self.above), ("below", self.below)):
            if bound is not None and not is_number(bound):
                msg = f'{name} of rule "{rule}" is {bound!r}; give a number to compare the score\'s value with'
                raise ConfigurationError(msg)
        if self.when is not None and not callable(self.when):
            msg = (
                f'when of rule "{rule}" is {type(self.when).__name__}; give a function of the Score that returns a bool'
            )
            raise ConfigurationError(msg)

    def flags(self, score: Score, scorer: str) -> bool:
        """Whether the score counts as flagged.

        Raises:
            ScorerError: if there is a threshold and no value.
        """
        flagged = False
        if self.above is not None or self.below is not None:
            if score.value is None:
                msg = f'scorer "{scorer}" gave no value to compare with a threshold'
                raise ScorerError(msg)
            flagged = (self.above is not None and score.value > self.above) or (
                self.below is not None and score.value < self.below
            )
        return flagged or (self.when is not None and bool(self.when(score)))


class AllowList:
    """Texts that are never flagged: values and compiled patterns, which must match in full.

    Case, full-width forms and characters that nobody sees make no difference to values, so that a firm's own address
    passes however it is typed; a pattern may match the text as it is or as it is seen.
    """

    def __init__(self, allowed: Sequence[Any], rule: str) -> None:
        if not isinstance(allowed, (list, tuple)) or not all(map(_is_text, allowed)):
            msg = f'allow of rule "{rule}" takes a list of texts and compiled patterns, for example allow=["a@b.com"]'
            raise ConfigurationError(msg)
        self._values = frozenset(_seen(one).casefold() for one in allowed if isinstance(one, str))
        self._patterns = tuple(one for one in allowed if not isinstance(one, str))

    def __bool__(self) -> bool:
        return bool(self._values or self._patterns)

    def without(self, score: Score, text: str) -> Score:
        """The score without its allowed spans; not flagged if none is left, or if all of `text` is allowed."""
        if not score.spans:
            return replace(score, flagged=False) if score.flagged and self._allows(text) else score
        kept = tuple(span for span in score.spans if not self._allows(text[span.start : span.end]))
        if len(kept) == len(score.spans):
            return score
        return replace(score, spans=kept, flagged=score.flagged and bool(kept))

    def _allows(self, text: str) -> bool:
        seen = _seen(text)
        if seen.casefold() in self._values:
            return True
        return any(pattern.fullmatch(text) or pattern.fullmatch(seen) for pattern in self._patterns)


def _seen(text: str) -> str:
    """A text as its reader sees it: NFKC (Unicode Standard Annex 15), without format characters."""
    if text.isascii():
        return text
    return "".join([one for one in unicodedata.normalize("NFKC", text) if unicodedata.category(one) != "Cf"])


def _is_text(one: Any) -> bool:
    return isinstance(one.pattern if isinstance(one, re.Pattern) else one, str)
