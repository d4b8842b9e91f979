"""One way to say what a family of attacks says, written for an outline."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ._outline import compiled

__all__ = ["SAID", "TOLD", "Phrase", "phrases"]

# Not "attempts to ignore the rules", "how do I bypass a filter", "do not forget": people who speak of it, and warnings.
SAID: Final = "(?<!<to|i|they|not|user>.)"  # after the word
TOLD: Final = "<you|ai|model> ~3 <to> ~1"  # "I want you to ..."


class Phrase(NamedTuple):
    """One way to say what a family says.

    Attributes:
        name: the family, the label of a score.
        weight: how much it says; those of a text's families are added up.
        needed: without a letter of each of these the phrase is not there.
        pattern: how it is said, in letters of an outline.
    """

    name: str
    weight: float
    needed: tuple[frozenset[str], ...]
    pattern: re.Pattern[str]


def phrases(name: str, weight: float, *wordings: str) -> list[Phrase]:
    """The wordings of a family."""
    return [Phrase(name, weight, *compiled(wording)) for wording in wordings]
