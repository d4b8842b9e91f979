"""One way to say what a family of attacks says, written for an outline."""

from __future__ import annotations

import re
from typing import Final

from ._outline import outlined

__all__ = ["SAID", "TOLD", "Phrase", "phrases"]

# Not "attempts to ignore the rules", "how do I bypass a filter", "do not forget": people who speak of it, and warnings.
SAID: Final = "(?<!<to|i|they|not|user>.)"  # after the word
TOLD: Final = "<you|ai|model> ~3 <to> ~1"  # "I want you to ..."


class Phrase:
    """One way to say what a family says.

    Attributes:
        name: the family, the label of a score.
        weight: how much it says; those of a text's families are added up.
        needed: without a letter of each of these the phrase is not there.
    """

    __slots__ = ("_pattern", "_source", "name", "needed", "weight")

    def __init__(self, name: str, weight: float, wording: str) -> None:
        self.name, self.weight = name, weight
        self.needed, self._source = outlined(wording)
        self._pattern: re.Pattern[str] | None = None

    @property
    def pattern(self) -> re.Pattern[str]:
        """How it is said, in letters of an outline; compiled when it is first looked for: most never are."""
        if self._pattern is None:
            self._pattern = re.compile(self._source)
        return self._pattern


def phrases(name: str, weight: float, *wordings: str) -> list[Phrase]:
    """The wordings of a family."""
    return [Phrase(name, weight, wording) for wording in wordings]
