"""valid_json: whether a text is JSON."""

from __future__ import annotations

from .._score import Score
from .._scorer import Scorer
from ._formats._json import NotJsonError, invalid, parsed

__all__ = ["ValidJson", "valid_json"]


class ValidJson(Scorer):
    """Flags texts that are no JSON (RFC 8259); value is 1 for those that are, else 0."""

    name = "valid_json"
    cheap = True

    def __init__(self, *, fenced: bool) -> None:
        super().__init__(name="valid_json")
        self.fenced = fenced
        self.options = f"fenced={fenced}"

    def score(self, text: str) -> Score:
        """Whether `text` is JSON; the explanation says where it is not, and quotes nothing."""
        try:
            parsed(text, fenced=self.fenced)
        except NotJsonError as error:
            return invalid(str(error))
        return Score(value=1.0)


def valid_json(*, fenced: bool = False) -> ValidJson:
    """Check that a text is JSON.

    Args:
        fenced: whether it may stand in a fence of three backticks, as chat models like to write it.
    """
    return ValidJson(fenced=fenced)
