"""levenshtein: how like an answer is to the one that was expected, letter by letter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._checks import expect_count
from .._score import Score
from .._scorer import Scorer
from ..errors import ConfigurationError
from ._normal_form import Form
from ._similarity._references import NO_REFERENCE, Normal, expect_between, expect_reference, references

__all__ = ["Levenshtein", "levenshtein"]


class Levenshtein(Scorer):
    """Flags texts that are too far from all references; value is the similarity to the nearest, label "different".

    The similarity is 1 - d / m: d the edits of single characters that make one text the other (Levenshtein 1966), m
    the length of the longer one. 1 for equal texts, 0 for those that have nothing in common.
    """

    name = "levenshtein"

    def __init__(
        self,
        reference: tuple[str, ...],
        least: float,
        longest: int,
        normal: Normal,
        column_map: Mapping[str, str] | None,
    ) -> None:
        super().__init__(name="levenshtein", column_map=column_map)
        self._reference, self._normal, self.least, self.longest = reference, normal, least, longest
        self.options = f"{least},{longest},{normal.options}:{reference!r}"

    def score(self, text: str, reference: Any = None) -> Score:
        """How like `text` is to a reference: one that is given here, else one that the scorer was made with."""
        from rapidfuzz.distance import Levenshtein as Distance  # noqa: PLC0415 - an extra

        expected: Sequence[str] = references(reference, self._reference)
        if not expected:
            return NO_REFERENCE
        said, *expected = map(self._normal, (text, *expected))
        if max(map(len, [said, *expected])) > self.longest:
            return Score.not_scored(f"too long to compare: more than {self.longest} characters")
        # Without a cut-off, below which rapidfuzz says 0 of texts that are not that far from each other.
        value = max(Distance.normalized_similarity(said, one) for one in expected)
        if value >= self.least:
            return Score(value=value)
        why = f"{value:.2f} like the expected text, where {self.least:g} is the least"
        return Score(value=value, flagged=True, label="different", explanation=why)


def levenshtein(
    *,
    reference: str | Sequence[str] | None = None,
    least: float = 0.8,
    longest: int = 20_000,
    ignore_case: bool = False,
    ignore_space: bool = True,
    ignore_punctuation: bool = False,
    form: Form = "NFC",
    column_map: Mapping[str, str] | None = None,
) -> Levenshtein:
    """Measure how like a text is to the expected one, 0 to 1; needs the extra `similarity` (rapidfuzz).

    Args:
        reference: the expected text, or several of which the nearest counts. One that the call has under the name
            `reference`, or that is given to `apply_scorer`, is taken instead. Without any, nothing is scored.
        least: flagged below; 0 flags nothing.
        longest: characters of a text or a reference beyond which nothing is scored: the time grows with the product of
            their lengths (20,000 by 20,000: 14 ms; 100,000 by 100,000: 350 ms).
        ignore_case: whether upper and lower case are the same.
        ignore_space: whether spaces at the ends do not count, and any space and line break is one space.
        ignore_punctuation: whether punctuation (of any script) is left out.
        form: the Unicode form that is compared, "NFC" or "NFKC"; see `exact_match`.
        column_map: another name in the call for `reference` or `text`.

    Raises:
        ConfigurationError: for an option of the wrong kind, or if rapidfuzz is not installed.
    """
    try:
        import rapidfuzz.distance  # noqa: F401, PLC0415 - told now rather than at the first score
    except ModuleNotFoundError:
        msg = 'levenshtein() needs rapidfuzz: pip install "llmguard-middleware[similarity]"'
        raise ConfigurationError(msg) from None
    expect_count(longest, "longest of levenshtein()", 1)
    normal = Normal(
        "levenshtein",
        ignore_case=ignore_case,
        ignore_space=ignore_space,
        ignore_punctuation=ignore_punctuation,
        form=form,
    )
    least = expect_between(least, 0, 1, "least of levenshtein()")
    return Levenshtein(expect_reference(reference, "levenshtein"), least, longest, normal, column_map)
