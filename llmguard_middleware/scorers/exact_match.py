"""exact_match: whether an answer is the one that was expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._score import Score
from .._scorer import Scorer
from ._normal_form import Form
from ._similarity._references import NO_REFERENCE, Normal, expect_reference, references

__all__ = ["ExactMatch", "exact_match"]

_LEAST = 8  # times as many characters as are wanted are looked at first, and then as many times more
_JOINED = 128  # characters


class ExactMatch(Scorer):
    """Flags texts that are none of the references; value is 1 for those that are, else 0 (label "different")."""

    name = "exact_match"
    cheap = True

    def __init__(self, reference: tuple[str, ...], normal: Normal, column_map: Mapping[str, str] | None) -> None:
        super().__init__(name="exact_match", column_map=column_map)
        self._reference, self._normal = reference, normal
        self.options = f"{normal.options}:{reference!r}"

    def score(self, text: str, reference: Any = None) -> Score:
        """Whether `text` is a reference: one that is given here, else one that the scorer was made with."""
        expected = references(reference, self._reference)
        if not expected:
            return NO_REFERENCE
        wanted = {self._normal(one) for one in expected}
        if not self._is_longer(text, max(map(len, wanted))) and self._normal(text) in wanted:
            return Score(value=1.0)
        return Score(value=0.0, flagged=True, label="different", explanation="not the expected text")

    def _is_longer(self, text: str, most: int) -> bool:
        """Whether the beginning of a long text tells that it has more characters than it may have."""
        size = _LEAST * (1 + most)
        while size < len(text):
            # What follows may join the last character and the marks upon it, and takes nothing else away.
            if len(self._normal(text[:size])) > most + _JOINED:
                return True
            size *= _LEAST
        return False


def exact_match(
    *,
    reference: str | Sequence[str] | None = None,
    ignore_case: bool = False,
    ignore_space: bool = True,
    ignore_punctuation: bool = False,
    form: Form = "NFC",
    column_map: Mapping[str, str] | None = None,
) -> ExactMatch:
    """Check that a text is the expected one.

    Args:
        reference: the expected text, or several of which any will do. One that the call has under the name
            `reference`, or that is given to `apply_scorer`, is taken instead. Without any, nothing is scored.
        ignore_case: whether upper and lower case are the same.
        ignore_space: whether spaces at the ends do not count, and any space and line break is one space.
        ignore_punctuation: whether punctuation (of any script) is left out.
        form: the Unicode form that is compared: "NFC" (a composed 가 is a decomposed one) or "NFKC" (a full-width
            letter is a plain one, too).
        column_map: another name in the call for `reference` or `text`.

    Raises:
        ConfigurationError: for an option of the wrong kind.
    """
    normal = Normal(
        "exact_match",
        ignore_case=ignore_case,
        ignore_space=ignore_space,
        ignore_punctuation=ignore_punctuation,
        form=form,
    )
    return ExactMatch(expect_reference(reference, "exact_match"), normal, column_map)
